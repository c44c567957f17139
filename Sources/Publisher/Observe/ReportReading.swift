// The reports of the nodes, waited for. Main thread.

import Redis
import RedisSchema

extension RedisSession {
    /// A reader of reports over this connection.
    func reader(_ settings: RedisSettings) -> ClusterReader {
        ClusterReader(prefix: settings.prefix) { [unowned self] in self.send($0, onReply: $1) }
    }

    /// The present reports.
    func reports(_ reader: ClusterReader) throws(RedisSessionError) -> [NodeReport] {
        var outcome: ClusterReader.Outcome?
        reader.read { outcome = $0 }
        try wait { outcome != nil }
        switch outcome {
        case .success(let reports): return reports
        case .failure(.refused(let message)): throw .refused(message)
        case .failure(.unavailable(let reason)): throw failure ?? .lost(reason)
        case nil: return []
        }
    }
}
