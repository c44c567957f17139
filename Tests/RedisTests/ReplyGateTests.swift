import CHiredis
import TestSupport
import Testing

@testable import Redis

/// What a gate says of a stream that comes in pieces.
private struct Passage: Equatable {
    var passed: [UInt8] = []
    var errors: [String] = []
    var violation: RespViolation?
    var passedCount = 0
    /// What has come to batches.
    var answers: [String] = []

    /// - Parameter commands: how many replies are awaited, and (negative) how many answers to a batch, in
    ///   their order.
    init(_ stream: [UInt8], commands: [Int], subscriptions: Int = 0, cuts: [Int] = []) {
        var gate = ReplyGate()
        for count in commands where count < 0 || count > 0 {
            if count < 0 { gate.batchSent(count: -count) } else { for _ in 0..<count { gate.commandSent() } }
        }
        for _ in 0..<subscriptions { gate.subscriptionSent() }
        var start = 0
        for end in cuts + [stream.count] where violation == nil {
            take(Array(stream[start..<end]), &gate)
            start = end
        }
        passedCount = gate.passedCount
    }

    init(_ stream: [UInt8], replies: Int, subscriptions: Int, cuts: [Int] = []) {
        self.init(stream, commands: [replies], subscriptions: subscriptions, cuts: cuts)
    }

    private mutating func take(_ piece: [UInt8], _ gate: inout ReplyGate) {
        piece.withUnsafeBytes { bytes in
            var rest = bytes
            while !rest.isEmpty {
                let verdict = gate.look(at: UnsafeRawBufferPointer(rebasing: rest[...]))
                passed += rest[..<verdict.passedBytes]
                switch verdict.finding {
                case .nothing: break
                case .numbers: answers += gate.numbers.map { "\($0)" }
                case .refusal(let text): answers.append(text ?? "no number")
                case .error(let text): errors.append(text)
                case .violation(let found):
                    violation = found
                    return
                }
                rest = UnsafeRawBufferPointer(rebasing: rest[verdict.consumedBytes...])
            }
        }
    }

    /// How many replies hiredis' own reader finds in what has passed; nil if it finds a fault.
    var countByHiredis: Int? {
        let reader = redisReaderCreate()!
        defer { redisReaderFree(reader) }
        let isFed = passed.withUnsafeBytes { bytes in
            bytes.isEmpty
                || redisReaderFeed(
                    reader, bytes.baseAddress!.assumingMemoryBound(to: CChar.self), bytes.count)
                    == REDIS_OK
        }
        guard isFed else { return nil }
        var count = 0
        while true {
            var reply: UnsafeMutableRawPointer?
            guard redisReaderGetReply(reader, &reply) == REDIS_OK else { return nil }
            guard let reply else { return count }
            freeReplyObject(reply)
            count += 1
        }
    }
}

private func bulk(_ text: String) -> String { "$\(text.utf8.count)\r\n\(text)\r\n" }
private func message(_ channel: String, _ payload: String) -> String {
    "*3\r\n\(bulk("message"))\(bulk(channel))\(bulk(payload))"
}
private func confirmation(_ verb: String, _ channel: String, _ count: String = ":1\r\n") -> String {
    "*3\r\n\(bulk(verb))\(bulk(channel))\(count)"
}
/// Arrays in arrays, so many of them.
private func nested(_ depth: Int) -> String { String(repeating: "*1\r\n", count: depth) + ":1\r\n" }

@Suite struct ReplyGateTests {
    @Test func replyOfEveryTypePassesOnceForEachCommand() {
        let replies = [
            "+OK\r\n", "-ERR no\r\n", ":0\r\n", ":9223372036854775807\r\n", ":-9223372036854775808\r\n",
            "$-1\r\n",
            "$0\r\n\r\n", bulk("a\r\nb"), "*-1\r\n", "*0\r\n", "*2\r\n*1\r\n:1\r\n*2\r\n+a\r\n$-1\r\n",
            nested(7),
            message("a", "b"),
        ]
        let stream = Array(replies.joined().utf8)
        let passage = Passage(stream, replies: replies.count, subscriptions: 0)
        #expect(passage.passed == stream && passage.violation == nil && passage.errors.isEmpty)
        #expect(passage.passedCount == replies.count && passage.countByHiredis == replies.count)
        // One too many, also while the gate was looking at the others.
        for reply in replies where !reply.hasPrefix("-") {
            let more = Passage(stream + Array(reply.utf8), replies: replies.count, subscriptions: 0)
            #expect(more.passed == stream && more.violation == .unasked, "\(reply)")
        }
    }

