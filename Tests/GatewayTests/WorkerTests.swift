import EventLoop
import RedisSchema
import Testing

@testable import Gateway

@Suite struct WorkerTests {
    /// However often the mailbox hands over within a turn, and whatever waits: a turn has one share of a
    /// room's messages, and writes those of many rooms together.
    @Test(arguments: [(payloadBytes: 1_000, roomCount: 1), (1, 1), (1_000, 10), (1, 10)])
    func turnTakesOneShareOfMessages(payloadBytes: Int, roomCount: Int) throws {
        let rig = try WorkerRig("--redis", "redis://127.0.0.1:1")
        rig.worker.start(try ListeningSocket(host: "127.0.0.1", port: 0, sharing: .exclusive))
        let rooms = (0..<roomCount).map { "r\($0)" }
        let peers = try rooms.map { try rig.connect($0) }
        let payload = [UInt8](repeating: 0x31, count: payloadBytes)
        let messages = rooms.map { message(payload, in: RoomId($0)!) }
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
            for peer in peers { peer.read() }
            return hasWorkLeft
        }
        rig.scenario.step("everything is delivered", until: { Int(delivered.value) == count }) {
            rig.node.backlogs[0].add(count * messages[0].memoryBytes)
            // Some of them as a batch, some one by one while others are handled.
            var batch = (5_000..<count).map { WorkerMessage.deliver(messages[$0 % roomCount]) }
            rig.node.workerMailboxes[0].post(draining: &batch)
            for number in 0..<5_000 {
                rig.node.workerMailboxes[0].post(.deliver(messages[number % roomCount]))
            }
        }
        try rig.scenario.run()
        let roomShare = 128 * 1024 / messages[0].memoryBytes + 1
        let largest = shares.max() ?? 0
        // The last message is that of one room.
        #expect(largest <= roomShare * roomCount, "\(largest) of \(roomShare) a room")
        #expect(largest > (roomShare - 1) * roomCount, "\(largest) of \(roomShare) a room")
        #expect(shares.reduce(0, +) == count)
        #expect(rig.node.backlogs[0].bytes == 0)
    }
}
