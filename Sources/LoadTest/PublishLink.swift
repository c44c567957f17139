// Where the publisher's messages go: Redis, or a server that takes HTTP POST. Used by the publisher's
// thread.

import EventLoop
import Glibc
import HTTP
import Redis
import RedisSchema

/// Why publishing ended.
struct PublishFailure: Error, CustomStringConvertible {
    let description: String
}

/// What became of a batch.
struct PublishResult: Sendable {
    /// Messages that were accepted and reached no node; nil where nobody counts the nodes.
    var unheardCount: Int? = 0
    /// Messages that were not accepted, and the last reason.
    var refusedCount = 0
    var refusal: String?

    static func += (sum: inout Self, other: Self) {
        sum.unheardCount = sum.unheardCount.flatMap { count in other.unheardCount.map { count + $0 } }
        sum.refusedCount += other.refusedCount
        sum.refusal = other.refusal ?? sum.refusal
    }
}

/// Something that takes messages for rooms.
protocol PublishLink {
    /// Sends a batch in order and waits for the answers.
    ///
    /// - Throws: when the connection is lost; what was in flight may have been carried out or not.
    func publish(_ batch: [(room: Int, payload: [UInt8])]) throws(PublishFailure) -> PublishResult
}

/// PUBLISH, pipelined.
final class RedisPublishLink: PublishLink {
    private static let timeout = Duration.seconds(10)

    private let redis: RedisSession
    private let channels: [[UInt8]]
    private var batch = RedisBatch()

    /// - Throws: when Redis cannot be reached or refuses the login.
    init(_ url: RedisURL, channels: Channels, roomCount: Int, run: UInt32) throws(PublishFailure) {
        do {
            redis = try RedisSession(to: url, timeout: Self.timeout, loop: EventLoop())
        } catch {
            throw PublishFailure(description: "\(error)")
        }
        self.channels = (0..<roomCount).map { channels.room(RoomName.id(room: $0, run: run)) }
    }

    func publish(_ messages: [(room: Int, payload: [UInt8])]) throws(PublishFailure) -> PublishResult {
        batch.removeAll()
        for message in messages { batch.appendPublish(message.payload, to: channels[message.room]) }
        // A cluster counts the nodes at one of its servers only.
        var result = PublishResult(unheardCount: redis.isCluster ? nil : 0)
        var missingCount = messages.count
        func refuse(_ text: String) {
            missingCount -= 1
            result.refusedCount += 1
            result.refusal = text
        }
        redis.send(batch) { news in
            switch news {
            case .numbers(let numbers):
                missingCount -= numbers.count
                result.unheardCount = result.unheardCount.map { $0 + numbers.count { $0 == 0 } }
            case .refused(let text): refuse(text)
            case .noNumber: refuse("unexpected answer to PUBLISH")
            case .lost: break
            }
        }
        do throws(RedisSessionError) {
            try redis.wait { missingCount == 0 }
        } catch {
            throw PublishFailure(description: error.description)
        }
        return result
    }
}

/// POST over one keep-alive connection, pipelined.
final class HttpPublishLink: PublishLink {
    private static let maximumHeadBytes = 16 << 10
    private static let patienceMilliseconds: Int32 = 10_000
    /// What servers commonly read ahead.
    private static let maximumPipelinedCount = 16

    private let socket: Socket
    private let heads: [String]
    private var input: [UInt8] = []

    /// - Throws: when the server cannot be reached.
    init(_ url: HttpPublishURL, roomCount: Int, run: UInt32, payloadBytes: Int) throws(PublishFailure) {
        let host = url.endpoint.description
        heads = (0..<roomCount).map {
            "POST \(RoomName.path(url.path, rooms: [$0], run: run)) HTTP/1.1\r\nHost: \(host)\r\n"
                + "Content-Type: application/json\r\nContent-Length: \(payloadBytes)\r\n\r\n"
        }
        do throws(SystemError) {
            socket = try Destination(url.endpoint).dial(number: nil)
        } catch {
            throw PublishFailure(description: error.description)
        }
        try wait(for: POLLOUT)
        let code = Destination.connectError(socket)
        guard code == 0 else {
            throw PublishFailure(description: "cannot reach \(host): \(SystemError.message(of: code))")
        }
    }

    deinit { socket.close() }

    func publish(_ batch: [(room: Int, payload: [UInt8])]) throws(PublishFailure) -> PublishResult {
        // What the server knows of nodes is its own business.
        var result = PublishResult(unheardCount: nil)
        var rest = batch[...]
        while !rest.isEmpty {
            let part = rest.prefix(HttpPublishLink.maximumPipelinedCount)
            rest = rest.dropFirst(part.count)
            var output: [UInt8] = []
            for message in part { output += Array(heads[message.room].utf8) + message.payload }
            try write(output)
            for _ in part {
                let statusCode = try readAnswer()
                if statusCode / 100 != 2 {
                    result.refusedCount += 1
                    result.refusal = "HTTP \(statusCode)"
                }
            }
        }
        return result
    }

    private func write(_ bytes: [UInt8]) throws(PublishFailure) {
        var rest = bytes[...]
        while !rest.isEmpty {
            switch rest.withUnsafeBytes({ socket.write($0) }) {
            case .bytes(let count): rest = rest.dropFirst(count)
            case .wouldBlock: try wait(for: POLLOUT)
            case .endOfStream: throw PublishFailure(description: "the publish URL closed the connection")
            case .failed(let code): throw PublishFailure(description: SystemError.message(of: code))
            }
        }
    }

    private func readAnswer() throws(PublishFailure) -> Int {
        while true {
            let parsed = input.withUnsafeBytes {
                HttpResponseHead.parse($0, maximumBytes: HttpPublishLink.maximumHeadBytes)
            }
            switch parsed {
            case .complete(let head):
                guard let end = head.endOfAnswer else {
                    throw PublishFailure(description: "too long an answer from the publish URL")
                }
                if input.count >= end {
                    input.removeFirst(end)
                    return head.statusCode
                }
            case .failed: throw PublishFailure(description: "malformed answer from the publish URL")
            case .incomplete: break
            }
            try wait(for: POLLIN)
            try readMore()
        }
    }

    private func readMore() throws(PublishFailure) {
        var buffer = [UInt8](repeating: 0, count: 16 << 10)
        switch buffer.withUnsafeMutableBytes({ socket.read(into: $0) }) {
        case .bytes(let count): input += buffer[..<count]
        case .wouldBlock: return
        case .endOfStream: throw PublishFailure(description: "the publish URL closed the connection")
        case .failed(let code): throw PublishFailure(description: SystemError.message(of: code))
        }
    }

    private func wait(for events: Int32) throws(PublishFailure) {
        var descriptor = pollfd(fd: socket.descriptor, events: Int16(events), revents: 0)
        while true {
            let count = poll(&descriptor, 1, HttpPublishLink.patienceMilliseconds)
            if count > 0 { return }
            if count == 0 { throw PublishFailure(description: "no answer from the publish URL in time") }
            guard errno == EINTR else { throw PublishFailure(description: "poll failed") }
        }
    }
}
