import ConsolePage
import Foundation
import HTTP
import Options
import RedisSchema
import Testing

@testable import Gateway

@Suite struct ClusterJsonTests {
    private func object(_ cluster: ClusterView.Cluster, hasActions: Bool = false) throws -> [String: Any] {
        let json = ClusterJson.bytes(cluster, nodeID: "n\"1", hasActions: hasActions)
        return try #require(try JSONSerialization.jsonObject(with: Data(json)) as? [String: Any])
    }

    @Test func everyNumberOfAReportIsThere() throws {
        var report = NodeReport(id: "n\"1")
        report.address = "[::1]:80"
        report.version = "1.0"
        report.startedAt = 1
        report.uptimeMilliseconds = 2
        report.workers = 3
        report.isReady = true
        report.connections = 4
        report.eventStreams = 21
        report.compressed = 22
        report.connectionsLimit = 5
        report.rooms = 6
        report.received = 7
        report.delivered = 8
        report.writtenBytes = 9
        report.queueBytes = 10
        report.tokensIssued = 11
        report.handshakes = 12
        report.rejected = 13
        report.redisReconnects = 14
        report.memoryBytes = 15
        report.closes = [.init(reason: "1001", count: 16), .init(reason: "lost", count: 17)]
        report.publishToFlush = [1, 2, 3]
        let room = try #require(RoomId("a\"\\é 房"))
        report.workerRooms = [
            0: [RoomMembers(room: room, count: 2)], 1: [RoomMembers(room: room, count: 3)],
        ]
        let histories = [room: RoomHistory(count: 18, bytes: 19, oldestAge: .milliseconds(20))]
        let cluster = try object(
            .init(reports: [report], failure: nil, histories: histories), hasActions: true)
        let history = try #require((cluster["histories"] as? [[String: Any]])?.first)
        #expect(history["room"] as? String == "a\"\\é 房")
        #expect(history["notices"] as? Int == 18)
        #expect(history["bytes"] as? Int == 19)
        #expect(history["oldestMs"] as? Int == 20)
        #expect(cluster["node"] as? String == "n\"1")
        #expect(cluster["redis"] is NSNull)
        #expect(cluster["actions"] as? Bool == true)
        #expect((cluster["boundsMs"] as? [Double])?.count == NodeReport.publishToFlushBounds.count)
        #expect((cluster["boundsMs"] as? [Double])?.first == 0.1)
        let node = try #require((cluster["nodes"] as? [[String: Any]])?.first)
        let numbers = [
            "startedAt": 1, "uptimeMs": 2, "workers": 3, "connections": 4, "eventStreams": 21,
            "compressed": 22,
            "connectionsLimit": 5, "rooms": 6,
            "received": 7, "delivered": 8, "writtenBytes": 9, "queueBytes": 10, "tokensIssued": 11,
            "handshakes": 12,
            "rejected": 13, "redisReconnects": 14, "memoryBytes": 15,
        ]
        for (name, value) in numbers { #expect(node[name] as? Int == value, "\(name)") }
        #expect(node["ready"] as? Bool == true)
        #expect(node["draining"] as? Bool == false)
        #expect(node["address"] as? String == "[::1]:80")
        #expect(node["closes"] as? [String: Int] == ["1001": 16, "lost": 17])
        #expect(node["publishToFlush"] as? [Int] == [1, 2, 3])
        let rooms = try #require(node["topRooms"] as? [[String: Any]])
        #expect(rooms.count == 1)
        #expect(rooms[0]["room"] as? String == "a\"\\é 房")
        #expect(rooms[0]["members"] as? Int == 5)
    }

    /// One look at the console must not end a node because of what stands in a hash.
    @Test func anyNumbersAreWritten() throws {
        var fields = ["rooms:0", "rooms:1", "rooms:2"].flatMap {
            [Array($0.utf8), Array("a\t9223372036854775807\n".utf8)]
        }
        for field in NodeReport(id: "n").fields {
            fields += [
                Array(field.name.utf8),
                Array((field.name == "uptime" ? "9223372036854775807" : "18446744073709551615").utf8),
            ]
        }
        let report = try #require(NodeReport(id: "n", hash: fields))
        let cluster = try object(.init(reports: [report, report], failure: nil))
        let rooms = try #require(
            (cluster["nodes"] as? [[String: Any]])?.first?["topRooms"] as? [[String: Any]])
        #expect(rooms.first?["members"] as? Int == .max)
    }

