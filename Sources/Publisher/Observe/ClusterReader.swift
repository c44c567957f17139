// What nodes have told of themselves in Redis, read at once. Main thread.
//
//     SMEMBERS roomcast:nodes → HGETALL node:<id> of each, in one write

import RedisSchema
import Redis

/// Why the cluster could not be looked at.
enum ObserveError: Error, Equatable, CustomStringConvertible {
    case redis(RedisPipelineError)
    /// Redis answered a command with an error.
    case refused(command: String, answer: String)
    /// The user does not want to wait any longer.
    case interrupted

    var description: String {
        switch self {
        case .redis(let error): error.description
        case .refused(let command, let answer): "Redis refused \(command): \(answer)"
        case .interrupted: "interrupted"
        }
    }
}

/// Asks Redis without being deaf to the user meanwhile.
struct ClusterReader {
    /// What has ended a wait.
    enum Wake {
        case readable, timedOut, interrupted
    }

    private let redis: RedisPipeline
    private let keys: Keys
    private let channels: Channels
    private let timeout: Duration
    private let wait: (Int32, Duration) -> Wake

    /// - Parameter wait: until a descriptor can be read or a time is over.
    init(
        _ redis: RedisPipeline, _ settings: RedisSettings,
        wait: @escaping (Int32, Duration) -> Wake = ClusterReader.waitForSignalsToo
    ) {
        self.redis = redis
        self.wait = wait
        keys = Keys(prefix: settings.prefix)
        channels = Channels(prefix: settings.prefix)
        timeout = settings.timeout
    }

    /// The present reports of all nodes, by id. Who is listed and has no report is gone.
    ///
    /// - Throws: `ObserveError`; the connection is of no use after that.
    func reports() throws(ObserveError) -> [NodeReport] {
        guard case .array(let members) = try replies(to: [[[UInt8]("SMEMBERS"), keys.nodes]])[0] else {
            throw .refused(command: "SMEMBERS", answer: "an answer that is none")
        }
        let ids = members.compactMap { member -> String? in
            guard case .bytes(let id) = member, NodeReport.isNodeId(id) else { return nil }
            return String(decoding: id, as: UTF8.self)
        }.sorted()
        let hashes = try replies(to: ids.map { [[UInt8]("HGETALL"), keys.node($0)] })
        return zip(ids, hashes).compactMap { id, reply in
            guard case .array(let parts) = reply else { return nil }
            return NodeReport(
                id: id,
                hash: parts.map { part in if case .bytes(let bytes) = part { bytes } else { [] } })
        }
    }

    /// Asks nodes for all of their rooms.
    ///
    /// - Parameter questions: nodes, each with the channel for its answer.
    /// - Returns: for each, whether it is there to hear it.
    /// - Throws: `ObserveError`; the connection is of no use after that.
    func askForRooms(_ questions: [(node: String, reply: ReplyId)]) throws(ObserveError) -> [Bool] {
        let commands = questions.map { question in
            [[UInt8]("PUBLISH"), channels.gateway(question.node), RoomListMessage.request(reply: question.reply)]
        }
        return try replies(to: commands).map { $0 != .integer(0) }
    }

    /// Waits for a descriptor, a signal or a time.
    static func waitForSignalsToo(_ descriptor: Int32, _ time: Duration) -> Wake {
        if Interruption.wait(forReadable: descriptor, timeout: time) { return .readable }
        return Interruption.requested == nil ? .timedOut : .interrupted
    }

    /// Sends commands in one write, and waits for all of their replies.
    private func replies(to commands: [[[UInt8]]]) throws(ObserveError) -> [RedisPipeline.Reply] {
        var replies: [RedisPipeline.Reply] = []
        do throws(RedisPipelineError) {
            for command in commands { try redis.append(command) }
            try redis.send()
        } catch { throw .redis(error) }
        while replies.count < commands.count {
            guard let reply = try receivedReply() else {
                try receive()
                continue
            }
            if case .refused(let answer) = reply {
                let name = String(decoding: commands[replies.count][0], as: UTF8.self)
                throw .refused(command: name, answer: answer)
            }
            replies.append(reply)
        }
        return replies
    }

    private func receivedReply() throws(ObserveError) -> RedisPipeline.Reply? {
        do { return try redis.receivedReply() } catch { throw .redis(error) }
    }

    private func receive() throws(ObserveError) {
        switch wait(redis.descriptor, timeout) {
        case .readable: do { try redis.receive() } catch { throw .redis(error) }
        case .timedOut: throw .redis(.lost("no answer in time"))
        case .interrupted: throw .interrupted
        }
    }
}
