// The answer of GET /console/api/cluster. Pure.

import JSON
import RedisSchema

/// Reports as JSON:
///
///     {"node":"n1","redis":null | "why it is away","actions":true,"boundsMs":[0.1,…],
///      "nodes":[{"id":"n1",…,"closes":{"1001":3},"publishToFlush":[…],"topRooms":[{"room":"a","members":2}]}]}
enum ClusterJson {
    /// - Parameters:
    ///   - nodeID: of the node that answers.
    ///   - hasActions: whether notices and revocations are taken.
    static func bytes(_ cluster: ClusterView.Cluster, nodeID: String, hasActions: Bool) -> [UInt8] {
        JsonWriter.object(reservedBytes: 1024 + 4096 * cluster.reports.count) {
            $0.member("node", nodeID)
            $0.member("redis", cluster.failure)
            $0.member("actions", hasActions)
            $0.member("boundsMs", NodeReport.publishToFlushBounds.map { $0 * 1_000 })
            $0.member("nodes", cluster.reports)
        }
    }
}

extension NodeReport: JsonValue {
    package func write(to writer: inout JsonWriter) {
        writer.object {
            $0.member("id", id)
            $0.member("address", address)
            $0.member("version", version)
            $0.member("ready", isReady)
            $0.member("draining", isDraining)
            $0.member("startedAt", startedAt)
            $0.member("uptimeMs", uptimeMilliseconds)
            $0.member("workers", workers)
            $0.member("connections", connections)
            $0.member("connectionsLimit", connectionsLimit)
            $0.member("rooms", rooms)
            $0.member("received", received)
            $0.member("delivered", delivered)
            $0.member("writtenBytes", writtenBytes)
            $0.member("queueBytes", queueBytes)
            $0.member("tokensIssued", tokensIssued)
            $0.member("handshakes", handshakes)
            $0.member("rejected", rejected)
            $0.member("redisReconnects", redisReconnects)
            $0.member("memoryBytes", memoryBytes)
            $0.member("closes") { json in for one in closes { json.member(one.reason, one.count) } }
            $0.member("publishToFlush", publishToFlush)
            $0.member("topRooms", array: topRooms.prefix(NodeReport.topRoomCount)) { json, entry in
                json.object {
                    $0.member("room", entry.room.description)
                    $0.member("members", entry.count)
                }
            }
        }
    }
}
