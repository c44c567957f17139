// Durable notices through to the clients: what is pushed is what is stored.
import Foundation
import Testing

@Suite(.cluster(nodes: 2))
struct DurableTests {
    private func publish(_ arguments: String..., input: String = "") async throws -> Completed {
        let cluster = try Cluster.current
        let command =
            [try Installation.binary("publisher"), "--redis", cluster.redis.url, "--durable"] + arguments
        return try await cluster.driver.run(command, input: input)
    }

    /// The frames of a room's history, oldest first.
    private func stored(_ room: String) async throws -> [(id: String, frame: String)] {
        let entries = try await Cluster.current.redis.command("XRANGE", .string("room:\(room)"), "-", "+")
        return try (entries.array ?? []).map {
            (try #require($0[0].string), try #require($0[1][1].string))
        }
    }

    @Test func clientsOfEveryNodeReceiveTheFrameAsItIsStored() async throws {
        let cluster = try Cluster.current
        let room = cluster.room("é\"\\")
        let clients = [
            try await cluster.nodes[0].connect(room.percentEncoded),
            try await cluster.nodes[1].connect(room.percentEncoded),
        ]
        let completed = try await publish("--room", room, "--data", #"{"text":"Hello"}"#)
        #expect(completed.code == 0, "\(completed.errors)")
        let entry = try #require(try await stored(room).first)
        #expect(completed.output == "\(room): 2 nodes, id \(entry.id)\n")
        let name = room.replacing(#"\"#, with: #"\\"#).replacing("\"", with: #"\""#)
        #expect(
            entry.frame
                == #"{"id":"\#(entry.id)","room":"\#(name)","type":"notice","data":{"text":"Hello"}}"#)
        for client in clients { #expect(try await client.next() == .text(entry.frame)) }
    }

    @Test func durableAndPlainNoticesOfARoomKeepTheirOrder() async throws {
        let cluster = try Cluster.current
        let room = cluster.room()
        let client = try await cluster.node.connect(room)
        try await cluster.redis.publish(room: room, "1")
        let lines = (0..<300).map { #"{"room":"\#(room)","data":\#($0)}"# + "\n" }.joined()
        #expect(try await publish("--file", "-", input: lines).code == 0)
        try await cluster.redis.publish(room: room, "2")
        #expect(try await client.next() == .text("1"))
        let entries = try await stored(room)
        #expect(entries.count == 300)
        for entry in entries { #expect(try await client.next() == .text(entry.frame)) }
        #expect(try await client.next() == .text("2"))
    }

    /// Of the rooms with clients; one without a history, and one whose name something else has, show none.
    @Test func sizesOfHistoriesAreShown() async throws {
        let cluster = try Cluster.current
        let (kept, plain, typed) = (cluster.room("kept"), cluster.room("plain"), cluster.room("typed"))
        var clients: [Client] = []
        for room in [kept, plain, typed] { clients.append(try await cluster.node.connect(room)) }
        #expect(try await publish("--room", kept, "--data", "1").code == 0)
        #expect(try await publish("--room", kept, "--data", "2").code == 0)
        try await cluster.redis.command("SET", .string("room:\(typed)"), "x")
        func rooms(_ arguments: String...) async throws -> Completed {
            let command = [
                try Installation.binary("publisher"), "rooms", "--redis", cluster.redis.url, "--top", "all",
            ]
            return try await cluster.driver.run(command + arguments)
        }
        let told = try #require(JSON(parsing: try await rooms("--json").output))["rooms"].array ?? []
        func history(_ room: String) -> JSON {
            told.first { $0["room"].string == room }?["history"] ?? "no such room"
        }
        #expect(history(kept)["notices"] == 2)
        #expect((history(kept)["bytes"].int ?? 0) > 500)
        #expect((0..<600_000).contains(history(kept)["oldestMs"].int ?? -1))
        #expect(history(plain) == .null && history(typed) == .null)
        let text = try await rooms()
        #expect(text.code == 0 && text.errors.isEmpty)
        let lines = text.output.split(separator: "\n").map { $0.split(separator: " ").map(String.init) }
        #expect(lines.first == ["ROOM", "MEMBERS", "NODES", "HISTORY", "BYTES", "OLDEST"])
        #expect(lines.contains { $0.first == kept && $0.dropFirst(3).first == "2" })
        #expect(lines.contains { $0.first == plain && $0.suffix(3) == ["-", "-", "-"] })

        let address = "/console/api/cluster"
        try await eventually("the console shows it") {
            let answer = try await cluster.driver.request(cluster.node.adminPort, address)
            let shown = JSON(parsing: answer.body)?["histories"].array ?? []
            return shown.contains { $0["room"].string == kept && $0["notices"] == 2 }
                && !shown.contains { $0["room"].string == plain || $0["room"].string == typed }
        }
        withExtendedLifetime(clients) {}
    }

    @Test func whatIsRefusedIsNotPushed() async throws {
        let cluster = try Cluster.current
        let room = cluster.room()
        let client = try await cluster.node.connect(room)
        try await cluster.redis.command("SET", .string("room:\(room)"), "x")
        let refused = try await publish("--room", room, "--data", "1")
        #expect(refused.code == 1)
        #expect(refused.errors.contains("WRONGTYPE"))
        try await cluster.redis.publish(room: room, "2")
        #expect(try await client.next() == .text("2"))
    }
}
