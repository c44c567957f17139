import EventLoop
import RedisSchema
import Testing

@testable import Gateway

/// Every row of the table of live messages, and the way of a room from link to link.
@Suite struct RoomFeedTests {
    private static let age: Int64 = 600_000

    private func entry(_ id: String, _ frame: String? = nil) -> HistoryEntry<String> {
        HistoryEntry(id: NoticeId(id)!, frame: frame ?? "frame \(id)", memoryBytes: 10)
    }

    private func instant(_ milliseconds: Int64) -> MonotonicInstant {
        MonotonicInstant(nanoseconds: milliseconds * 1_000_000)
    }

    /// A room that is live at a position.
    private func live(_ position: String, isCluster: Bool = false) -> RoomFeed<String> {
        var feed = RoomFeed<String>(isCluster: isCluster)
        feed.subscribed()
        #expect(feed.need == .tail)
        feed.asked(.tail, ticket: 1, now: instant(1))
        let id = NoticeId(position)!
        let newest = id.number == 0 ? nil : entry(position)
        #expect(feed.tailAnswered(ticket: 1, time: id.milliseconds, newest: newest) != nil)
        #expect(feed.need == .echo)
        feed.asked(.echo, ticket: 1, now: instant(2))
        feed.echoAnswered(number: 1)
        #expect(feed.state == .live && feed.position == id)
        return feed
    }

    /// A room whose link was lost and is back.
    private func proving(_ position: String) -> RoomFeed<String> {
        var feed = live(position)
        feed.linkLost(completeUntil: instant(3))
        feed.subscribed()
        return feed
    }

    private func range(
        _ feed: inout RoomFeed<String>, ticket: UInt64, _ entries: [HistoryEntry<String>], count: Int = 8,
        now: Int64 = 10
    ) -> RoomFeed<String>.Outcome? {
        feed.asked(.range(feed.position!, isLong: false), ticket: ticket, count: count, now: instant(9))
        return feed.rangeAnswered(ticket: ticket, entries: entries, now: instant(now), historyAge: Self.age)
    }

    @Test(arguments: [
        // The next one.
        ("500-7", "500-8", RoomFeed<String>.Acceptance.deliver), ("500-7", "501-8", .deliver),
        ("500-0", "500-1", .deliver), ("500-0", "600-1", .deliver),
        // The stream has begun anew.
        ("500-7", "501-1", .deliver),
        // Newer, and does not follow.
        ("500-7", "501-9", .hold), ("500-7", "500-9", .hold), ("500-7", "501-7", .hold),
        ("500-0", "501-2", .hold),
        // Not newer, and counts from 1.
        ("500-7", "500-1", .hold), ("500-7", "499-1", .hold), ("500-1", "500-1", .hold),
        ("500-0", "499-1", .hold),
        // Not newer.
        ("500-7", "500-7", .drop), ("500-7", "499-8", .drop), ("500-7", "500-6", .drop),
        ("500-7", "499-6", .drop),
    ])
    func messageAtAPosition(position: String, id: String, expected: RoomFeed<String>.Acceptance) {
        var feed = live(position)
        #expect(feed.accept(entry(id)) == expected)
        #expect(feed.position == NoticeId(expected == .deliver ? id : position))
        #expect(feed.state == (expected == .hold ? .proving : .live))
        #expect(feed.heldBytes == (expected == .hold ? 10 : 0))
    }

