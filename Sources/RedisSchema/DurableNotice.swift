// One durable notice as a command for Redis, and what Redis answers. Pure values.

import Redis

/// How long a room keeps its notices.
package struct HistoryBounds: Equatable, Sendable {
    /// How many the room keeps, about: Redis trims whole blocks.
    package static let limits = 1...1_000_000_000
    /// The longest useful replay: 0.19 MB a room with notices of 128 bytes.
    package static let defaultLimit = 1_000
    /// Nodes judge absences by the shortest age.
    package static let ages = Duration.seconds(600) ... .seconds(10_000_000_000)
    /// An absence that a user comes back from.
    package static let defaultAge = Duration.seconds(3_600)

    package var limit = Self.defaultLimit
    /// For how long after the last notice the room keeps all of them.
    package var age = Self.defaultAge

    package init() {}

    package init(limit: Int, age: Duration) {
        self.limit = limit
        self.age = age
    }
}

/// A notice that a room keeps.
package struct DurableNotice: Sendable {
    /// By the library: what a client misses is replayed to it from memory.
    package static let maximumBytes = 65_536
    /// Why a notice to a room whose id has a brace is refused.
    package static let braceFault = "in a Redis Cluster a room with { or } has no durable notices"
    /// How long Redis knows a once key by default.
    package static let onceLife = Duration.seconds(300)
    /// What a once key may be told to live.
    package static let onceLives = Duration.seconds(10) ... .seconds(3_600)

    package let room: RoomId
    /// A JSON object, from `{"` to `}`.
    package let payload: [UInt8]
    package let once: OnceKey?
    /// Within `onceLives`.
    package let onceLife: Duration
    package let bounds: HistoryBounds

    package init(
        room: RoomId, payload: [UInt8], once: OnceKey?, onceLife: Duration = Self.onceLife,
        bounds: HistoryBounds
    ) {
        self.room = room
        self.payload = payload
        self.once = once
        self.onceLife = onceLife
        self.bounds = bounds
    }

    /// Which of the two ways the command goes.
    package enum Form: Sendable {
        /// By the function of the library, which must be loaded.
        case function
        /// By a script that goes with the command.
        case script
    }

    /// The command that publishes it.
    package func command(_ form: Form, channels: Channels, keys: Keys) -> RedisCommand {
        let key = channels.room(room)
        let names = [key] + (once.map { [keys.once($0, of: key)] } ?? [])
        var arguments: [[UInt8]] =
            switch form {
            case .function: [[UInt8]("FCALL"), [UInt8]("roomcast_publish")]
            case .script: [[UInt8]("EVAL"), [UInt8](DurableLibrary.script)]
            }
        arguments.append([UInt8](Int64(names.count)))
        arguments += names
        arguments += [payload, [UInt8](Int64(bounds.limit)), [UInt8](bounds.age.wholeMilliseconds)]
        if once != nil { arguments.append([UInt8](onceLife.wholeMilliseconds)) }
        return RedisCommand(arguments)
    }

    /// What came of it.
    package struct Outcome: Equatable, Sendable {
        package let id: NoticeId
        /// The nodes that received it; nil if the once key was known: then `id` is that of the first time, and
        /// nothing was stored or published now.
        package let nodeCount: Int?

        package init(id: NoticeId, nodeCount: Int?) {
            self.id = id
            self.nodeCount = nodeCount
        }

        /// - Returns: nil if the reply is not one to `command`.
        package init?(_ reply: RedisReply) {
            guard reply.count == 2, let id = reply[0].bytes.flatMap({ NoticeId($0) }),
                let nodeCount = reply[1].integer
            else { return nil }
            self.init(id: id, nodeCount: nodeCount < 0 ? nil : Int(nodeCount))
        }
    }
}

/// Publishes durable notices over one connection: by the function, or by the script where the function is
/// missing and may not be loaded. Confined to the loop of the connection.
package final class DurableSender {
    /// Sends a command to the server that has a key, and calls back once.
    package typealias Send = (
        RedisCommand, _ key: [UInt8], @escaping (Result<RedisReply, RedisFailure>) -> Void
    ) -> Void

    private struct Request {
        let number: Int
        let notice: DurableNotice
        let onDone: (Result<DurableNotice.Outcome, RedisFailure>) -> Void
        var loadCount = 0
    }

    /// In a cluster a room may move to a server without the library while it is loaded at the one before.
    private static let maximumLoadCount = 3

    private let channels: Channels
    private let keys: Keys
    private let send: Send
    private var form = DurableNotice.Form.function
    private var requestCount = 0
    /// A server gets the library.
    private var isLoading = false
    /// Those that wait for it.
    private var waiting: [Request] = []

    package init(prefix: String, send: @escaping Send) {
        channels = Channels(prefix: prefix)
        keys = Keys(prefix: prefix)
        self.send = send
    }

    /// Publishes a notice. Notices of one room keep their order if the first one over the connection has its
    /// outcome before the next is given: it finds out whether there is the function.
    ///
    /// - Parameter onDone: called once, perhaps before this returns.
    package func publish(
        _ notice: DurableNotice, onDone: @escaping (Result<DurableNotice.Outcome, RedisFailure>) -> Void
    ) {
        requestCount += 1
        attempt(Request(number: requestCount, notice: notice, onDone: onDone))
    }

    /// While a server gets the library, all wait: none overtakes another of its room.
    private func attempt(_ request: Request) {
        guard !isLoading else { return waiting.append(request) }
        let notice = request.notice
        send(notice.command(form, channels: channels, keys: keys), channels.room(notice.room)) {
            [self] reply in
            if case .failure(.refused(let message)) = reply {
                let isMissing = DurableLibrary.isMissing(message) || DurableLibrary.hasNoFunctions(message)
                if isMissing, request.loadCount < Self.maximumLoadCount { return load(for: request) }
                return request.onDone(.failure(.refused(DurableLibrary.explained(message))))
            }
            request.onDone(
                reply.flatMap { reply in
                    DurableNotice.Outcome(reply).map { .success($0) }
                        ?? .failure(.refused("an answer of another form"))
                })
        }
    }

    private func load(for request: Request) {
        var request = request
        request.loadCount += 1
        waiting.append(request)
        guard !isLoading else { return }
        isLoading = true
        let room = channels.room(request.notice.room)
        DurableLibrary.load(send: { [send] in send($0, room, $1) }) { [self] failure in
            // Without the right to load it, or without functions at all, the script does the same.
            if case .refused? = failure { form = .script }
            isLoading = false
            let requests = waiting.sorted { $0.number < $1.number }
            waiting = []
            for request in requests { attempt(request) }
        }
    }
}
