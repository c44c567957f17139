// What `nodes`, `rooms`, `watch` and `top` make of what nodes tell: without Redis and without a terminal.
import RedisSchema
import Options
import Testing

@testable import Publisher

private func report(
    _ id: String, startedAt: Int64 = 1, uptime: Int64 = 0, delivered: UInt64 = 0, rooms: [(String, Int)] = []
) -> NodeReport {
    var report = NodeReport(id: id)
    report.startedAt = startedAt
    report.uptimeMilliseconds = uptime
    report.delivered = delivered
    report.isReady = true
    report.address = "127.0.0.1:8080"
    report.version = "0.1.0"
    report.workerRooms[0] = rooms.compactMap { name, count in
        RoomId(name).map { RoomMembers(room: $0, count: count) }
    }
    return report
}

@Suite struct NodeRatesTests {
    @Test func rateIsTheDifferenceOfTwoReports() {
        var rates = NodeRates()
        rates.take([report("a", uptime: 1000, delivered: 10)])
        #expect(rates.deliveriesPerSecond(of: "a") == nil && !rates.isComplete)
        rates.take([report("a", uptime: 3000, delivered: 110)])
        #expect(rates.deliveriesPerSecond(of: "a") == 50)
        #expect(rates.isComplete && rates.totalPerSecond == 50)
        // The same report once more.
        rates.take([report("a", uptime: 3000, delivered: 110)])
        #expect(rates.deliveriesPerSecond(of: "a") == 50)
        rates.take([report("a", uptime: 5000, delivered: 110)])
        #expect(rates.deliveriesPerSecond(of: "a") == 0)
    }

    @Test func sameReportTwiceIsNoRate() {
        var rates = NodeRates()
        for _ in 0..<2 { rates.take([report("a", uptime: 1000, delivered: 10)]) }
        #expect(rates.deliveriesPerSecond(of: "a") == nil)
    }

    @Test func anotherStartBeginsAnew() {
        for second in [
            report("a", startedAt: 2, uptime: 3000, delivered: 500),
            report("a", uptime: 500, delivered: 500),
            report("a", uptime: 3000, delivered: 5),
        ] {
            var rates = NodeRates()
            rates.take([report("a", uptime: 1000, delivered: 10)])
            rates.take([second])
            #expect(rates.deliveriesPerSecond(of: "a") == nil)
        }
    }

    @Test func whoIsGoneIsNotCounted() {
        var rates = NodeRates()
        rates.take([report("a", uptime: 0), report("b", uptime: 0)])
        rates.take([report("a", uptime: 1000, delivered: 7), report("b", uptime: 1000, delivered: 1)])
        #expect(rates.totalPerSecond == 8)
        rates.take([report("a", uptime: 1000, delivered: 7)])
        #expect(rates.totalPerSecond == 7)
        #expect(rates.deliveriesPerSecond(of: "b") == nil)
    }
}