    @Test func messageThatWasHeldBeforeTheProofIsNotProvenAgain() {
        for (id, held) in [("500-9", true), ("499-1", true), ("500-9", false), ("499-1", false)] {
            var feed = proving("500-7")
            if held { #expect(feed.accept(entry(id)) == .hold) }
            feed.asked(.range(NoticeId("500-7")!, isLong: false), ticket: 5, count: 8, now: instant(9))
            if !held { #expect(feed.accept(entry(id)) == .hold) }
            let outcome = feed.rangeAnswered(
                ticket: 5, entries: [entry("500-7")], now: instant(10), historyAge: Self.age)
            #expect(outcome?.deliveries.isEmpty == true)
            // What came later than the question is asked for once more.
            #expect(feed.state == (held ? .live : .proving), "\(id) \(held)")
            #expect(feed.held.count == (held ? 0 : 1))
        }
    }

    /// Its entry would have been read: it was taken out, or there never was one.
    @Test func heldMessageThatTheReadHasNotBroughtIsDroppedEvenIfItFollows() {
        for held in [true, false] {
            var feed = proving("500-7")
            if held { #expect(feed.accept(entry("501-9")) == .hold) }
            feed.asked(.range(NoticeId("500-7")!, isLong: false), ticket: 5, count: 8, now: instant(9))
            if !held { #expect(feed.accept(entry("501-9")) == .hold) }
            let outcome = feed.rangeAnswered(
                ticket: 5, entries: [entry("500-7"), entry("500-8")], now: instant(10), historyAge: Self.age)
            let expected = ["500-8"] + (held ? [] : ["501-9"])
            #expect(outcome?.deliveries.map(\.id) == expected.map { NoticeId($0) })
            #expect(feed.state == .live)
        }
    }

    /// Numbers come again in a stream that begins anew, because the one before has run out or was deleted: no other
    /// version of what was handed on.
    @Test(arguments: [(Int64(900_000), LossCause?.none), (Int64(900), .expired)])
    func numbersOfANewStreamAreNoRollback(time: Int64, loss: LossCause?) {
        var feed = live("500-1", isCluster: true)
        for id in ["501-2", "502-3"] { #expect(feed.accept(entry(id)) == .deliver) }
        let new = ["\(time)-1", "\(time)-2"]
        for id in new { #expect(feed.accept(entry(id)) == .hold) }
        let anchor = NoticeId("501-2")!
        #expect(feed.need == .range(anchor, isLong: false))
        feed.asked(.range(anchor, isLong: false), ticket: 5, count: 8, now: instant(9))
        let first = feed.rangeAnswered(
            ticket: 5, entries: new.map { entry($0) }, now: instant(10), historyAge: Self.age)
        #expect(first?.lossFound == nil)
        #expect(range(&feed, ticket: 6, new.map { entry($0) })?.lossFound == nil)
        #expect(feed.need == .state)
        feed.asked(.state, ticket: 7, now: instant(11))
        let state = StreamState(time: time + 1, first: NoticeId(new[0]), maximumDeleted: NoticeId("0-0")!)
        let outcome = feed.stateAnswered(ticket: 7, state: state, now: instant(12), historyAge: Self.age)
        #expect(outcome?.lossFound == loss)
        #expect(outcome?.deliveries.map(\.id.description) == (loss == nil ? new : []))
    }

    @Test func messagesGoThroughWhileARoomStarts() {
        var feed = RoomFeed<String>()
        #expect(feed.accept(entry("500-1")) == .drop)
        feed.subscribed()
        feed.asked(.tail, ticket: 1, now: instant(1))
        #expect(feed.accept(entry("500-7")) == .deliver)
        #expect(feed.tailAnswered(ticket: 1, time: 600, newest: entry("501-8"))?.deliveries.isEmpty == true)
        #expect(feed.state == .starting)
        feed.asked(.echo, ticket: 4, now: instant(2))
        // The tail has it already; it was on its way.
        #expect(feed.accept(entry("501-8")) == .deliver)
        feed.echoAnswered(number: 3)
        #expect(feed.state == .starting)
        feed.echoAnswered(number: 4)
        #expect(feed.state == .live && feed.position == NoticeId("501-8"))
        #expect(feed.accept(entry("501-8")) == .drop)
    }

    @Test func missedNoticesGoBeforeHeldOnes() {
        var feed = proving("500-7")
        #expect(feed.accept(entry("503-10")) == .hold)
        let outcome = range(
            &feed, ticket: 2, [entry("500-7"), entry("501-8"), entry("502-9"), entry("503-10")])
        #expect(outcome?.deliveries.map(\.id.description) == ["501-8", "502-9", "503-10"])
        #expect(outcome?.lostTo == nil && outcome?.lossFound == nil)
        #expect(feed.state == .live && feed.heldBytes == 0)
    }

    @Test func longOutageIsReadInParts() {
        var feed = proving("500-7")
        let first = range(&feed, ticket: 2, [entry("500-7"), entry("501-8"), entry("502-9")], count: 3)
        #expect(first?.deliveries.count == 2 && feed.state == .proving)
        #expect(feed.need == .range(NoticeId("502-9")!, isLong: true))
        let second = range(&feed, ticket: 3, [entry("502-9"), entry("503-10")], count: 3)
        #expect(second?.deliveries.map(\.id.description) == ["503-10"] && feed.state == .live)
    }

    @Test func replyOfAnotherLinkDoesNotCount() {
        var feed = proving("500-7")
        feed.asked(.range(NoticeId("500-7")!, isLong: false), ticket: 2, count: 8, now: instant(9))
        feed.linkLost(completeUntil: instant(4))
        feed.subscribed()
        #expect(feed.need == .range(NoticeId("500-7")!, isLong: false))
        feed.asked(.range(NoticeId("500-7")!, isLong: false), ticket: 3, count: 8, now: instant(12))
        let stale = feed.rangeAnswered(
            ticket: 2, entries: [entry("500-7")], now: instant(13), historyAge: Self.age)
        #expect(stale == nil && feed.state == .proving)
        feed.readerLost()
        #expect(feed.need == .range(NoticeId("500-7")!, isLong: false))
        let late = feed.rangeAnswered(
            ticket: 3, entries: [entry("500-7")], now: instant(13), historyAge: Self.age)
        #expect(late == nil && feed.state == .proving)
    }

    @Test func lossGoesToTheTail() {
        var feed = proving("500-7")
        #expect(range(&feed, ticket: 2, [entry("520-20")])?.lossFound == nil)
        #expect(feed.need == .state)
        feed.asked(.state, ticket: 3, now: instant(10))
        let state = StreamState(
            time: 600, first: NoticeId("520-20"), maximumDeleted: NoticeId("0-0")!)
        let outcome = feed.stateAnswered(ticket: 3, state: state, now: instant(11), historyAge: Self.age)
        #expect(outcome?.lossFound == .trimmed && outcome?.lostTo == nil)
        #expect(feed.position == nil && feed.isLost && feed.need == .tail)
        // Another link does not make it a room without members.
        feed.linkLost(completeUntil: instant(5))
        feed.subscribed()
        #expect(feed.need == .tail && feed.state == .proving)
        feed.asked(.tail, ticket: 4, now: instant(20))
        #expect(feed.accept(entry("522-22")) == .hold)
        #expect(feed.tellLoss() == nil)
        #expect(feed.tailAnswered(ticket: 4, time: 700, newest: entry("521-21"))?.lostTo == nil)
        #expect(feed.need == nil && feed.state == .proving)
        let told = feed.tellLoss()
        #expect(told?.lostTo == NoticeId("521-21"))
        #expect(told?.deliveries.map(\.id.description) == ["522-22"])
        #expect(feed.state == .live && !feed.isLost)
    }

    @Test func outageBeginsWhenTheLastAnsweredQuestionWasSent() {
        for (completeUntil, isProven) in [(Int64(10_000), false), (10_001, true)] {
            var feed = live("500-7")
            feed.linkLost(completeUntil: instant(completeUntil))
            feed.subscribed()
            let now = 10_000 + Self.age
            _ = range(&feed, ticket: 2, [], now: now)
            feed.asked(.state, ticket: 3, now: instant(now))
            let state = StreamState(time: 500 + Self.age, first: nil, maximumDeleted: NoticeId("0-0")!)
            let outcome = feed.stateAnswered(
                ticket: 3, state: state, now: instant(now), historyAge: Self.age)
            #expect((outcome?.lossFound == nil) == isProven)
            #expect(feed.position == (isProven ? NoticeId(milliseconds: 500 + Self.age, number: 0) : nil))
        }
    }

    @Test func epochChangeKeepsOnlyLivePositions() {
        var feed = live("500-7")
        feed.epochChanged()
        #expect(feed.position == NoticeId("500-7"))
        feed.linkLost(completeUntil: instant(3))
        feed.epochChanged()
        #expect(feed.position == nil && feed.isLost)
    }

    @Test func ringBeginsAnewWithTheStream() {
        var feed = live("500-7")
        #expect(feed.accept(entry("500-8")) == .deliver)
        #expect(feed.accept(entry("900-1")) == .deliver)
        #expect(feed.ring.entries.count == 1 && feed.ring.base == nil)
        #expect(feed.ring.index(behind: NoticeId("500-8")!) == nil)
        #expect(feed.ring.index(behind: NoticeId("900-1")!) == 1)
    }

    @Test func evictionKeepsTheLastFrame() {
        var feed = live("500-7")
        for number in 8...12 { #expect(feed.accept(entry("600-\(number)")) == .deliver) }
        #expect(feed.ring.memoryBytes == 50 && feed.ring.evictableBytes == 40)
        #expect(feed.ring.base == NoticeId("500-7"))
        for _ in 0..<10 { feed.evictOldest() }
        #expect(feed.ring.memoryBytes == 10 && feed.ring.evictableBytes == 0)
        #expect(feed.ring.base == NoticeId("600-11"))
        #expect(feed.ring.index(behind: NoticeId("600-11")!) == 0)
        #expect(feed.ring.index(behind: NoticeId("600-12")!) == 1)
        #expect(feed.ring.index(behind: NoticeId("600-10")!) == nil)
    }

    @Test func clientGetsWhatTheRingHas() {
        var feed = live("500-7")
        for number in 8...12 { #expect(feed.accept(entry("600-\(number)")) == .deliver) }
        for (since, count) in [("500-7", 5), ("600-8", 4), ("600-12", 0)] {
            guard
                case .replay(let replay) = feed.answer(
                    since: NoticeId(since)!, read: nil, hasEcho: false, maximumBytes: 1_000)
            else {
                Issue.record("no replay behind \(since)")
                continue
            }
            #expect(replay.frames.count == count && replay.isComplete)
            #expect(replay.reached == NoticeId("600-12"))
        }
        for since in ["500-6", "600-7", "700-13", "600-9999"] {
            guard
                case .read = feed.answer(
                    since: NoticeId(since)!, read: nil, hasEcho: false, maximumBytes: 1_000)
            else {
                Issue.record("no read behind \(since)")
                continue
            }
        }
    }

    @Test func replayIsGivenInParts() {
        var feed = live("500-7")
        for number in 8...12 { #expect(feed.accept(entry("600-\(number)")) == .deliver) }
        var since = NoticeId("500-7")!
        var frames: [String] = []
        for maximumBytes in [25, 0, 1, 1_000] {
            guard
                case .replay(let replay) = feed.answer(
                    since: since, read: nil, hasEcho: false, maximumBytes: maximumBytes)
            else {
                Issue.record("no replay behind \(since)")
                return
            }
            frames += replay.frames
            since = replay.reached
            #expect(replay.isComplete == (maximumBytes == 1_000))
        }
        #expect(frames == (8...12).map { "frame 600-\($0)" })
    }
}
