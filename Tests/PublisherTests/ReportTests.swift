import Foundation
import RedisSchema
import Testing

@testable import Publisher

@Suite struct ReportTests {
    private func object(_ json: String) throws -> [String: Any] {
        try #require(JSONSerialization.jsonObject(with: Data(json.utf8)) as? [String: Any])
    }

    @Test func roomResultsAsText() throws {
        let room = try #require(RoomId("lobby"))
        #expect(RoomResult.answered(.nodes(0)).text(room: room) == "lobby: 0 nodes")
        #expect(RoomResult.answered(.nodes(1)).text(room: room) == "lobby: 1 node")
        #expect(RoomResult.answered(.nodes(2)).text(room: room) == "lobby: 2 nodes")
        #expect(
            RoomResult.answered(.refused("NOPERM x")).text(room: room) == "lobby: not published: NOPERM x")
        #expect(RoomResult.unsent.text(room: room) == "lobby: not sent")
        #expect(RoomResult.answered(.published).text(room: room) == "lobby: published")
        let id = NoticeId(milliseconds: 1_795_969_278_590, number: 57)
        let inCluster = StoredNotice(id: id, nodeCount: nil, isKnown: false, isCounted: false)
        #expect(
            RoomResult.answered(.stored(inCluster)).text(room: room)
                == "lobby: published, id 1795969278590-57")
        func text(_ nodeCount: Int?, _ isKnown: Bool) -> String {
            RoomResult.answered(.stored(StoredNotice(id: id, nodeCount: nodeCount, isKnown: isKnown)))
                .text(room: room)
        }
        #expect(text(2, false) == "lobby: 2 nodes, id 1795969278590-57")
        #expect(text(nil, true) == "lobby: already published, id 1795969278590-57")
        #expect(text(nil, false) == "lobby: published, its number of nodes is unknown, id 1795969278590-57")
    }

    @Test func roomResultsAsJSON() throws {
        let room = try #require(RoomId("a\"b\\c"))
        let published = try object(RoomResult.answered(.nodes(2)).json(room: room))
        #expect(published["room"] as? String == "a\"b\\c")
        #expect(published["nodes"] as? Int == 2)
        #expect(published["error"] == nil)
        #expect(
            RoomResult.answered(.published).json(room: room) == #"{"room":"a\"b\\c","nodes":null}"#)
        let refused = try object(RoomResult.answered(.refused("\"no\"")).json(room: room))
        #expect(refused["error"] as? String == "\"no\"")
        #expect(refused["nodes"] == nil)
        #expect(try object(RoomResult.unanswered.json(room: room))["error"] as? String == "no answer")
        #expect(try object(RoomResult.unsent.json(room: room))["error"] as? String == "not sent")
    }

    @Test func talliesNameTheirErrors() throws {
        var tally = Tally(sentCount: 5, receiverCount: 10)
        #expect(tally.text(elapsed: .milliseconds(1042)) == "sent 5, receivers 10, errors 0, 1.042 s")
        tally.isCounted = false
        #expect(tally.text(elapsed: .milliseconds(1042)) == "sent 5, errors 0, 1.042 s")
        #expect(
            tally.json(ending: .complete, elapsed: .zero).hasPrefix(
                #"{"ending":"complete","sent":5,"receivers":null,"errors":0,"#))
        tally.isCounted = true
        tally.badLineCount = 1
        tally.refusedCount = 2
        tally.unansweredCount = 3
        #expect(
            tally.text(elapsed: .zero)
                == "sent 5, receivers 10, errors 6 (bad lines 1, refused 2, unanswered 3), 0.000 s")
        let json = try object(tally.json(ending: .stopped, elapsed: .milliseconds(61_005)))
        #expect(json["ending"] as? String == "stopped")
        #expect(json["sent"] as? Int == 5)
        #expect(json["receivers"] as? Int == 10)
        #expect(json["errors"] as? Int == 6)
        #expect(json["badLines"] as? Int == 1)
        #expect(json["refused"] as? Int == 2)
        #expect(json["unanswered"] as? Int == 3)
        #expect(json["seconds"] as? Double == 61.005)
    }

    @Test func durableTalliesNameTheKnownAndTheShort() throws {
        let id = NoticeId(milliseconds: 5, number: 1)
        var tally = Tally(isDurable: true)
        tally.add(StoredNotice(id: id, nodeCount: 2, isKnown: false))
        tally.add(StoredNotice(id: id, nodeCount: nil, isKnown: true))
        #expect(tally.text(elapsed: .zero) == "sent 1, already published 1, receivers 2, errors 0, 0.000 s")
        tally.add(StoredNotice(id: id, nodeCount: nil, isKnown: false, shortage: "x"))
        #expect(
            tally.text(elapsed: .zero)
                == "sent 2, already published 1, receivers 2, errors 1 (bad lines 0, refused 0, unanswered 0, "
                + "too few replicas 1), 0.000 s")
        let json = try object(tally.json(ending: .complete, elapsed: .zero))
        #expect(json["known"] as? Int == 1 && json["tooFewReplicas"] as? Int == 1)
        #expect(try object(Tally().json(ending: .complete, elapsed: .zero))["known"] == nil)
    }

    @Test func interruptedTalliesSayWhereToGoOn() throws {
        let json = try object(Tally(sentCount: 5).json(ending: .interrupted, elapsed: .zero, nextLine: 7))
        #expect(json["nextLine"] as? Int == 7)
        #expect(try object(Tally().json(ending: .complete, elapsed: .zero))["nextLine"] == nil)
    }

    /// Any number may stand in Redis' answer.
    @Test func sumOfReceiversStaysAtTheLargestNumber() {
        var tally = Tally()
        tally.addSent(receiverCount: 9_223_372_036_854_775_807)
        tally.addSent(receiverCount: 9_223_372_036_854_775_807)
        #expect(tally == Tally(sentCount: 2, receiverCount: .max))
    }

    @Test func linesAreNamedAsRanges() {
        #expect(LineRanges.text([]) == "")
        #expect(LineRanges.text([3]) == "3")
        #expect(LineRanges.text([1, 2, 3, 5, 7, 8]) == "1-3, 5, 7-8")
    }

    @Test func barsShowShareRateAndTimeLeft() {
        let half = Progress.text(
            elapsed: .seconds(2), sentCount: 1234, readBytes: 50, totalBytes: 100, hasBar: true)
        #expect(half == "[##########----------]  50 %  1234 sent  617/s  2 s left")
        let start = Progress.text(elapsed: .zero, sentCount: 0, readBytes: 0, totalBytes: 100, hasBar: true)
        #expect(start == "[--------------------]  0 %  0 sent  0/s")
        let grown = Progress.text(
            elapsed: .seconds(1), sentCount: 1, readBytes: 200, totalBytes: 100, hasBar: false)
        #expect(grown == "100 %  1 sent  1/s  0 s left")
        let pipe = Progress.text(
            elapsed: .seconds(1), sentCount: 9, readBytes: 5, totalBytes: nil, hasBar: true)
        #expect(pipe == "9 sent  9/s")
        let long = Progress.text(
            elapsed: .seconds(60), sentCount: 6, readBytes: 1, totalBytes: 4, hasBar: false)
        #expect(long.hasSuffix("3 min 0 s left"))
        let endless = Progress.text(
            elapsed: .seconds(1), sentCount: 0, readBytes: 1, totalBytes: .max, hasBar: true)
        #expect(endless.hasSuffix("99 h 59 min left"))
        #expect(endless.count < 80)
    }

    @Test func shortRunsShowNoLines() {
        var lines = Progress(style: .lines, totalBytes: nil)
        let shown = stride(from: 0, through: 12_000, by: 500).filter { milliseconds in
            lines.line(elapsed: .milliseconds(milliseconds), sentCount: 0, readBytes: 0) != nil
        }
        #expect(shown == [5000, 10_000])
        var bar = Progress(style: .bar, totalBytes: nil)
        #expect(bar.line(elapsed: .milliseconds(99), sentCount: 0, readBytes: 0) == nil)
        #expect(bar.line(elapsed: .milliseconds(100), sentCount: 0, readBytes: 0) != nil)
        #expect(bar.line(elapsed: .milliseconds(199), sentCount: 0, readBytes: 0) == nil)
        var none = Progress(style: .none, totalBytes: nil)
        #expect(none.line(elapsed: .seconds(100), sentCount: 0, readBytes: 0) == nil)
    }
}