    @Test func reasonOfAnAbsentRedisIsTold() throws {
        let cluster = try object(.init(reports: [], failure: "Connection \"refused\""))
        #expect(cluster["redis"] as? String == "Connection \"refused\"")
        #expect(cluster["actions"] as? Bool == false)
        #expect((cluster["nodes"] as? [Any])?.isEmpty == true)
    }

    @Test func noMoreRoomsThanTheLargest() throws {
        var report = NodeReport(id: "n")
        for worker in 0..<3 {
            report.workerRooms[worker] = try (0..<NodeReport.topRoomCount).map {
                RoomMembers(room: try #require(RoomId("\(worker)-\($0)")), count: 1)
            }
        }
        let cluster = try object(.init(reports: [report], failure: nil))
        let node = try #require((cluster["nodes"] as? [[String: Any]])?.first)
        #expect((node["topRooms"] as? [Any])?.count == NodeReport.topRoomCount)
    }
}

@Suite struct ConsoleRequestTests {
    private func asked(_ text: String) -> ConsoleRequest? { ConsoleRequest(Array(text.utf8)) }

    @Test func otherFormsAreNone() {
        for text in ["", "[]", "1", "{", #"{"a":1} x"#, "{\"a\":\"\u{1}\"}"] {
            #expect(asked(text) == nil, "\(text)")
        }
        #expect(ConsoleRequest([0x7B, 0x22, 0xFF, 0x22, 0x3A, 0x31, 0x7D]) == nil, "not UTF-8")
        #expect(asked(#"{"token":"short"}"#)?.token == nil)
        #expect(asked(#"{"token":"AAAAbbbbCCCCdddd0000-_-_"}"#)?.token != nil)
    }
}

@Suite struct SameOriginTests {
    private func holds(_ fields: String...) throws -> Bool {
        let text = "POST / HTTP/1.1\r\nHost: node:9090\r\n" + fields.map { $0 + "\r\n" }.joined() + "\r\n"
        let head = Array(text.utf8).withUnsafeBytes { HttpRequestHead.parse($0, maximumBytes: 8192) }
        guard case .complete(let request) = head else { throw Malformed() }
        return SameOrigin.holds(for: request)
    }

    private struct Malformed: Error {}

    @Test func ownPageAndNoBrowserMay() throws {
        #expect(try holds())
        #expect(try holds("Origin: http://node:9090"))
        #expect(try holds("Origin: https://NODE:9090", "Sec-Fetch-Site: same-origin"))
    }

    @Test(arguments: [
        "Origin: http://node", "Origin: http://node:9091", "Origin: null", "Origin: http://evil.example",
        "Origin: http://node:9090.evil.example", "Origin: http://node:9090\r\nOrigin: http://node:9090",
        "Origin:",
        "Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-site", "Sec-Fetch-Site: none",
        "Origin: http://node:9090\r\nSec-Fetch-Site: cross-site",
    ])
    func othersMayNot(fields: String) throws {
        #expect(try !holds(fields))
    }
}

@Suite struct BearerKeyTests {
    private let key = BearerKey("0123456789abcdef")

    private func shows(_ fields: String...) throws -> Bool {
        let text = "POST / HTTP/1.1\r\nHost: a\r\n" + fields.map { $0 + "\r\n" }.joined() + "\r\n"
        let head = Array(text.utf8).withUnsafeBytes { HttpRequestHead.parse($0, maximumBytes: 8192) }
        guard case .complete(let request) = head, let shown = BearerKey.shown(by: request) else {
            return false
        }
        return try #require(key).matches(shown)
    }

