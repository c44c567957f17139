import EventLoop
import Synchronization
import Testing

@testable import Gateway

@Suite struct NodeStateTests {
    private func state(workers: Int = 3) -> NodeState {
        NodeState(workerCount: workers, maximumClientCount: 100, maximumHttpConnectionCount: 10)
    }

    @Test func nodeIsReadyWhenAllLinksAreUp() {
        let state = state()
        #expect(
            state.reasonsNotReady == [
                "redis subscriber connection is down", "3 of 3 redis command connections are down",
            ])
        state.setFeedUp(true, feed: 0)
        state.setCommandsUp(true, worker: 0)
        state.setCommandsUp(true, worker: 0)
        state.setCommandsUp(true, worker: 2)
        #expect(state.reasonsNotReady == ["1 of 3 redis command connections are down"])
        state.setCommandsUp(true, worker: 1)
        #expect(state.reasonsNotReady.isEmpty)
        state.setCommandsUp(false, worker: 2)
        state.setCommandsUp(false, worker: 2)
        #expect(state.reasonsNotReady == ["1 of 3 redis command connections are down"])
        state.setCommandsUp(true, worker: 2)
        state.setFeedUp(false, feed: 0)
        #expect(state.reasonsNotReady == ["redis subscriber connection is down"])
    }

    @Test func lossIsNamedWhileAConnectionIsMissing() {
        let state = state(workers: 1)
        state.setFeedUp(true, feed: 0)
        state.setRedisTrouble("TLS: certificate: certificate has expired")
        #expect(
            state.reasonsNotReady == [
                "1 of 1 redis command connections are down",
                "redis: TLS: certificate: certificate has expired",
            ])
        state.setCommandsUp(true, worker: 0)
        #expect(state.reasonsNotReady.isEmpty)
        state.setCommandsUp(false, worker: 0)
        state.setRedisTrouble(nil)
        #expect(state.reasonsNotReady == ["1 of 1 redis command connections are down"])
    }

    @Test func nodeIsReadyWhenEveryFeedIsUp() {
        let state = NodeState(
            workerCount: 1, feedCount: 2, maximumClientCount: 1, maximumHttpConnectionCount: 1)
        state.setCommandsUp(true, worker: 0)
        state.setFeedUp(true, feed: 1)
        #expect(state.reasonsNotReady == ["redis subscriber connection is down"])
        state.setFeedUp(true, feed: 0)
        #expect(state.reasonsNotReady.isEmpty)
        state.pulses.feeds[1].beat(now: MonotonicInstant(nanoseconds: 0))
        #expect(state.reasonsNotReady == ["thread subscriber hangs"])
    }

    @Test func drainingNodeIsNotReady() {
        let state = state(workers: 1)
        state.setFeedUp(true, feed: 0)
        state.setCommandsUp(true, worker: 0)
        #expect(!state.isDraining)
        state.setDraining()
        #expect(state.isDraining)
        #expect(state.reasonsNotReady == ["draining"])
    }

    @Test func refusedWritesAreAReason() {
        let state = state(workers: 2)
        state.setFeedUp(true, feed: 0)
        for worker in 0..<2 { state.setCommandsUp(true, worker: worker) }
        state.setWriteRefusal("MISCONF b", worker: 1)
        state.setWriteRefusal("MISCONF a", worker: 0)
        #expect(state.reasonsNotReady == ["redis refuses writes: MISCONF a"])
        state.setWriteRefusal(nil, worker: 0)
        #expect(state.reasonsNotReady == ["redis refuses writes: MISCONF b"])
        state.setWriteRefusal(nil, worker: 1)
        #expect(state.reasonsNotReady.isEmpty)
    }

    @Test func everyWorkerCounts() {
        let count = Limits.workerCount
        let state = state(workers: count)
        state.setFeedUp(true, feed: 0)
        for worker in 0..<count {
            #expect(!state.reasonsNotReady.isEmpty)
            state.setCommandsUp(true, worker: worker)
        }
        #expect(state.reasonsNotReady.isEmpty)
    }

    @Test func placesAreTakenAndGivenBack() {
        let state = state()
        for _ in 0..<100 { #expect(state.admitClient()) }
        for _ in 0..<5 { #expect(!state.admitClient()) }
        state.releaseClient()
        #expect(state.admitClient())
        #expect(!state.admitClient())
        for _ in 0..<Limits.handoverCount { #expect(state.admitHandover()) }
        #expect(!state.admitHandover())
        state.releaseHandover()
        #expect(state.admitHandover())
    }

    @Test(arguments: [1, 2, 3, 7, 64])
    func workersShareThePlacesOfRequests(workers: Int) {
        for count in [64, 65, 100, 127] {
            let state = NodeState(
                workerCount: workers, maximumClientCount: 1, maximumHttpConnectionCount: count)
            let shares = (0..<workers).map { state.maximumHttpConnectionCount(ofWorker: $0) }
            #expect(shares.reduce(0, +) == count)
            #expect((shares.max() ?? 0) - (shares.min() ?? 0) <= 1)
        }
    }

    /// Threads that take and give back places at the same time: never are more taken than there are.
    @Test func threadsNeverTakeMoreThanTheLimit() throws {
        let limit = 3
        let state = NodeState(workerCount: 1, maximumClientCount: limit, maximumHttpConnectionCount: 1)
        let taken = Atomic<Int>(0)
        let most = Atomic<Int>(0)
        let admissions = Atomic<Int>(0)
        let threads = try (0..<6).map { index in
            try LoopThread(name: "taker \(index)") { _ in
                for _ in 0..<20_000 where state.admitClient() {
                    let now = taken.add(1, ordering: .sequentiallyConsistent).newValue
                    most.max(now, ordering: .sequentiallyConsistent)
                    admissions.add(1, ordering: .relaxed)
                    taken.subtract(1, ordering: .sequentiallyConsistent)
                    state.releaseClient()
                }
            }
        }
        for thread in threads { thread.join() }
        #expect(most.load(ordering: .relaxed) <= limit)
        #expect(admissions.load(ordering: .relaxed) > 0)
        for _ in 0..<limit { #expect(state.admitClient(), "every place was given back") }
        #expect(!state.admitClient())
    }
}
