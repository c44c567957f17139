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
