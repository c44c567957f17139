import EventLoop
import Foundation
import TestSupport
import Testing

@testable import Redis

@Suite struct RedisSessionTests {
    private let timeout = Duration.seconds(10)

    /// A server that answers with these bytes once it has received the end of what is asked, and then stays.
    private func server(_ answer: String, to text: String, closes: Bool = false) throws -> FakeRedis {
        try FakeRedis { connection in
            try connection.expect(text)
            connection.send(answer)
            if closes { connection.end() } else { _ = connection.awaitEnd() }
        }
    }

    private func session(
        _ url: RedisURL, timeout: Duration? = nil, isInterrupted: @escaping () -> Bool = { false }
    ) throws -> RedisSession {
        try RedisSession(
            to: url, timeout: timeout ?? self.timeout, loop: try EventLoop(), isInterrupted: isInterrupted)
    }

    private func url(_ server: FakeRedis, _ credentials: String = "", _ database: String = "") throws
        -> RedisURL
    {
        try RedisURL("redis://\(credentials)127.0.0.1:\(server.port)\(database)")
    }

    private func batch(_ count: Int) -> RedisBatch {
        var batch = RedisBatch()
        for number in 0..<count {
            batch.appendPublish([UInt8]("\(number)"), to: [UInt8]("a"), prefix: [UInt8]("room:"))
        }
        return batch
    }

    /// Collects what comes of a batch as text.
    private final class News {
        private(set) var texts: [String] = []

        func take(_ news: RedisBatch.News) {
            switch news {
            case .numbers(let numbers): texts += numbers.map { "\($0)" }
            case .refused(let text): texts.append(text)
            case .noNumber: texts.append("no number")
            case .lost: texts.append("lost")
            }
        }
    }