@Suite struct RoomCensusTests {
    private func rooms(_ list: [(String, Int)]) throws -> [RoomMembers] {
        try list.map { RoomMembers(room: try #require(RoomId($0.0)), count: $0.1) }
    }

    @Test func membersAreAddedOverWorkersAndNodes() throws {
        var census = RoomCensus(nodes: ["a", "b"])
        census.take(.rooms(worker: 0, try rooms([("x", 2), ("y", 1)])), from: 0)
        census.take(.end(worker: 0, workerCount: 2, roomCount: 2), from: 0)
        #expect(census.missing == ["a", "b"])
        census.take(.rooms(worker: 1, try rooms([("x", 3)])), from: 0)
        census.take(.end(worker: 1, workerCount: 2, roomCount: 1), from: 0)
        #expect(census.missing == ["b"])
        census.take(.rooms(worker: 0, try rooms([("x", 1), ("z", 6)])), from: 1)
        census.take(.end(worker: 0, workerCount: 1, roomCount: 2), from: 1)
        #expect(census.missing.isEmpty)
        let shown = census.rooms.map { "\($0.members.room) \($0.members.count) \($0.nodeCount)" }
        #expect(shown == ["x 6 2", "z 6 1", "y 1 1"])
    }

    /// A chunk that did not come must not pass for an exact count.
    @Test func lostChunkIsAMissingNode() throws {
        var census = RoomCensus(nodes: ["a"])
        census.take(.rooms(worker: 0, try rooms([("x", 2)])), from: 0)
        census.take(.end(worker: 0, workerCount: 1, roomCount: 2), from: 0)
        #expect(census.missing == ["a"])
    }

    /// Two servers of a cluster pass on what was published at them in any order.
    @Test func chunkMayComeBehindTheEnd() throws {
        var census = RoomCensus(nodes: ["a"])
        census.take(.rooms(worker: 0, try rooms([("x", 2)])), from: 0)
        census.take(.end(worker: 0, workerCount: 1, roomCount: 2), from: 0)
        #expect(census.missing == ["a"])
        census.take(.rooms(worker: 0, try rooms([("y", 2)])), from: 0)
        #expect(census.missing.isEmpty && census.rooms.count == 2)
    }

    @Test func nodeWithoutRoomsHasAnsweredToo() {
        var census = RoomCensus(nodes: ["a"])
        census.take(.end(worker: 0, workerCount: 1, roomCount: 0), from: 0)
        #expect(census.missing.isEmpty && census.rooms.isEmpty)
        #expect(RoomCensus(nodes: []).missing.isEmpty)
    }
}

@Suite struct NoticeLineTests {
    @Test func lineHasItsPartsAndFits() throws {
        let notice = NoticeLine(
            room: try #require(RoomId("lobby")), payload: Array("{\"a\":\"\u{1B}[2J\"}".utf8),
            milliseconds: 5)
        let text = notice.text(roomColumnCount: 7)
        #expect(text.hasSuffix(#".005  lobby        12 B  {"a":"\u{1b}[2J"}"#), "\(text)")
        for columnCount in 0...70 {
            let cut = notice.text(roomColumnCount: 7, columnCount: columnCount)
            #expect(DisplayText.width(of: cut) <= columnCount)
            #expect(columnCount < 60 || cut == text)
        }
    }

    @Test func jsonTellsWhatIsNoUtf8() throws {
        let room = try #require(RoomId("a"))
        let line = NoticeLine(room: room, payload: [0x61, 0xFF], milliseconds: 7).json
        #expect(line == "{\"time\":7,\"room\":\"a\",\"bytes\":2,\"isUtf8\":false,\"payload\":\"a\u{FFFD}\"}")
    }
}

@Suite struct DashboardTests {
    private func dashboard(nodes: Int, rooms: Int) -> Dashboard {
        var dashboard = Dashboard()
        var rates = NodeRates()
        for second in 0..<3 {
            let reports = (0..<nodes).map { index in
                report(
                    "node-\(index)", uptime: Int64(second) * 2000, delivered: UInt64(second * 100),
                    rooms: (0..<rooms).map { ("room \($0) \u{65E5}", $0 + 1) })
            }
            rates.take(reports)
            dashboard.take(NodeListing(reports: reports, rates: rates), at: .seconds(second * 2))
        }
        dashboard.now = .seconds(5)
        dashboard.clock = "12:00:00"
        return dashboard
    }

    /// On every screen: as many lines as there are rows, none too wide, the last one always there.
    @Test func pictureFitsEveryScreen() {
        for (nodes, rooms) in [(0, 0), (1, 0), (3, 2), (40, 100)] {
            let dashboard = dashboard(nodes: nodes, rooms: rooms)
            for columns in [1, 2, 10, 39, 40, 80, 200] {
                for rows in [1, 2, 5, 6, 7, 10, 19, 20, 24, 60] {
                    let lines = dashboard.lines(.init(columns: columns, rows: rows))
                    #expect(lines.count == rows, "\(columns)x\(rows)")
                    #expect(
                        lines.allSatisfy { DisplayText.width(of: $0.text) <= columns }, "\(columns)x\(rows)")
                    #expect(lines.last?.text == DisplayText.text("q quits", columnCount: columns))
                }
            }
        }
    }

    @Test func smallScreenShowsNodesAndRoomsAndTellsOfTheRest() {
        let texts = dashboard(nodes: 9, rooms: 9).lines(.init(columns: 40, rows: 10)).map(\.text)
        #expect(texts[0] == "roomcast                        12:00:00")
        #expect(texts.contains { $0.hasPrefix("NODE ") })
        #expect(texts.contains { $0.hasPrefix("node-0 ") })
        #expect(texts.contains("… 6 more") && !texts.contains("MEMBERS  TOP ROOMS"))
        let higher = dashboard(nodes: 9, rooms: 9).lines(.init(columns: 40, rows: 13)).map(\.text)
        #expect(higher.contains("… 7 more") && higher.contains("MEMBERS  TOP ROOMS"))
        #expect(higher.contains("     81  room 8 日"))
    }

    @Test func largeScreenShowsAll() {
        let texts = dashboard(nodes: 3, rooms: 4).lines(.init(columns: 120, rows: 40)).map(\.text)
        #expect(
            texts.contains { $0.hasPrefix("3 nodes, 3 ready   0 of 0 connections   150 deliveries/s   ") })
        for index in 0..<3 {
            #expect(texts.contains { $0.hasPrefix("node-\(index)  ") && $0.contains(" 50 ") })
        }
        // Room 3 has four members on each of three nodes.
        #expect(texts.contains("     12  room 3 日"))
        #expect(!texts.contains { $0.hasPrefix("…") })
    }

    @Test func troubleIsTheLastLineAndColoursAreOptional() {
        var dashboard = dashboard(nodes: 1, rooms: 0)
        dashboard.trouble = "lost Redis:\u{1B}[2J away"
        let lines = dashboard.lines(.init(columns: 60, rows: 12))
        #expect(lines.last == .init(#"lost Redis:\u{1b}[2J away"#, .bad))
        #expect(lines.last?.rendered(hasColors: true).hasPrefix("\u{1B}[31m") == true)
        #expect(lines.allSatisfy { !$0.rendered(hasColors: false).contains("\u{1B}") })
        #expect(dashboard.plainLine.hasPrefix("12:00:00  lost Redis:"))
        dashboard.take(NodeListing(reports: [], rates: NodeRates()), at: .seconds(9))
        #expect(dashboard.plainLine == "12:00:00  no node has reported itself")
    }
}
