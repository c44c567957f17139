import RedisSchema
import Testing

@testable import Gateway

@Suite struct DrainTests {
    private func slices(clients: Int, time: Duration, interval: Duration = .milliseconds(50)) -> [Int] {
        var closed = 0
        var slices: [Int] = []
        var elapsed = Duration.zero
        while true {
            let due = Drain.dueCount(clients: clients, elapsed: elapsed, of: time)
            slices.append(due - closed)
            closed = due
            if elapsed >= time { return slices }
            elapsed += interval
        }
    }

    @Test(arguments: [0, 1, 2, 7, 100, 200, 201, 10_000, 19_999])
    func slicesAreEvenAndLeaveNobody(clients: Int) {
        let slices = slices(clients: clients, time: .seconds(10))
        #expect(slices.reduce(0, +) == clients)
        #expect(slices.count == 201)
        // The first slice is at the start, where nobody or half a step is due; the others are alike.
        let even = clients / 200
        #expect(slices.dropFirst().dropLast().allSatisfy { $0 == even || $0 == even + 1 })
        #expect((0...even + 1).contains(slices[0]))
        #expect((0...even + 1).contains(slices[200]))
    }

    @Test func fewClientsAreSpreadOverTheWholeTime() {
        let slices = slices(clients: 4, time: .seconds(8), interval: .seconds(1))
        #expect(slices == [0, 1, 0, 1, 0, 1, 0, 1, 0])
    }

    @Test func intervalsThatComeLateAreMadeUpFor() {
        let slices = slices(clients: 1_000, time: .seconds(10), interval: .milliseconds(2_500))
        #expect(slices == [0, 250, 250, 250, 250])
    }

    @Test func noTimeClosesAllAtOnce() {
        #expect(Drain.dueCount(clients: 5_000, elapsed: .zero, of: .zero) == 5_000)
        #expect(Drain.dueCount(clients: 5_000, elapsed: .seconds(11), of: .seconds(10)) == 5_000)
    }

    /// A slice falls into the middle of a turn that has brought a message: it is no reason to miss that.
    @Test func whatTheTurnHasBroughtComesBeforeTheClose() throws {
        let rig = try WorkerRig()
        let peer = try rig.connect("a")
        rig.worker.rooms.deliver(message([7], in: try #require(RoomId("a"))))
        let drain = Drain(rig.worker.connections, rig.worker.turn, over: .zero, loop: rig.scenario.loop) {}
        drain.start()
        peer.read()
        #expect(peer.received == [0x81, 1, 7] + TestPeer.closing(.goingAway))
    }
}