    @Test(arguments: [
        ("%1\r\n", RespViolation.unknownKind(0x25)), (">3\r\n", .unknownKind(0x3E)),
        ("~1\r\n", .unknownKind(0x7E)),
        ("_\r\n", .unknownKind(0x5F)), ("#t\r\n", .unknownKind(0x23)), (",1.5\r\n", .unknownKind(0x2C)),
        ("(1\r\n", .unknownKind(0x28)), ("=1\r\n", .unknownKind(0x3D)), ("|1\r\n", .unknownKind(0x7C)),
        ("!1\r\n", .unknownKind(0x21)), ("\0", .unknownKind(0)), ("HTTP/1.1 400", .unknownKind(0x48)),
        (":\r", .number), (":x", .number), (":+1", .number), (":01", .number), (":-0", .number),
        (":--1", .number),
        (":9223372036854775808\r\n", .number), (":-9223372036854775809\r\n", .number),
        (":99999999999999999999", .number), (": 1", .number), (":1 ", .number), (":1\n", .number),
        ("$-2\r\n", .number), ("*-2\r\n", .number), ("$\r", .number), ("*\r", .number), ("$ 1", .number),
        ("$2147483647\r\n", .tooManyBytes), ("$9223372036854775807\r\n", .tooManyBytes),
        ("*2147483647\r\n", .tooManyElements), ("*9223372036854775807\r\n", .tooManyElements),
        ("*1048577\r\n", .tooManyElements), ("*2\r\n*1048575\r\n", .tooManyElements),
        (nested(8), .tooDeep), (":1\rx", .lineEnd), ("+a\n", .lineEnd), ("+a\rb", .lineEnd),
        ("-a\nb", .lineEnd),
        ("$1\r\nabc", .lineEnd), ("$1\r\na\rb", .lineEnd), ("$0\r\nx", .lineEnd), ("$1\rx", .lineEnd),
        ("*2\r\n:1\r\n%1\r\n", .unknownKind(0x25)),
    ])
    func malformedReplyIsFoundBeforeItPasses(_ text: String, _ violation: RespViolation) {
        let good = Array("+OK\r\n".utf8)
        let stream = good + Array(text.utf8)
        let passage = Passage(stream, replies: 9, subscriptions: 0)
        #expect(passage.violation == violation)
        #expect(passage.passed == good && passage.passedCount == 1)
        // In bytes: what came of it before may have passed, but nothing behind.
        let inBytes = Passage(stream, replies: 9, subscriptions: 0, cuts: Array(1..<stream.count))
        #expect(inBytes.violation == violation && inBytes.passedCount == 1)
        #expect(inBytes.countByHiredis == 1)
    }

