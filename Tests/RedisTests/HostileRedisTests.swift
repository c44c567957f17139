import EventLoop
import TestSupport
import Testing

@testable import Redis

/// Where a connection is when a server that means harm begins.
private enum State: CaseIterable {
    case login, setName, identifying, proving, asked
    case subscriberSetName, subscribing, subscribed, unsubscribing
    case finderLogin, finderAsked, watchAsked

    /// Plays the healthy part.
    func lead(_ connection: FakeConnection) throws {
        if self == .login || self == .finderLogin {
            try connection.expect("AUTH")
            return
        }
        if self == .finderAsked {
            try connection.expect("mymaster\r\n")
            return
        }
        try connection.expect("SETNAME")
        if self == .setName || self == .subscriberSetName { return }
        connection.send("+OK\r\n")
        if self == .watchAsked {
            try connection.expect("SUBSCRIBE")
            return
        }
        guard [.identifying, .proving, .asked].contains(self) else {
            try connection.expect("SUBSCRIBE")
            guard self != .subscribing else { return }
            try connection.expect("anchor\r\n*2\r\n$9\r\nSUBSCRIBE\r\n$1\r\na\r\n")
            try connection.expect("anchor\r\n")
            for (index, channel) in ["anchor", "a", "anchor"].enumerated() {
                connection.send(
                    "*3\r\n$9\r\nsubscribe\r\n$\(channel.count)\r\n\(channel)\r\n:\(index + 1)\r\n")
            }
            if self == .unsubscribing { try connection.expect("UNSUBSCRIBE") }
            return
        }
        try connection.expect("INFO")
        guard self != .identifying else { return }
        connection.send("+PONG\r\n$9\r\nrun_id:ab\r\n")
        try connection.expect("memory")
        connection.send("$0\r\n\r\n")
        try connection.expect("EVAL")
        guard self == .asked else { return }
        connection.send(":1\r\n")
        try connection.expect("PTTL")
    }
}

/// One connection to a server that sends what it should not, to its end; counts what its users are told.
private final class Victim {
    private let scenario: Scenario
    private var commandCount = 0
    private var outcomeCount = 0
    private var endCount = 0
    private(set) var reason = ""

    init(_ state: State, _ server: FakeRedis) throws {
        scenario = try Scenario()
        let isOver = { [unowned self] in self.endCount > 0 && self.outcomeCount == self.commandCount }
        let credentials = state == .login ? ":secret@" : ""
        let url = try RedisURL("redis://\(credentials)127.0.0.1:\(server.port)")
        let sentinelURL = try RedisURL("sentinel://127.0.0.1:\(server.port)/mymaster")
            .withSentinelPassword(state == .finderLogin ? "secret" : nil)
        guard case .master(let sentinels) = sentinelURL.route else { return }
        let ended: (String) -> Void = { [unowned self] reason in
            self.endCount += 1
            self.reason = reason
        }
        switch state {
        case .login, .setName, .identifying, .proving, .asked:
            let connection = RedisConnection(
                url: url, clientName: "victim", timeout: .seconds(15), silenceTimeout: .seconds(60),
                loop: scenario.loop
            )
            connection.onDown = ended
            connection.onUp = { [unowned self] _ in
                for _ in 0..<3 {
                    self.commandCount += 1
                    connection.send(RedisCommand(["PTTL", "k"].map { [UInt8]($0) })) { _ in
                        self.outcomeCount += 1
                    }
                }
            }
            scenario.step("\(state): the end", until: isOver) { connection.start() }
            scenario.then {
                connection.stop()
                // It holds the connection.
                connection.onUp = nil
            }
        case .subscriberSetName, .subscribing, .subscribed, .unsubscribing:
            let subscriber = RedisSubscriber(
                url: url, clientName: "victim", anchor: [UInt8]("anchor"), silenceTimeout: .seconds(60),
                loop: scenario.loop)
            subscriber.onDown = ended
            subscriber.onAllSubscribed = {
                if state == .unsubscribing { subscriber.unsubscribe([UInt8]("a")) }
            }
            subscriber.subscribe([UInt8]("a"))
            scenario.step("\(state): the end", until: isOver) { subscriber.start() }
            scenario.then {
                subscriber.stop()
                // It holds the subscriber.
                subscriber.onAllSubscribed = nil
            }
        case .finderLogin, .finderAsked:
            let finder = MasterFinder(sentinels, loop: scenario.loop)
            scenario.step("\(state): the end", until: isOver) {
                finder.find { outcome in
                    if case .failure(let failure) = outcome { ended(failure.reason) } else { ended("named") }
                }
            }
            scenario.then { finder.cancel() }
        case .watchAsked:
            let watch = MasterWatch(
                sentinels, clientName: "victim", silenceTimeout: .seconds(60), loop: scenario.loop)
            watch.onDown = ended
            scenario.step("\(state): the end", until: isOver) { watch.start() }
            scenario.then { watch.stop() }
        }
    }

