import EventLoop
import RedisSchema
import Testing

@testable import Gateway

@Suite struct WorkerTests {
    /// However often the mailbox hands over within a turn, and whatever waits: a turn has one share of
    /// messages.
    @Test(arguments: [1_000, 1]) func turnTakesOneShareOfMessages(payloadBytes: Int) throws {
        let rig = try WorkerRig("--redis", "redis://127.0.0.1:1")
        rig.worker.start(try ListeningSocket(host: "127.0.0.1", port: 0, sharing: .exclusive))
        let peer = try rig.connect("a")
        let message = message([UInt8](repeating: 0x31, count: payloadBytes))
        let count = 20_000
        var shares: [Int] = []
        let endTurn = rig.scenario.loop.onTurnEnd
        let delivered = rig.worker.metrics.framesDelivered
        rig.scenario.loop.onTurnEnd = {
            let before = Int(delivered.value)
            let hasWorkLeft = endTurn?() ?? false
            shares.append(Int(delivered.value) - before)
            // Many times the turns that they should take: a message that is never delivered is a failure,
            // not a hang.
            if shares.count > 2_000 { rig.scenario.loop.stop() }
            peer.read()
            return hasWorkLeft
        }
        rig.scenario.step("everything is delivered", until: { Int(delivered.value) == count }) {
            rig.node.backlogs[0].add(count * message.memoryBytes)
            // Some of them as a batch, some one by one while others are handled.
            var batch = Array(repeating: WorkerMessage.deliver(message), count: count - 5_000)
            rig.node.workerMailboxes[0].post(draining: &batch)
            for _ in 0..<5_000 { rig.node.workerMailboxes[0].post(.deliver(message)) }
        }
        try rig.scenario.run()
        let share = 256 * 1024 / message.memoryBytes + 1
        #expect(shares.allSatisfy { $0 <= share }, "\(shares.max() ?? 0) of \(share)")
        #expect(shares.reduce(0, +) == count)
        #expect(rig.node.backlogs[0].bytes == 0)
    }
}
