// The metrics as the node tells them to the other nodes. Reads from any thread.

import Glibc
import Notices

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
        connections = metrics.total(\.clients)
        connectionsLimit = UInt64(state.maximumClientCount)
        rooms = metrics.subscriber.rooms.value
        received = metrics.subscriber.messagesReceived.value
        delivered = metrics.total(\.framesDelivered)
        writtenBytes = metrics.total(\.bytesWritten)
        queueBytes = metrics.total(\.queueBytes)
        tokensIssued = metrics.total(\.tokensIssued)
        handshakes = metrics.total(\.handshakes)
        rejected = RejectionReason.allCases.reduce(0) { sum, reason in
            sum + metrics.total { $0.rejected[reason.rawValue] }
        }
        closes = CloseReason.allCases.compactMap { reason in
            let count = metrics.total { $0.closed[reason.rawValue] }
            return count == 0 ? nil : Closes(reason: reason.description, count: count)
        }
        var cumulative: UInt64 = 0
        publishToFlush = (0...NodeReport.publishToFlushBounds.count).map { index in
            cumulative += metrics.total { $0.publishToFlush.buckets[index] }
            return cumulative
        }
        redisReconnects = metrics.subscriber.reconnects.value + metrics.total(\.redisReconnects)
        memoryBytes = ResidentMemory.bytes
    }
}

/// What the kernel says of this process's memory.
enum ResidentMemory {
    /// Resident bytes, from the second number of /proc/self/statm (in pages); 0 if it cannot be read.
    static var bytes: UInt64 {
        let descriptor = open("/proc/self/statm", O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return 0 }
        defer { close(descriptor) }
        let words = withUnsafeTemporaryAllocation(byteCount: 128, alignment: 1) { buffer in
            let count = read(descriptor, buffer.baseAddress, buffer.count)
            return String(decoding: buffer[..<max(0, count)], as: UTF8.self).split(separator: " ")
        }
        return words.count > 1 ? (UInt64(words[1]) ?? 0) * UInt64(sysconf(Int32(_SC_PAGESIZE))) : 0
    }
}
