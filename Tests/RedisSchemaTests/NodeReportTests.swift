import Testing

@testable import RedisSchema

@Suite struct NodeReportTests {
    /// Every field with a value of its own, so that none can be taken for another.
    private var full: NodeReport {
        var report = NodeReport(id: "n1")
        report.address = "[::1]:8080"
        report.version = "1.2.3"
        report.startedAt = 1_700_000_000_000
        report.uptimeMilliseconds = 86_400_001
        report.workers = 4
        report.isReady = true
        report.isDraining = true
        report.connections = 11
        report.eventStreams = 24
        report.compressed = 25
        report.connectionsLimit = .max
        report.rooms = 13
        report.received = 14
        report.delivered = 15
        report.writtenBytes = 16
        report.queueBytes = 17
        report.tokensIssued = 18
        report.handshakes = 19
        report.rejected = 20
        report.closes = [.init(reason: "1001", count: 3), .init(reason: "lost", count: 21)]
        report.publishToFlush = (0...NodeReport.publishToFlushBounds.count).map { UInt64($0 * 2) }
        report.redisReconnects = 22
        report.memoryBytes = 23
        return report
    }

    private func hash(_ report: NodeReport, without: String? = nil) -> [[UInt8]] {
        report.fields.filter { $0.name != without }.flatMap { [Array($0.name.utf8), Array($0.value.utf8)] }
    }

    private func members(_ name: String, _ count: Int) throws -> RoomMembers {
        RoomMembers(room: try #require(RoomId(name)), count: count)
    }

    @Test func everyFieldComesBack() throws {
        var report = full
        var hash = hash(report)
        report.workerRooms = [0: [try members("a", 3)], 12: []]
        hash += [
            Array("rooms:0".utf8), Array("a\t3\n".utf8), Array(NodeReport.roomsField(worker: 12).utf8), [],
        ]
        #expect(NodeReport(id: "n1", hash: hash) == report)
    }

    @Test func numbersOfAField() {
        let texts = Dictionary(uniqueKeysWithValues: full.fields.map { ($0.name, $0.value) })
        #expect(texts["closes"] == "1001=3,lost=21")
        #expect(texts["uptime"] == "86400001")
        #expect(texts["ready"] == "1")
        #expect(texts["publishToFlush"]?.hasPrefix("0,2,4,") == true)
    }

    /// Each field may be missing, as from an older node, and only that one is then empty.
    @Test func missingFieldIsEmpty() throws {
        let all = full.fields
        for field in all where field.name != "uptime" {
            let report = try #require(NodeReport(id: "n1", hash: hash(full, without: field.name)))
            let different = zip(report.fields, all).filter { $0.value != $1.value }.map(\.0.name)
            #expect(different == [field.name])
        }
    }

    @Test func whatIsLeftOfANodeThatHasEndedIsNone() {
        #expect(NodeReport(id: "n1", hash: []) == nil)
        #expect(NodeReport(id: "n1", hash: [Array("rooms:1".utf8), Array("a\t3\n".utf8)]) == nil)
        #expect(NodeReport(id: "n1", hash: hash(full, without: "uptime")) == nil)
        #expect(NodeReport(id: "n1", hash: [Array("uptime".utf8), Array("-5".utf8)]) == nil)
        #expect(NodeReport(id: "n1", hash: [Array("uptime".utf8)]) == nil)
    }

    @Test func nonsenseIsNotBelieved() throws {
        let texts = [
            "uptime": "5", "connections": "-1", "rooms": "x", "closes": "1001,=2,1013=x,lost=4,,peer=1=2",
            "publishToFlush": "1,2,x,4", "rooms:x": "a\t1\n", "rooms:": "b\t1\n",
            "rooms:2": "\t1\nb\nc\t-1\nd\t2\n",
            "ready": "yes", "more": "of a later version",
        ]
        let hash = texts.flatMap { [Array($0.key.utf8), Array($0.value.utf8)] }
        let report = try #require(NodeReport(id: "n1", hash: hash))
        var expected = NodeReport(id: "n1")
        expected.uptimeMilliseconds = 5
        expected.closes = [.init(reason: "lost", count: 4)]
        expected.workerRooms = [2: [try members("d", 2)]]
        #expect(report == expected)
    }

    /// Whatever stands in the hash: it is read within bounds, and nothing ends.
    @Test func anythingInTheHashIsRead() throws {
        var random = SystemRandomNumberGenerator()
        let numbers = [
            "9223372036854775807", "-9223372036854775808", "18446744073709551615", "1e9", "nan", "", "-0",
            "٣",
        ]
        let names =
            NodeReport(id: "n").fields.map(\.name) + [
                "rooms:0", "rooms:9223372036854775807", "rooms:-1", "run", "",
            ]
        for _ in 0..<500 {
            var hash: [[UInt8]] = [Array("uptime".utf8), Array("9223372036854775807".utf8)]
            for name in names where Bool.random(using: &random) {
                hash.append(Array(name.utf8))
                switch Int.random(in: 0..<4, using: &random) {
                case 0: hash.append(Array(numbers.randomElement(using: &random)!.utf8))
                case 1:
                    hash.append(
                        (0..<Int.random(in: 0..<200)).map { _ in UInt8.random(in: 0...255, using: &random) })
                case 2: hash.append(Array("a\t9223372036854775807\nb\t9223372036854775807\n".utf8))
                default:
                    hash.append(
                        Array(
                            [String](repeating: "1=18446744073709551615", count: 100).joined(separator: ",")
                                .utf8))
                }
            }
            guard let report = NodeReport(id: "n", hash: hash) else { continue }
            #expect(report.topRooms.allSatisfy { $0.count >= 0 })
            #expect(report.closes.count <= 64 && report.publishToFlush.count <= 64)
        }
        let large = [UInt8](repeating: UInt8(ascii: "1"), count: 1 << 20)
        let lines = (0..<500).map { "r\($0)\t1\n" }.joined()
        let workers = (0..<5_000).flatMap { [Array("rooms:\($0)".utf8), Array(lines.utf8)] }
        let report = try #require(
            NodeReport(
                id: "n",
                hash: [Array("uptime".utf8), Array("1".utf8), Array("address".utf8), large] + workers))
        #expect(report.address.isEmpty)
        #expect(report.workerRooms.count <= 1_024)
        #expect(report.workerRooms.values.allSatisfy { $0.count <= NodeReport.topRoomCount })
    }

    @Test func roomsOfAllWorkersAreAddedUp() throws {
        var report = NodeReport(id: "n1")
        report.workerRooms = [
            0: [try members("a", 3), try members("b", 2)], 1: [try members("b", 2), try members("c", 3)],
        ]
        #expect(report.topRooms == [try members("b", 4), try members("a", 3), try members("c", 3)])
    }

    @Test func namesInRedisCarryThePrefix() throws {
        let keys = Keys(prefix: "p:")
        #expect(keys.node("n1") == Array("p:node:n1".utf8))
        #expect(keys.nodes == Array("p:roomcast:nodes".utf8))
        #expect(Keys().nodes == Array("roomcast:nodes".utf8))
        let reply = try #require(ReplyId("r_-1"))
        #expect(Channels(prefix: "p:").reply(reply) == Array("p:gateway:reply:r_-1".utf8))
        #expect(Channels().room(ofChannel: Channels().reply(reply)) == nil)
    }
}
