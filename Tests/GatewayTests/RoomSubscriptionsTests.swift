import EventLoop
import RedisSchema
import TestSupport
import Testing

@testable import Gateway

@Suite struct RoomSubscriptionsTests {
    private let room = RoomId("a")!
    private let other = RoomId("b")!
    private let start = MonotonicInstant(nanoseconds: 1_000_000)

    private func at(_ seconds: Int) -> MonotonicInstant { start + .seconds(seconds) }

    private func subscribed(grace: Duration = .seconds(10)) -> RoomSubscriptions {
        var rooms = RoomSubscriptions(grace: grace)
        #expect(rooms.join(room, worker: 0) == .subscribe)
        #expect(rooms.confirmed(room) == 0b1)
        return rooms
    }

    /// Subscribed, then asked to be left.
    private func unsubscribing() -> RoomSubscriptions {
        var rooms = subscribed()
        rooms.leave(room, worker: 0, now: at(0))
        #expect(rooms.takeExpired(now: at(10)) == [room])
        return rooms
    }

    @Test func firstJoinSubscribesAndLaterOnesWait() {
        var rooms = RoomSubscriptions(grace: .zero)
        #expect(rooms.join(room, worker: 3) == .subscribe)
        #expect(rooms.join(room, worker: 5) == .wait)
        #expect(rooms.unconfirmedCount == 1)
        #expect(rooms.workers(of: room) == 0b101000)
        #expect(rooms.confirmed(room) == 0b101000)
        #expect(rooms.unconfirmedCount == 0)
        #expect(rooms.join(room, worker: 63) == .confirm)
        #expect(rooms.workers(of: room) == (1 as UInt64) << 63 | 0b101000)
        #expect(rooms.workers(of: other) == 0)
        #expect(rooms.count == 1)
    }

    @Test func onlyTheFirstConfirmationTells() {
        var rooms = subscribed()
        #expect(rooms.confirmed(room) == 0)
        #expect(rooms.confirmed(other) == 0)
        #expect(rooms.unconfirmedCount == 0)
    }

    @Test func roomIsLeftWhenItsGraceIsOver() {
        var rooms = subscribed()
        rooms.leave(room, worker: 0, now: at(0))
        #expect(rooms.takeExpired(now: at(9)).isEmpty)
        #expect(rooms.takeExpired(now: at(10)) == [room])
        #expect(rooms.takeExpired(now: at(100)).isEmpty)
        #expect(rooms.left(room) == false)
        #expect(rooms.count == 0)
        #expect(rooms.join(room, worker: 0) == .subscribe)
    }

    @Test func roomStaysWhileAnyWorkerWantsIt() {
        var rooms = subscribed()
        #expect(rooms.join(room, worker: 1) == .confirm)
        rooms.leave(room, worker: 0, now: at(0))
        #expect(rooms.takeExpired(now: at(100)).isEmpty)
        #expect(rooms.workers(of: room) == 0b10)
        rooms.leave(room, worker: 1, now: at(100))
        #expect(rooms.takeExpired(now: at(109)).isEmpty)
        #expect(rooms.takeExpired(now: at(110)) == [room])
    }

    @Test func joinWithinTheGraceKeepsTheSubscription() {
        var rooms = subscribed()
        rooms.leave(room, worker: 0, now: at(0))
        #expect(rooms.join(room, worker: 1) == .confirm)
        #expect(rooms.takeExpired(now: at(10)).isEmpty)
        // The second absence has a grace of its own.
        rooms.leave(room, worker: 1, now: at(11))
        #expect(rooms.takeExpired(now: at(20)).isEmpty)
        #expect(rooms.takeExpired(now: at(21)) == [room])
    }

    @Test func leavingTwiceDoesNotProlongTheGrace() {
        var rooms = subscribed()
        rooms.leave(room, worker: 0, now: at(0))
        rooms.leave(room, worker: 0, now: at(9))
        rooms.leave(other, worker: 0, now: at(9))
        #expect(rooms.takeExpired(now: at(10)) == [room])
        #expect(rooms.count == 1)
    }

    @Test func joinWhileItIsBeingLeftSubscribesAgain() {
        var rooms = unsubscribing()
        #expect(rooms.join(room, worker: 2) == .wait)
        #expect(rooms.confirmed(room) == 0, "a confirmation of before is no confirmation")
        #expect(rooms.left(room) == true)
        #expect(rooms.unconfirmedCount == 1)
        #expect(rooms.confirmed(room) == 0b100)
        #expect(rooms.unconfirmedCount == 0)
    }

    @Test func joinAndLeaveWhileItIsBeingLeftForgetsIt() {
        var rooms = unsubscribing()
        #expect(rooms.join(room, worker: 2) == .wait)
        rooms.leave(room, worker: 2, now: at(10))
        #expect(rooms.left(room) == false)
        #expect(rooms.count == 0)
        #expect(rooms.takeExpired(now: at(30)).isEmpty)
    }

