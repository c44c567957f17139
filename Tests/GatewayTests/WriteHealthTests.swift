import EventLoop
import Redis
import TestSupport
import Testing

@testable import Gateway

@Suite struct WriteHealthTests {
    private let start = MonotonicInstant(nanoseconds: 1_000_000_000)

    @Test func refusalBeginsAtOnceAndEndsWhenAllIsTakenForAWhile() {
        var health = WriteHealth()
        var changes: [Bool] = []
        func note(_ attempt: WriteHealth.Attempt, _ message: String?, atSecond second: Int) {
            changes.append(health.note(attempt, message, now: start + .seconds(second)))
        }
        note(.renewal, nil, atSecond: 0)
        note(.report, "OOM no memory", atSecond: 0)
        note(.renewal, nil, atSecond: 10)
        note(.renewal, "MISCONF no disk", atSecond: 10)
        #expect(health.refusal == "OOM no memory", "the word of the begin")
        note(.renewal, nil, atSecond: 20)
        #expect(health.refusal != nil, "not all is taken")
        note(.report, "OOM no memory", atSecond: 20)
        note(.report, nil, atSecond: 21)
        #expect(health.refusal != nil, "one second is not a while")
        note(.renewal, nil, atSecond: 22)
        #expect(health.refusal == nil)
        note(.report, nil, atSecond: 23)
        #expect(changes == [false, true, false, false, false, false, false, true, false])
    }

    @Test(arguments: [
        ("MISCONF Redis is configured to save", "MISCONF"), ("OOM", "OOM"), ("", ""),
        (
            "ERR Error running script (call to f_1): @user_script:1: @user_script: 1: -OOM command not allowed",
            "OOM"
        ),
        ("ERR value is not an integer", "ERR"),
    ])
    func codeIsTheFirstWordOfTheCause(message: String, code: String) {
        #expect(RedisRefusal.code(of: message) == code)
    }

    @Test func textIsFitToBeShown() {
        #expect(RedisRefusal.text("OOM no memory. script: 12, on @user_script:3.") == "OOM no memory.")
        #expect(RedisRefusal.text("a\u{1B}]0;x\u{7}\u{202E}\n\u{9B}é") == "a?]0;x?????")
        #expect(RedisRefusal.text(String(repeating: "x", count: 1_000)).utf8.count == 160)
    }

    @Test func rulesForReportsSayNothingOfOtherWrites() {
        for message in ["NOPERM no", "WRONGTYPE no", "ERR no"] { #expect(!WriteHealth.concernsAll(message)) }
        for message in ["OOM no", "MISCONF no", "NOREPLICAS no"] {
            #expect(WriteHealth.concernsAll(message))
        }
    }
}

/// On a real Redis: each way to refuse a renewal while PTTL goes on to answer.
@Suite(.serialized) struct WriteCheckTests {
    private static let withdrawn: [[String]] = [
        ["CONFIG", "SET", "min-replicas-to-write", "1"], ["ACL", "SETUSER", "default", "-evalsha", "-eval"],
        ["ACL", "SETUSER", "default", "-expire"], ["ACL", "SETUSER", "default", "-pttl"],
        ["ACL", "SETUSER", "default", "-hmget"], ["ACL", "SETUSER", "default", "resetkeys", "~other"],
    ]
    private static let givenBack: [[String]] = [
        ["CONFIG", "SET", "min-replicas-to-write", "0"],
        ["ACL", "SETUSER", "default", "allcommands", "allkeys"],
    ]

    @Test(arguments: withdrawn)
    func refusalIsFoundAndSoIsItsEnd(command: [String]) throws {
        let server = try RedisServer()
        let rig = try WorkerRig("--redis", "redis://127.0.0.1:\(server.port)")
        let registry = rig.worker.registry
        var isUp = false
        var verdicts: [Bool] = []
        var changeCount = 0
        registry.onUp = { _ in isUp = true }
        registry.onWritesChanged = { changeCount += 1 }
        rig.scenario.step("redis is up", until: { isUp }) { registry.start() }
        rig.scenario.step("a verdict", until: { verdicts.count == 1 }) {
            registry.writes.check { verdicts.append($0) }
        }
        rig.scenario.step("a verdict", until: { verdicts.count == 2 }) {
            try server.command(bytes: command.map { Array($0.utf8) })
            registry.writes.check { verdicts.append($0) }
        }
        rig.scenario.step("its end", until: { registry.writes.refusal == nil }) {
            #expect(registry.writes.refusal != nil)
            #expect(!registry.tellsSilence)
            for command in WriteCheckTests.givenBack {
                try server.command(bytes: command.map { Array($0.utf8) })
            }
        }
        try rig.scenario.run()
        #expect(verdicts == [true, false])
        #expect(changeCount == 2)
        #expect(registry.tellsSilence)
    }
}
