import Testing

@testable import Gateway

@Suite struct DrainTests {
    private let interval = Duration.milliseconds(50)

    private func slices(clients: Int, time: Duration, late: Duration = .zero) -> [Int] {
        var left = clients
        var slices: [Int] = []
        var timeLeft = time
        repeat {
            let count = min(left, Drain.sliceCount(clients: left, timeLeft: timeLeft, interval: interval))
            left -= count
            slices.append(count)
            timeLeft -= interval + late
        } while timeLeft + interval > .zero
        return slices
    }

    @Test(arguments: [0, 1, 7, 100, 201, 202, 10_000, 19_999])
    func slicesAreEvenAndLeaveNobody(clients: Int) {
        let slices = slices(clients: clients, time: .seconds(10))
        #expect(slices.reduce(0, +) == clients)
        #expect(slices.count == 201)
        #expect(slices.max()! - slices.min()! <= 1)
    }

    @Test func intervalsThatComeLateAreMadeUpFor() {
        let slices = slices(clients: 1_000, time: .seconds(10), late: .milliseconds(450))
        #expect(slices.reduce(0, +) == 1_000)
        #expect(slices.count < 30)
    }

    @Test func noTimeClosesAllAtOnce() {
        #expect(Drain.sliceCount(clients: 5_000, timeLeft: .zero, interval: interval) == 5_000)
        #expect(Drain.sliceCount(clients: 5_000, timeLeft: .seconds(-3), interval: interval) == 5_000)
        #expect(slices(clients: 77, time: .zero) == [77])
    }

    @Test func lastSliceTakesWhatIsLeft() {
        #expect(Drain.sliceCount(clients: 9, timeLeft: .milliseconds(20), interval: interval) == 9)
        #expect(slices(clients: 9, time: .milliseconds(50)) == [5, 4])
    }
}
