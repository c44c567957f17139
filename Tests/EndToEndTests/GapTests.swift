// The gap: what clients and operators are told of the time in which a node did not hear Redis.
import Foundation
import Testing

@Suite struct GapTests {
    /// The rooms and the milliseconds of a gap notice.
    private func gap(_ event: Event) -> (rooms: [String], milliseconds: Double)? {
        guard case .text(let text) = event, let notice = JSON(parsing: text), notice["type"] == "gap",
            let rooms = notice["data"]["rooms"].array, let milliseconds = notice["data"]["ms"].double
        else { return nil }
        return (rooms.compactMap(\.string), milliseconds)
    }

    private func restart(_ cluster: Cluster) async throws -> Duration {
        let start = ContinuousClock.now
        try await cluster.redis.stop()
        for node in cluster.nodes {
            try await eventually("not ready") { try await node.ready().status == 503 }
        }
        let away = ContinuousClock.now - start
        _ = try await cluster.redis.restart()
        for node in cluster.nodes {
            try await eventually("ready again") { try await node.ready().status == 200 }
        }
        return away
    }

    @Test(arguments: ServerUnderTest.securities)
    func everyClientIsToldOnceOfItsRoomsAndBeforeAnythingElse(isSecured: Bool) async throws {
        try await Cluster.with(nodes: 2, options: ["--gap-notice", "on"], isSecured: isSecured) { cluster in
            let (first, second) = (cluster.room("first"), cluster.room("second"))
            var clients: [(Client, [String])] = []
            for node in cluster.nodes {
                clients.append((try await node.connect("\(first),\(second)"), [first, second]))
                clients.append((try await node.connect(second), [second]))
            }
            let away = try await restart(cluster)
            let late = try await cluster.node.connect(second)
            try await cluster.redis.publish(room: second, "1")
            for (client, rooms) in clients {
                let notice = try #require(gap(try await client.next()))
                #expect(notice.rooms == rooms)
                #expect(notice.milliseconds >= away.seconds * 1_000)
                #expect(try await client.next() == .text("1"))
            }
            #expect(try await late.next() == .text("1"))
            for node in cluster.nodes {
                let metrics = try await node.metrics()
                #expect(metrics["roomcast_gaps_total"] == 1)
                #expect(metrics["roomcast_gap_seconds_total"] >= away.seconds)
                #expect(node.child.errorOutput.contains("gap: what was published meanwhile is lost"))
            }
            // The next one concerns the late client as well.
            try await cluster.redis.command("CLIENT", "KILL", "TYPE", "pubsub")
            let notice = try #require(gap(try await late.next()))
            #expect(notice.rooms == [second] && notice.milliseconds >= 1)
        }
    }

    @Test func nothingIsSaidByDefaultAndAllIsCounted() async throws {
        try await Cluster.with { cluster in
            let room = cluster.room()
            let client = try await cluster.node.connect(room)
            let away = try await restart(cluster)
            try await cluster.redis.publish(room: room, "1")
            #expect(try await client.next() == .text("1"))
            #expect(try await cluster.node.metrics()["roomcast_gaps_total"] == 1)
            #expect(try await cluster.node.metrics()["roomcast_gap_seconds_total"] >= away.seconds)
        }
    }

    /// Numbers without a hole, but for one: where the notice stands.
    @Test func whatIsMissingIsMissingJustWhereTheNoticeStands() async throws {
        try await Cluster.with(options: ["--gap-notice", "on"]) { cluster in
            let room = cluster.room()
            let client = try await cluster.node.connect(room)
            for index in 0..<60 { _ = try await cluster.node.connect("other-\(index),more-\(index)") }
            async let publishing: Void = cluster.redis.publishSequence(room: room, count: 40_000)
            try await eventually("messages come") { try await client.receivedCount() > 1_000 }
            try await cluster.redis.command("CLIENT", "KILL", "TYPE", "pubsub")
            try await publishing
            try await eventually("ready again") { try await cluster.node.ready().status == 200 }
            try await cluster.redis.publish(room: room, #"{"data":{"n":40000}}"#)
            var expected = 0
            var holes = 0
            var notices = 0
            while expected <= 40_000 {
                let event = try await client.next()
                if gap(event) != nil {
                    notices += 1
                    expected = -1
                } else {
                    guard case .text(let text) = event, let number = JSON(parsing: text)?["data"]["n"].int
                    else {
                        throw HarnessError("no message: \(event)")
                    }
                    if expected >= 0, number != expected { holes += 1 }
                    expected = number + 1
                }
            }
            #expect(notices == 1)
            #expect(holes == 0)
        }
    }
}