    @Test func leavingBeforeTheConfirmationWaitsForIt() {
        var rooms = RoomSubscriptions(grace: .seconds(10))
        #expect(rooms.join(room, worker: 0) == .subscribe)
        rooms.leave(room, worker: 0, now: at(0))
        #expect(rooms.takeExpired(now: at(10)).isEmpty, "only a confirmed room is left")
        #expect(rooms.unconfirmedCount == 1)
        #expect(rooms.confirmed(room) == 0)
        #expect(rooms.takeExpired(now: at(20)) == [room])
    }

    @Test func leftIsOnlyTakenWhereItWasAskedFor() {
        var rooms = subscribed()
        #expect(rooms.left(room) == false)
        #expect(rooms.left(other) == false)
        #expect(rooms.workers(of: room) == 1)
    }

    @Test func noGraceLeavesAtOnceAndNeverSpins() {
        var rooms = RoomSubscriptions(grace: .zero)
        #expect(rooms.join(room, worker: 0) == .subscribe)
        rooms.leave(room, worker: 0, now: at(0))
        #expect(rooms.takeExpired(now: at(0)).isEmpty)
        #expect(rooms.confirmed(room) == 0)
        #expect(rooms.takeExpired(now: at(0)) == [room])
        #expect(rooms.takeExpired(now: at(0)).isEmpty)
    }

    @Test func lossForgetsWhatNobodyWants() {
        var rooms = subscribed()
        rooms.leave(room, worker: 0, now: at(0))
        let (forgotten, rejoined) = rooms.linkLost()
        #expect(forgotten == [room], "it would be subscribed again otherwise")
        #expect(rejoined.isEmpty)
        #expect(rooms.count == 0)
        #expect(rooms.unconfirmedCount == 0)
        #expect(rooms.takeExpired(now: at(100)).isEmpty)
    }

    @Test func lossWhileARoomIsBeingLeftLeavesIt() {
        var rooms = unsubscribing()
        let (forgotten, rejoined) = rooms.linkLost()
        #expect(forgotten.isEmpty, "it was given up already")
        #expect(rejoined.isEmpty)
        #expect(rooms.count == 0)
    }

    @Test func lossWhileARoomIsBeingLeftButWantedRejoinsIt() {
        var rooms = unsubscribing()
        #expect(rooms.join(room, worker: 7) == .wait)
        let (forgotten, rejoined) = rooms.linkLost()
        #expect(forgotten.isEmpty)
        #expect(rejoined == [room])
        #expect(rooms.unconfirmedCount == 1)
        #expect(rooms.confirmed(room) == 1 << 7)
    }

    /// Subscribed for, and refused.
    private func refused() -> RoomSubscriptions {
        var rooms = RoomSubscriptions(grace: .seconds(10))
        #expect(rooms.join(room, worker: 0) == .subscribe)
        #expect(rooms.refused(room) == 0b1)
        return rooms
    }

    @Test func refusedRoomTurnsWorkersAwayAndIsNotWaitedFor() {
        var rooms = refused()
        #expect(rooms.unconfirmedCount == 0)
        #expect(rooms.join(room, worker: 2) == .refuse)
        #expect(rooms.refused(room) == 0, "told once")
        #expect(rooms.linkLost().forgotten.isEmpty)
        #expect(rooms.unconfirmedCount == 0)
        #expect(rooms.confirmed(room) == 0b101)
        #expect(rooms.unconfirmedCount == 0)
        #expect(rooms.join(room, worker: 1) == .confirm)
    }

    @Test func refusedRoomThatNobodyWantsIsForgotten() {
        var rooms = refused()
        rooms.leave(room, worker: 0, now: at(0))
        #expect(rooms.takeExpired(now: at(9)).isEmpty)
        #expect(rooms.takeExpired(now: at(10)) == [room])
        #expect(rooms.count == 0)
        rooms = refused()
        rooms.leave(room, worker: 0, now: at(0))
        #expect(rooms.linkLost().forgotten == [room])
        #expect(rooms.count == 0)
    }

    @Test func lossMakesEveryRoomWaitAgain() {
        var rooms = subscribed()
        #expect(rooms.join(other, worker: 1) == .subscribe)
        let (forgotten, rejoined) = rooms.linkLost()
        #expect(forgotten.isEmpty && rejoined.isEmpty)
        #expect(rooms.unconfirmedCount == 2)
        #expect(rooms.join(room, worker: 4) == .wait)
        #expect(rooms.confirmed(room) == 0b10001)
        #expect(rooms.confirmed(other) == 0b10)
        #expect(rooms.unconfirmedCount == 0)
    }
}