    /// Runs to the end; every command has had one outcome then, and the end was told once.
    func run() throws {
        try scenario.run()
        #expect(outcomeCount == commandCount && endCount == 1)
    }
}

private func bulk(_ text: String) -> String { "$\(text.utf8.count)\r\n\(text)\r\n" }

/// A server that is not what it seems. Whatever it sends ends a connection, and nothing else.
@Suite(.serialized) struct HostileRedisTests {
    private static let shapes: [String] = [
        "+OK\r\n", "+\r\n", "-ERR no\r\n", "-\r\n", "-NOPERM no\r\n", ":0\r\n", ":-1\r\n",
        ":9223372036854775807\r\n",
        ":-9223372036854775808\r\n", ":9223372036854775808\r\n", ":x\r\n", "$-1\r\n", "$-2\r\n",
        "$0\r\n\r\n",
        bulk("text"),
        "$3\r\n", "$2147483647\r\n", "$9223372036854775807\r\n", "*-1\r\n", "*-2\r\n", "*0\r\n",
        "*1\r\n$-1\r\n",
        "*1\r\n\(bulk("message"))", "*2\r\n\(bulk("127.0.0.1"))\(bulk("99999"))",
        "*2\r\n\(bulk(""))\(bulk("1"))",
        "*2\r\n:1\r\n:1\r\n", "*3\r\n:1\r\n:1\r\n:1\r\n", "*3\r\n$-1\r\n$-1\r\n$-1\r\n",
        "*3\r\n*0\r\n*0\r\n*0\r\n",
        "*3\r\n\(bulk("message"))$-1\r\n$-1\r\n", "*3\r\n\(bulk("message"))\(bulk("a")):1\r\n",
        "*3\r\n\(bulk("message"))\(bulk("unknown"))\(bulk("x"))",
        "*3\r\n\(bulk("message"))\(bulk("a"))\(bulk("x"))",
        "*3\r\n\(bulk("message"))\(bulk("+switch-master"))\(bulk("mymaster a b c d"))",
        "*3\r\n\(bulk("message"))\(bulk("+switch-master"))\(bulk("mymaster"))",
        "*4\r\n\(bulk("pmessage"))\(bulk("a"))\(bulk("a"))\(bulk("x"))",
        "*3\r\n\(bulk("subscribe"))\(bulk("unknown")):1\r\n",
        "*3\r\n\(bulk("subscribe"))\(bulk("a"))$-1\r\n",
        "*3\r\n\(bulk("unsubscribe"))\(bulk("a")):0\r\n",
        "*3\r\n\(bulk("unsubscribe"))\(bulk("anchor")):0\r\n",
        "*3\r\n\(bulk("unsubscribe"))\(bulk("anchor")):1\r\n", "*3\r\n\(bulk("unsubscribe"))$-1\r\n:0\r\n",
        "*3\r\n\(bulk("unsubscribe"))\(bulk("a"))*-1\r\n", "*2\r\n\(bulk("unsubscribe"))\(bulk("a"))",
        "*3\r\n\(bulk("smessage"))\(bulk("a"))\(bulk("x"))", "*3\r\n\(bulk(""))\(bulk("a"))\(bulk("x"))",
        "*2147483647\r\n", "*1048576\r\n", String(repeating: "*1\r\n", count: 7) + ":1\r\n",
        String(repeating: "*1\r\n", count: 9) + ":1\r\n", "%1\r\n+a\r\n+b\r\n", ">3\r\n", "~1\r\n", "_\r\n",
        "#t\r\n",
        ",1.5\r\n", "(1\r\n", "=5\r\ntxt:a\r\n", "|1\r\n", "!1\r\na\r\n", "\0", "\r\n",
        "HTTP/1.1 400 Bad Request\r\n\r\n",
    ]