    /// Answers to a batch are taken out of the stream wherever it is cut, and hiredis sees the replies round
    /// them.
    @Test func answersToABatchAreTakenOut() {
        let numbers = [
            ":0\r\n", ":12\r\n", "-NOPERM no\r\n", ":9223372036854775807\r\n", ":-9223372036854775808\r\n",
        ]
        let others = ["+OK\r\n", "*2\r\n:1\r\n$-1\r\n", bulk(":7\r\n")]
        let stream = Array((":5\r\n+a\r\n" + (numbers + others).joined() + "-ERR last\r\n:3\r\n:4\r\n").utf8)
        let expected = [
            "0", "12", "NOPERM no", "9223372036854775807", "-9223372036854775808", "no number", "no number",
            "no number", "3",
        ]
        for cut in 0...stream.count {
            let passage = Passage(stream, commands: [2, -8, 1, -1, 1], cuts: [cut])
            #expect(
                passage.answers == expected && passage.violation == nil && passage.errors.isEmpty,
                "cut at \(cut)")
            #expect(passage.passed == Array(":5\r\n+a\r\n-ERR last\r\n:4\r\n".utf8), "cut at \(cut)")
            #expect(passage.passedCount == 4 && passage.countByHiredis == 4, "cut at \(cut)")
        }
        let inBytes = Passage(stream, commands: [2, -8, 1, -1, 1], cuts: Array(1..<stream.count))
        #expect(inBytes.answers == expected && inBytes.passedCount == 4)
    }

    @Test(arguments: [
        (":\r", RespViolation.number), (":01\r\n", .number), (":1\rx", .lineEnd),
        (":9223372036854775808\r\n", .number),
        ("%1\r\n", .unknownKind(0x25)), ("$2147483647\r\n", .tooManyBytes),
        ("*2147483647\r\n", .tooManyElements),
        (nested(8), .tooDeep), ("-a\nb", .lineEnd),
    ])
    func malformedAnswerToABatchIsAViolation(_ text: String, _ violation: RespViolation) {
        let stream = Array((":1\r\n" + text).utf8)
        for cuts in [[], Array(1..<stream.count)] {
            let passage = Passage(stream, commands: [-9], cuts: cuts)
            #expect(passage.violation == violation && passage.answers == ["1"] && passage.passed.isEmpty)
        }
    }

    @Test func answerTooManyIsUnasked() {
        let passage = Passage(Array(":1\r\n:2\r\n:3\r\n".utf8), commands: [-2])
        #expect(passage.answers == ["1", "2"] && passage.violation == .unasked && passage.passed.isEmpty)
    }

    @Test func longLineIsAViolation() {
        let line = "+" + String(repeating: "a", count: RespScanner.maximumLineBytes)
        #expect(Passage(Array((line + "\r\n").utf8), replies: 1, subscriptions: 0).violation == nil)
        #expect(Passage(Array((line + "a").utf8), replies: 1, subscriptions: 0).violation == .tooManyBytes)
        let error = "-" + String(repeating: "a", count: RespScanner.maximumLineBytes + 2)
        #expect(Passage(Array(error.utf8), replies: 0, subscriptions: 1).violation == .tooManyBytes)
    }

    @Test func pushesPassBehindTheReplies() {
        let text =
            "+OK\r\n" + confirmation("subscribe", "anchor") + message("a", "") + message("a", "message")
            + message(String(repeating: "c", count: 300), String(repeating: "p", count: 70_000))
            + confirmation("subscribe", "a", ":2\r\n") + confirmation("unsubscribe", "a") + message("b", "x")
        let stream = Array(text.utf8)
        let passage = Passage(stream, replies: 1, subscriptions: 3)
        #expect(passage.violation == nil && passage.passed == stream)
        #expect(passage.passedCount == 8 && passage.countByHiredis == 8)
    }

    @Test(arguments: [
        "+OK\r\n", ":1\r\n", "$-1\r\n", bulk("message"), "*-1\r\n", "*0\r\n", "*1\r\n\(bulk("message"))",
        "*2\r\n\(bulk("message"))\(bulk("a"))", "*2\r\n\(bulk("pong"))$0\r\n\r\n",
        "*3\r\n:1\r\n:1\r\n:1\r\n", "*3\r\n$-1\r\n\(bulk("a"))\(bulk("b"))",
        "*3\r\n+message\r\n\(bulk("a"))\(bulk("b"))",
        "*3\r\n\(bulk("message"))$-1\r\n\(bulk("b"))", "*3\r\n\(bulk("message"))+a\r\n\(bulk("b"))",
        "*3\r\n\(bulk("message"))\(bulk("a"))$-1\r\n", "*3\r\n\(bulk("message"))\(bulk("a")):1\r\n",
        "*3\r\n\(bulk("message"))\(bulk("a"))+b\r\n", "*3\r\n\(bulk("message"))\(bulk("a"))*0\r\n",
        "*3\r\n\(bulk("message"))*0\r\n\(bulk("b"))", "*3\r\n*0\r\n\(bulk("a"))\(bulk("b"))",
        confirmation("unsubscribe", "a", bulk("1")), confirmation("unsubscribe", "a", "$-1\r\n"),
        confirmation("unsubscribe", "a", ":0\r\n"), confirmation("unsubscribe", "a", ":-1\r\n"),
        confirmation("subscribe", "a", ":0\r\n"), "*3\r\n\(bulk("unsubscribe"))$-1\r\n:1\r\n",
        confirmation("psubscribe", "a"), confirmation("punsubscribe", "a"), confirmation("ssubscribe", "a"),
        confirmation("Subscribe", "a"), confirmation("", "a"), confirmation("messages", "a", bulk("b")),
        "*3\r\n\(bulk("smessage"))\(bulk("a"))\(bulk("b"))",
        "*3\r\n\(bulk(String(repeating: "m", count: 17)))",
        "*4\r\n\(bulk("pmessage"))\(bulk("a*"))\(bulk("a"))\(bulk("b"))",
        "*4\r\n\(bulk("message"))\(bulk("a"))\(bulk("b")):1\r\n", "*2147483647\r\n",
        "*3\r\n\(bulk("message"))\(bulk("a"))$2147483647\r\n", "*3\r\n*3\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n",
    ])
    func pushOfAnotherFormIsAViolation(_ text: String) {
        let good = Array((confirmation("subscribe", "anchor") + message("a", "b")).utf8)
        let stream = good + Array((text + message("a", "b")).utf8)
        let passage = Passage(stream, replies: 0, subscriptions: 2)
        #expect(passage.violation != nil)
        #expect(passage.passed == good && passage.passedCount == 2)
        let inBytes = Passage(stream, replies: 0, subscriptions: 2, cuts: Array(1..<stream.count))
        #expect(inBytes.violation == passage.violation && inBytes.countByHiredis == 2)
    }

    @Test func confirmationThatNobodyAskedForIsAViolation() {
        let one = Array(confirmation("subscribe", "anchor").utf8)
        for more in [confirmation("subscribe", "a"), confirmation("unsubscribe", "anchor")] {
            let passage = Passage(one + Array(more.utf8), replies: 0, subscriptions: 1)
            #expect(passage.violation == .unasked && passage.passed == one)
        }
    }

    @Test func errorsAreTakenOutOfThePushes() {
        let stream = Array(
            (confirmation("subscribe", "anchor") + "-NOPERM one\r\n" + message("a", "b")
                + "-\r\n-NOPERM two\r\n"
                + confirmation("subscribe", "c")).utf8)
        for cut in 0...stream.count {
            let passage = Passage(stream, replies: 0, subscriptions: 5, cuts: [cut])
            #expect(passage.errors == ["NOPERM one", "", "NOPERM two"] && passage.violation == nil)
            #expect(passage.passedCount == 3 && passage.countByHiredis == 3, "cut at \(cut)")
        }
    }

    @Test func lastWordOfAServerIsNoViolation() {
        let passage = Passage(
            Array("-ERR max number of clients reached\r\n".utf8), replies: 0, subscriptions: 0)
        #expect(passage.errors == ["ERR max number of clients reached"] && passage.violation == nil)
    }

    /// Streams of right and wrong parts, whole and in pieces: the pieces make no difference, and hiredis
    /// finds in what has passed exactly the replies that the gate has counted.
    @Test(arguments: SeededRandom.seeds)
    func whatPassesIsWhatHiredisReads(_ seed: UInt64) {
        var random = SeededRandom(seed: seed)
        for round in 0..<500 {
            let stream = RandomReplies.stream(using: &random)
            let replies = Int.random(in: 0...4, using: &random)
            let subscriptions = Int.random(in: 0...4, using: &random)
            let whole = Passage(stream, replies: replies, subscriptions: subscriptions)
            #expect(whole.countByHiredis == whole.passedCount, "seed \(seed), round \(round)")
            let cuts = (0..<Int.random(in: 0...6, using: &random)).map { _ in
                Int.random(in: 0...stream.count, using: &random)
            }
            let pieces = Passage(stream, replies: replies, subscriptions: subscriptions, cuts: cuts.sorted())
            #expect(pieces.countByHiredis == pieces.passedCount, "seed \(seed), round \(round)")
            #expect(
                pieces.violation == whole.violation && pieces.errors == whole.errors,
                "seed \(seed), round \(round)")
            #expect(pieces.passedCount == whole.passedCount, "seed \(seed), round \(round)")
        }
    }
}
