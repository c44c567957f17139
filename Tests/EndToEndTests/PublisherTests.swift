// The publisher through to the clients: what it sends, what it says, and how it ends.
import Foundation
import Testing

@Suite(.cluster(nodes: 2))
struct PublisherTests {
    private func publish(_ arguments: [String], input: String = "") async throws -> Completed {
        let cluster = try Cluster.current
        let command = [try Installation.binary("publisher"), "--redis", cluster.redis.url] + arguments
        return try await cluster.driver.run(command, input: input)
    }

    @Test func oneNoticeReachesTheClientsOfEveryRoomGiven() async throws {
        let cluster = try Cluster.current
        let (first, second) = (cluster.room("a"), cluster.room("b"))
        let one = try await cluster.nodes[0].connect(first)
        let both = try await cluster.nodes[1].connect("\(first),\(second)")
        let completed = try await publish([
            "--room", first, "--room", second, "--data", #"{"text":"héllo"}"#,
        ])
        #expect(completed.code == 0)
        let notice = #"{"type":"notice","data":{"text":"héllo"}}"#
        #expect(try await one.next() == .text(notice))
        #expect(try await both.next() == .text(notice))
        #expect(try await both.next() == .text(notice))
        // How many nodes received it, for each room.
        let lines = completed.output.split(separator: "\n")
        #expect(lines.contains { $0.contains(first) && $0.contains("2") })
        #expect(lines.contains { $0.contains(second) && $0.contains("1") })
    }

    @Test(arguments: ["{}", "null", "[1, 2]", #""text""#, #"{"a" : 1.50}"#])
    func dataIsSentAsItStandsAndTypeIsEscaped(data: String) async throws {
        let cluster = try Cluster.current
        let room = cluster.room()
        let client = try await cluster.node.connect(room)
        #expect(try await publish(["--room", room, "--type", "a\"b", "--data", data]).code == 0)
        #expect(try await client.next() == .text(#"{"type":"a\"b","data":\#(data)}"#))
    }

    @Test func jsonResultTellsTheNodesForEachRoom() async throws {
        let cluster = try Cluster.current
        let (room, empty) = (cluster.room(), cluster.room("empty"))
        _ = try await cluster.node.connect(room)
        let completed = try await publish(["--room", room, "--room", empty, "--data", "1", "--json"])
        #expect(completed.code == 0)
        let objects = completed.output.split(separator: "\n").map { JSON(parsing: String($0)) ?? .null }
        #expect(objects.map { $0["room"].string } == [room, empty])
        #expect(objects.allSatisfy { $0.object?.values.contains { $0.int != nil } == true })
        #expect(objects.first?.object?.values.contains(1) == true)
        #expect(objects.last?.object?.values.contains(0) == true)
    }

    @Test(arguments: ["-", "file"])
    func everyLineOfAFileIsPublishedInOrder(source: String) async throws {
        let cluster = try Cluster.current
        let room = cluster.room()
        let clients = [try await cluster.nodes[0].connect(room), try await cluster.nodes[1].connect(room)]
        let text = (0..<2000).map { #"{"room":"\#(room)","type":"notice","data":{"n":\#($0)}}"# + "\n" }
            .joined()
        let file = cluster.driver.directory.appending(path: "\(room).ndjson")
        try Data(text.utf8).write(to: file)
        let path = source == "-" ? "-" : file.path
        let completed = try await publish(["--file", path], input: source == "-" ? text : "")
        #expect(completed.code == 0, "\(completed.errors)")
        for received in try await cluster.driver.sequences(clients, count: 2000) {
            #expect(received == ReceivedSequence(count: 2000, firstWrong: nil))
        }
    }

    private func withBadLine(_ room: String) -> String {
        (0..<5).map { $0 == 2 ? "not json\n" : #"{"room":"\#(room)","type":"t","data":\#($0)}"# + "\n" }
            .joined()
    }

    @Test func badLineStopsAndIsNamed() async throws {
        let cluster = try Cluster.current
        let room = cluster.room()
        let client = try await cluster.node.connect(room)
        let completed = try await publish(["--file", "-"], input: withBadLine(room))
        #expect(completed.code == 1)
        #expect(completed.errors.contains("line 3"))
        try await cluster.redis.publish(room: room, #""end""#)
        for expected in [#"{"type":"t","data":0}"#, #"{"type":"t","data":1}"#, #""end""#] {
            #expect(try await client.next() == .text(expected))
        }
    }

    @Test func badLineIsSkippedOnRequestAndNamed() async throws {
        let cluster = try Cluster.current
        let room = cluster.room()
        let client = try await cluster.node.connect(room)
        let completed = try await publish(["--file", "-", "--on-error", "skip"], input: withBadLine(room))
        #expect(completed.errors.contains("line 3"))
        try await cluster.redis.publish(room: room, #""end""#)
        for n in [0, 1, 3, 4] { #expect(try await client.next() == .text(#"{"type":"t","data":\#(n)}"#)) }
        #expect(try await client.next() == .text(#""end""#))
    }

    /// 20 notices at 20 a second take about a second; sent at once they would take milliseconds.
    @Test func rateSpreadsTheNotices() async throws {
        let cluster = try Cluster.current
        let room = cluster.room()
        let client = try await cluster.node.connect(room)
        let clock = ContinuousClock()
        let started = clock.now
        let text = (0..<20).map { #"{"room":"\#(room)","type":"t","data":{"n":\#($0)}}"# + "\n" }.joined()
        let completed = try await publish(["--file", "-", "--rate", "20"], input: text)
        #expect(completed.code == 0)
        #expect(clock.now - started > .seconds(0.8))
        #expect(
            try await cluster.driver.sequences([client], count: 20)
                == [ReceivedSequence(count: 20, firstWrong: nil)])
    }

    @Test func nothingIsSentWhenTheDataIsNoJson() async throws {
        let cluster = try Cluster.current
        let room = cluster.room()
        let client = try await cluster.node.connect(room)
        #expect(try await publish(["--room", room, "--data", "{"]).code == 2)
        try await cluster.redis.publish(room: room, "1")
        #expect(try await client.next() == .text("1"))
    }

    @Test func unreachableRedisIsOneClearError() async throws {
        let cluster = try Cluster.current
        let port = try await cluster.driver.freePort()
        let command = [
            try Installation.binary("publisher"), "--redis", "redis://127.0.0.1:\(port)", "--room", "a",
            "--data", "1",
        ]
        let completed = try await cluster.driver.run(command)
        #expect(completed.code == 1)
        #expect(completed.errors.contains("\(port)"))
        #expect(completed.output.isEmpty)
    }
}
