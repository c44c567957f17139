// The metrics as the node reports them to the other nodes. Reads from any thread.

import RedisSchema
import System

extension NodeReport {
    /// The node's present totals, without its rooms.
    init(node: NodeContext, address: String) {
        let (metrics, state) = (node.metrics, node.state)
        self.init(id: node.configuration.nodeId)
        self.address = address
        version = Roomcast.version
        startedAt = state.startedAtUnixMilliseconds
        uptimeMilliseconds = state.uptime.wholeMilliseconds
        workers = node.configuration.workerCount
        isReady = state.reasonsNotReady.isEmpty
        isDraining = state.isDraining
        connections = metrics.total(ofAll: \.clients)
        eventStreams = metrics.total { $0.clients[Transport.events.rawValue] }
        compressed = UInt64(max(0, state.compressedClientCount))
        connectionsLimit = UInt64(state.maximumClientCount)
        rooms = metrics.feedTotal(\.rooms)
        received = metrics.feedTotal(\.messagesReceived)
        delivered = metrics.total(\.framesDelivered)
        writtenBytes = metrics.total(\.bytesWritten)
        queueBytes = metrics.total(\.queueBytes)
        tokensIssued = metrics.total(\.tokensIssued)
        handshakes = metrics.total(ofAll: \.handshakes)
        rejected = RejectionReason.allCases.reduce(0) { $0 + metrics.rejected($1) }
        closes = CloseReason.allCases.compactMap { reason in
            let count = metrics.closed(reason)
            return count == 0 ? nil : Closes(reason: reason.description, count: count)
        }
        publishToFlush = metrics.publishToFlush
        redisReconnects = metrics.feedTotal(\.reconnects) + metrics.total(\.redisReconnects)
        memoryBytes = UInt64(ProcessUsage.own()?.residentBytes ?? 0)
    }
}