    @Test func keyIsWholeOrNothing() throws {
        #expect(try shows("Authorization: Bearer 0123456789abcdef"))
        #expect(try shows("Authorization: bEARER   0123456789abcdef"))
        for wrong in [
            "Bearer 0123456789abcdeg", "Bearer 1123456789abcdef", "Bearer 0123456789abcde",
            "Bearer 0123456789abcdef0", "Bearer 0123456789abcdef0123456789abcdef", "Bearer ", "Bearer", "",
            "Basic 0123456789abcdef", "0123456789abcdef", "Bearer 0123456789ABCDEF",
        ] {
            #expect(try !shows("Authorization: \(wrong)"), "\(wrong)")
        }
        #expect(
            try !shows("Authorization: Bearer 0123456789abcdef", "Authorization: Bearer 0123456789abcdef"))
        #expect(try !shows())
    }

    @Test func formIsLongAndVisible() {
        #expect(BearerKey(String(repeating: "01234567", count: 2)) != nil)
        #expect(BearerKey(String(repeating: "01234567", count: 32)) != nil)
        for wrong in [
            "", "0123456789abcde", String(repeating: "01234567", count: 32) + "0", "0123456789 abcdef",
            "0123456789abcdeé", "0123456789abcdef\n",
        ] {
            #expect(BearerKey(wrong) == nil, "\(wrong)")
        }
    }

    /// Placeholders and keys that were typed with one finger.
    @Test(arguments: [
        String(repeating: "k", count: 16), String(repeating: "01", count: 8), "changemechangeme",
        "0000000000000000",
        String(repeating: "1234567", count: 3), "aaaaaaaaaaaaaaaaaaaaaaaabcdefg",
    ])
    func keyOfFewDifferentCharactersIsNone(text: String) {
        #expect(BearerKey(text) == nil)
        #expect(IssueKeys(text) == nil)
        #expect(IssueKeys("0123456789abcdef,\(text)") == nil)
        #expect(throws: UsageError.self) { try configuration(["--admin-key", text]) }
        #expect(throws: UsageError.self) { try configuration(["--issue-key", text]) }
    }

    @Test func keyIsInNoText() throws {
        let key = try #require(key)
        var dumped = ""
        dump(key, to: &dumped)
        for text in [dumped, "\(key)", String(reflecting: key)] {
            #expect(!text.contains("0123456789"), "\(text)")
        }
    }
}

@Suite struct PageFileTests {
    private func text(_ path: String) throws -> String {
        String(decoding: try #require(PageFile.at(path)).bytes, as: UTF8.self)
    }

    @Test func everythingThatThePageAsksForIsThere() throws {
        let page = try text("")
        var names = page.matches(of: /(?:src|href)="([^"#]+)"/).map { String($0.output.1) }
        for script in PageFile.all.keys.filter({ $0.hasSuffix(".js") }) {
            names += try text(script).matches(of: /from "\.\/([^"]+)"/).map { String($0.output.1) }
        }
        for name in names { #expect(PageFile.at(name) != nil, "\(name)") }
        #expect(Set(names).union([""]) == Set(PageFile.all.keys), "no file is left over")
        #expect(Set(PageFile.all.values.map(\.tag)).count == PageFile.all.count)
    }

    /// The policy would refuse them, and the page would be without.
    @Test func nothingIsInline() throws {
        let page = try text("")
        #expect(!page.contains(" style="))
        #expect(page.matches(of: /\son[a-z]+=/).isEmpty)
        #expect(page.matches(of: /<script(?![^>]* src=)/).isEmpty)
        #expect(!page.contains("<style"))
        for path in PageFile.all.keys where path.hasSuffix(".js") {
            let script = try text(path)
            #expect(!script.contains("innerHTML") && !script.contains("eval("), "\(path)")
        }
    }

    @Test func everyIdThatAScriptNamesIsInThePage() throws {
        let page = try text("")
        for path in PageFile.all.keys where path.hasSuffix(".js") {
            for match in try text(path).matches(of: /(?:byId|say)\("([^"]+)"/) {
                #expect(page.contains("id=\"\(match.output.1)\""), "\(path): \(match.output.1)")
            }
        }
    }
}