    @Test func repliesComeInOrderWithTheirTypes() throws {
        let server = try server(
            "+PONG\r\n:7\r\n$3\r\na\r\n\r\n-NOPERM no\r\n$-1\r\n*2\r\n:1\r\n*1\r\n$0\r\n\r\n", to: "LAST")
        let session = try session(server.url)
        let replies = try session.replies(to: ["A", "B", "C", "D", "E", "LAST"].map { [[UInt8]($0)] })
        #expect(
            replies == [
                .bytes([UInt8]("PONG")), .integer(7), .bytes([UInt8]("a\r\n")), .refused("NOPERM no"),
                .array([]),
                .array([.integer(1), .array([.bytes([])])]),
            ])
    }

    /// A user who may do nothing else can still publish.
    @Test func nothingIsSentButWhatIsGiven() throws {
        let server = try FakeRedis { connection in
            let before = try connection.expect("PUBLISH\r\n$6\r\nroom:a\r\n$1\r\n0\r\n")
            connection.send(before == "*3\r\n$7\r\n" ? ":3\r\n" : "-ERR \(before.count) bytes before\r\n")
            _ = connection.awaitEnd()
        }
        let (session, news) = (try session(server.url), News())
        session.send(batch(1)) { news.take($0) }
        try session.wait { !news.texts.isEmpty }
        #expect(news.texts == ["3"])
    }

    @Test func loginTakesItsReplies() throws {
        let server = try FakeRedis { connection in
            try connection.expect("AUTH\r\n$4\r\nuser\r\n$2\r\npw\r\n")
            try connection.expect("SELECT\r\n$1\r\n2\r\n")
            connection.send("+OK\r\n+OK\r\n")
            try connection.expect("PUBLISH")
            connection.send(":1\r\n")
            _ = connection.awaitEnd()
        }
        let session = try session(url(server, "user:pw@", "/2"))
        #expect(try session.replies(to: [[[UInt8]("PUBLISH")]]) == [.integer(1)])
    }

    @Test func refusedLoginTellsTheServersAnswer() throws {
        let server = try server("-WRONGPASS invalid\r\n", to: "AUTH")
        let error = #expect(throws: RedisSessionError.self) { try session(url(server, ":hunter2@")) }
        #expect(error == .refused("AUTH: WRONGPASS invalid"))
        #expect(error?.description.contains("hunter2") == false)
        let other = try self.server("-ERR DB index is out of range\r\n", to: "SELECT")
        #expect(throws: RedisSessionError.refused("SELECT: ERR DB index is out of range")) {
            try session(url(other, "", "/99"))
        }
        #expect(other.connectionCount == 1, "a refusal is no reason to try again")
    }

    @Test func closedConnectionIsLost() throws {
        let server = try server(":1\r\n:2\r\n", to: "PUBLISH", closes: true)
        let (session, news) = (try session(server.url), News())
        session.send(batch(3)) { news.take($0) }
        #expect(throws: RedisSessionError.lost("Server closed the connection")) {
            try session.wait { news.texts.count == 4 && false }
        }
        #expect(news.texts == ["1", "2", "lost"])
        #expect(server.connectionCount == 1, "it is not made again")
        // Whatever follows is told at once.
        session.send(batch(1)) { news.take($0) }
        #expect(news.texts.count == 4)
        #expect(throws: RedisSessionError.lost("Server closed the connection")) {
            try session.call([]) { _, _ in }
        }
    }

    /// The last answer may be followed by the end at once.
    @Test func endBehindTheLastAnswerIsNoLoss() throws {
        let server = try server(":1\r\n:2\r\n", to: "PUBLISH", closes: true)
        let (session, news) = (try session(server.url), News())
        session.send(batch(2)) { news.take($0) }
        try session.wait { news.texts.count == 2 }
        #expect(news.texts == ["1", "2"])
    }

    @Test func silenceIsLostAfterTheTimeout() throws {
        let server = try server("", to: "PUBLISH")
        let session = try session(server.url, timeout: .milliseconds(50))
        session.send(batch(2)) { _ in }
        #expect(throws: RedisSessionError.lost("no answer within 50 ms")) { try session.wait { false } }
    }

    /// A batch may take longer than the timeout, as over a slow line, as long as answers come.
    @Test func answersGiveTheOthersTheirTime() throws {
        let server = try FakeRedis { connection in
            try connection.expect("PUBLISH")
            for _ in 0..<8 {
                usleep(100_000)
                connection.send(":1\r\n")
            }
            _ = connection.awaitEnd()
        }
        let (session, news) = (try session(server.url, timeout: .milliseconds(400)), News())
        session.send(batch(4)) { news.take($0) }
        session.send(batch(4)) { news.take($0) }
        try session.wait { news.texts.count == 8 }
        #expect(news.texts == Array(repeating: "1", count: 8))
    }

    @Test func interruptionEndsAWait() throws {
        let server = try server("", to: "PUBLISH")
        let loop = try EventLoop()
        var isInterrupted = false
        let session = try RedisSession(to: server.url, timeout: timeout, loop: loop) { isInterrupted }
        let timer = Timer(on: loop) { isInterrupted = true }
        timer.start(after: .milliseconds(10))
        #expect(throws: RedisSessionError.interrupted) {
            try session.call([RedisCommand([[UInt8]("GET")])]) { _, _ in }
        }
    }

    @Test func whatIsNoRedisIsLost() throws {
        let server = try server("HTTP/1.1 400 Bad Request\r\n", to: "PUBLISH")
        let session = try session(server.url)
        session.send(batch(1)) { _ in }
        let error = #expect(throws: RedisSessionError.self) { try session.wait { false } }
        #expect(error?.description.contains("protocol error") == true)
    }

    @Test func missingServerIsUnreachable() throws {
        let url = try RedisURL("unix:///nonexistent/redis.sock")
        #expect(throws: RedisSessionError.unreachable("\(url): No such file or directory")) {
            try session(url)
        }
    }

    /// Batches and commands in turn over a real server, more than fit into any buffer.
    @Test func batchesAndCommandsKeepTheirOrder() throws {
        let redis = try RedisServer()
        let session = try session(redis.url)
        try redis.command("ACL", "SETUSER", "default", "resetchannels", "&room:*")
        var order: [String] = []
        for round in 0..<40 {
            var batch = batch(round * 50)
            if round % 2 == 1 { batch.appendPublish([], to: [UInt8]("no")) }
            session.send(RedisCommand([[UInt8]("ECHO"), [UInt8]("before \(round)")])) { result in
                if case .success(let reply) = result { order.append(reply.string ?? "") }
            }
            var answerCount = 0
            let count = batch.count
            if count == 0 { continue }
            session.send(batch) { news in
                switch news {
                case .numbers(let numbers): answerCount += numbers.count
                case .refused(let text):
                    answerCount += text.hasPrefix("NOPERM") && answerCount == count - 1 ? 1 : 0
                case .noNumber, .lost: break
                }
                if answerCount == count { order.append("batch \(round)") }
            }
        }
        try session.wait { order.count == 79 }
        #expect(order == (0..<40).flatMap { $0 == 0 ? ["before 0"] : ["before \($0)", "batch \($0)"] })
    }
}
