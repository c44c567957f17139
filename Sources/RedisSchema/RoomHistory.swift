// What the histories of rooms take in Redis, for people who look. Confined to the loop of the connection.
//
//     TIME, and for each room XINFO STREAM and MEMORY USAGE, all in one write

import Redis

/// The size of a room's history.
package struct RoomHistory: Equatable, Sendable {
    /// How many notices there are.
    package let count: Int
    /// What they take of Redis' memory.
    package let bytes: Int
    /// How long ago the oldest one was published, by Redis' clock; nil without a notice.
    package let oldestAge: Duration?

    package init(count: Int, bytes: Int, oldestAge: Duration?) {
        self.count = count
        self.bytes = bytes
        self.oldestAge = oldestAge
    }
}

/// Reads the sizes of histories.
package final class RoomHistoryReader {
    /// Rooms with a history, and why those are missing that Redis refuses to tell of.
    package typealias Outcome = (histories: [RoomId: RoomHistory], failure: RedisFailure?)

    /// Rooms that one call asks for. XINFO brings the first and the last notice of each, so that the reply may have
    /// as many times 128 KiB.
    package static let maximumRoomCount = 50

    private let channels: Channels
    private let send: ClusterReader.Send

    package init(prefix: String, send: @escaping ClusterReader.Send) {
        channels = Channels(prefix: prefix)
        self.send = send
    }

    /// What is known of one room while the replies come.
    private struct Stream {
        var count: Int?
        var first: NoticeId?
        var bytes = 0
    }

    /// Reads the histories of some rooms; a room without one is left out.
    ///
    /// - Parameters:
    ///   - rooms: at most `maximumRoomCount`.
    ///   - onDone: called once, perhaps before this returns.
    package func read(_ rooms: [RoomId], onDone: @escaping (Outcome) -> Void) {
        precondition(rooms.count <= Self.maximumRoomCount, "replies are bounded")
        var streams: [RoomId: Stream] = [:]
        var now: Int64 = 0
        var failure: RedisFailure?
        var missingCount = 1 + 2 * rooms.count
        func took(_ result: Result<RedisReply, RedisFailure>, _ read: (RedisReply) -> Void) {
            switch result {
            case .success(let reply): read(reply)
            // There is no such key, or something else has it.
            case .failure(.refused(let message))
            where message.hasPrefix("ERR no such key") || message.hasPrefix("WRONGTYPE"): break
            case .failure(let reason): failure = failure ?? reason
            }
            missingCount -= 1
            if missingCount == 0 { onDone((Self.histories(streams, now), failure)) }
        }
        send(RedisCommand([[UInt8]("TIME")])) { result in
            took(result) { now = Self.milliseconds($0) ?? 0 }
        }
        for room in rooms {
            let key = channels.room(room)
            send(RedisCommand([[UInt8]("XINFO"), [UInt8]("STREAM"), key])) { result in
                took(result) { Self.read($0, into: &streams[room, default: Stream()]) }
            }
            send(RedisCommand([[UInt8]("MEMORY"), [UInt8]("USAGE"), key])) { result in
                took(result) { streams[room, default: Stream()].bytes = Int($0.integer ?? 0) }
            }
        }
    }

    private static func histories(_ streams: [RoomId: Stream], _ now: Int64) -> [RoomId: RoomHistory] {
        streams.compactMapValues { stream in
            guard let count = stream.count else { return nil }
            let age = stream.first.map { Duration.milliseconds(max(0, now - $0.milliseconds)) }
            return RoomHistory(count: count, bytes: stream.bytes, oldestAge: count > 0 ? age : nil)
        }
    }

    /// Seconds and microseconds.
    private static func milliseconds(_ time: RedisReply) -> Int64? {
        guard time.count == 2, let seconds = time[0].string.flatMap({ Int64($0) }),
            let microseconds = time[1].string.flatMap({ Int64($0) })
        else { return nil }
        let (milliseconds, overflow) = seconds.multipliedReportingOverflow(by: 1_000)
        return overflow ? nil : milliseconds &+ microseconds / 1_000
    }

    /// Names and values by turns.
    private static func read(_ reply: RedisReply, into stream: inout Stream) {
        for index in stride(from: 0, to: reply.count - 1, by: 2) {
            switch reply[index].string {
            case "length": stream.count = Int(reply[index + 1].integer ?? 0)
            case "recorded-first-entry-id": stream.first = reply[index + 1].bytes.flatMap { NoticeId($0) }
            default: break
            }
        }
    }
}
