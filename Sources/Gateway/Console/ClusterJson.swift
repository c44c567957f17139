// The answer of GET /console/api/cluster. Pure.

import JSON
import RedisSchema

/// Reports as JSON:
///
///     {"node":"n1","redis":null | "why it is away","actions":true,"boundsMs":[0.1,…],
///      "nodes":[{"id":"n1",…,"closes":{"1001":3},"publishToFlush":[…],"topRooms":[{"room":"a","members":2}]}],
///      "histories":[{"room":"a","notices":5,"bytes":4400,"oldestMs":60000}]}
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
            let histories = cluster.histories.sorted { $0.key.bytes.lexicographicallyPrecedes($1.key.bytes) }
            $0.member("histories", array: histories) { json, entry in
                json.object {
                    $0.member("room", entry.key.description)
                    entry.value.writeMembers(to: &$0)
                }
            }
        }
    }
}

extension NodeReport: JsonValue {
    package func write(to writer: inout JsonWriter) {
        writer.object {
            writeMembers(to: &$0)
            $0.member("uptimeMs", uptimeMilliseconds)
            $0.member("memoryBytes", memoryBytes)
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
