// What nodes report about themselves in Redis, read at once. Confined to the loop of the connection.
//
//     SMEMBERS roomcast:nodes → HGETALL node:<id> of each, in one write

import Redis

/// Reads the reports of all nodes.
package final class ClusterReader {
    /// Sends a command and calls back once.
    package typealias Send = (RedisCommand, @escaping (Result<RedisReply, RedisFailure>) -> Void) -> Void
    package typealias Outcome = Result<[NodeReport], RedisFailure>

    /// Reports that are read at most: a set that something else has filled must not fill memory.
    private static let maximumNodeCount = 500

    private let keys: Keys
    private let send: Send

    package init(prefix: String, send: @escaping Send) {
        keys = Keys(prefix: prefix)
        self.send = send
    }

    /// Reads the present reports, in the order of the nodes' ids. A node that is listed and has no report is
    /// gone.
    ///
    /// - Parameter onDone: called once, perhaps before this returns.
    package func read(onDone: @escaping (Outcome) -> Void) {
        send(RedisCommand([[UInt8]("SMEMBERS"), keys.nodes])) { [self] result in
            switch result {
            case .success(let reply): readReports(of: ClusterReader.ids(reply), onDone)
            case .failure(let failure): onDone(.failure(failure.named("SMEMBERS")))
            }
        }
    }

    private static func ids(_ reply: RedisReply) -> [String] {
        (0..<reply.count).lazy.compactMap { reply[$0].bytes }.filter { NodeReport.isNodeId($0) }
            .prefix(maximumNodeCount).map { String(decoding: $0, as: UTF8.self) }.sorted()
    }

    private func readReports(of ids: [String], _ onDone: @escaping (Outcome) -> Void) {
        guard !ids.isEmpty else { return onDone(.success([])) }
        var reports: [NodeReport] = []
        var missingCount = ids.count
        var failure: RedisFailure?
        for id in ids {
            send(RedisCommand([[UInt8]("HGETALL"), keys.node(id)])) { result in
                switch result {
                case .success(let reply):
                    let hash = (0..<reply.count).map { reply[$0].bytes.map(Array.init) ?? [] }
                    if let report = NodeReport(id: id, hash: hash) { reports.append(report) }
                // Something else has a key of this name.
                case .failure(.refused(let message)) where message.hasPrefix("WRONGTYPE"): break
                case .failure(let reason): failure = failure ?? reason.named("HGETALL")
                }
                missingCount -= 1
                if missingCount == 0 { onDone(failure.map { .failure($0) } ?? .success(reports)) }
            }
        }
    }
}

extension RedisFailure {
    /// The same with the name of the command that was refused.
    fileprivate func named(_ command: String) -> RedisFailure {
        if case .refused(let message) = self { .refused("\(command): \(message)") } else { self }
    }
}