    @Test(arguments: State.allCases)
    private func everyShapeEndsAConnectionOnly(_ state: State) throws {
        for shape in Self.shapes {
            // One too few, enough, and too many of them.
            for (count, isInBytes) in [(1, false), (1, true), (12, false)] {
                let bytes = Array(String(repeating: shape, count: count).utf8)
                let server = try FakeRedis { connection in
                    if connection.number == 0 {
                        try state.lead(connection)
                        if isInBytes { connection.sendInBytes(bytes) } else { connection.send(bytes) }
                    }
                    connection.end()
                }
                try Victim(state, server).run()
            }
        }
    }

    @Test(arguments: SeededRandom.seeds)
    func randomStreamsEndAConnectionOnly(_ seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        for _ in 0..<100 {
            let bytes = RandomReplies.stream(using: &random)
            let state = State.allCases.randomElement(using: &random)!
            let server = try FakeRedis { connection in
                if connection.number == 0 {
                    try state.lead(connection)
                    connection.send(bytes)
                }
                connection.end()
            }
            try Victim(state, server).run()
        }
    }

    /// hiredis 0.14 kept the callback of the reply before, and called it, and what it pointed to, a second
    /// time.
    @Test func pushBehindAReplyInOneSegmentIsOneTooMany() throws {
        let push = "*3\r\n\(bulk("message"))\(bulk("unknown"))\(bulk(String(repeating: "A", count: 64)))"
        for state in [State.setName, .subscriberSetName] {
            let server = try FakeRedis { connection in
                if connection.number == 0 {
                    try state.lead(connection)
                    connection.send("+OK\r\n" + push + push)
                }
                connection.end()
            }
            let victim = try Victim(state, server)
            try victim.run()
            #expect(victim.reason == "protocol error: a reply without a question")
        }
    }

    /// A violation ends the connection by itself: the server need not close it.
    @Test func violationEndsALivingConnection() throws {
        for (state, text) in [
            (State.asked, ":1\r\n:2\r\n:3\r\n:4\r\n"), (.subscribed, ":1\r\n"), (.identifying, "%1\r\n"),
        ] {
            let server = try FakeRedis { connection in
                guard connection.number == 0 else { return }
                try state.lead(connection)
                connection.send(text)
                _ = connection.awaitEnd()
            }
            let victim = try Victim(state, server)
            try victim.run()
            #expect(victim.reason.hasPrefix("protocol error: "), "\(victim.reason)")
        }
    }

    /// A batch takes whatever comes, too: hiredis sees none of it.
    @Test func batchTakesNoMoreThanItCanHold() throws {
        for shape in Self.shapes + ["*1048577\r\n", "$536870913\r\n"] {
            let server = try FakeRedis { connection in
                try connection.expect("PUBLISH")
                connection.send(shape)
                connection.end()
            }
            let session = try RedisSession(to: server.url, timeout: .seconds(15), loop: EventLoop())
            var batch = RedisBatch()
            for _ in 0..<100 { batch.appendPublish([UInt8]("1"), to: [UInt8]("a")) }
            var newsCount = 0
            session.send(batch) { _ in newsCount += 1 }
            #expect(throws: RedisSessionError.self) { try session.wait { newsCount < 0 } }
            #expect(newsCount > 0)
        }
    }
}
