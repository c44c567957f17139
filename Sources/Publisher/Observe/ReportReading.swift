// The reports of the nodes and the histories of rooms, waited for. Main thread.

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

    /// The histories of rooms that have one.
    ///
    /// - Returns: also why some may be missing, if Redis refuses to tell.
    func histories(
        of rooms: [RoomId], _ settings: RedisSettings
    ) throws(RedisSessionError) -> (histories: [RoomId: RoomHistory], refusal: String?) {
        let reader = RoomHistoryReader(prefix: settings.prefix) { [unowned self] in
            self.send($0, onReply: $1)
        }
        var histories: [RoomId: RoomHistory] = [:]
        var rest = rooms[...]
        while !rest.isEmpty {
            var outcome: RoomHistoryReader.Outcome?
            reader.read(Array(rest.prefix(RoomHistoryReader.maximumRoomCount))) { outcome = $0 }
            rest = rest.dropFirst(RoomHistoryReader.maximumRoomCount)
            try wait { outcome != nil }
            guard let outcome else { break }
            histories.merge(outcome.histories) { $1 }
            switch outcome.failure {
            case .refused(let message): return (histories, message)
            case .unavailable(let reason): throw failure ?? .lost(reason)
            case nil: break
            }
        }
        return (histories, nil)
    }
}
