// Durable rooms on a Redis Cluster: whatever happens to its servers, clients get each notice once and in order, or
// are told of a loss.
import Testing

@Suite(.serialized, .enabled(if: ServerUnderTest.hasFunctions, "the harness needs Redis 7"))
struct ClusterDurableTests {
    private func texts(_ range: Range<Int>) -> [String] { range.map { "n\($0)" } }

    private func with(_ body: (ClusterGroup, [GatewayNode]) async throws -> Void) async throws {
        try await Driver.with { driver in
            let group = try await ClusterGroup(driver)
            let nodes = [
                try await group.startNode("node-1", workers: 1), try await group.startNode("node-2"),
            ]
            try await body(group, nodes)
        }
    }

    private func key(_ room: String) -> JSON { .string("room:\(room)") }

    /// At the server that has the room, once that is known and takes it.
    private func publish(_ group: ClusterGroup, _ room: String, _ range: Range<Int>) async throws {
        for text in texts(range) {
            try await eventually("\(text) is published") {
                // Under a key, as an attempt whose answer is lost may have published it.
                let once = JSON.string("once:{room:\(room)}:\(text)")
                let notice = JSON.string(#"{"type":"notice","data":"\#(text)"}"#)
                guard let owner = try? await group.owner(ofKey: "room:\(room)") else { return false }
                let reply = try? await owner.command(
                    "FCALL", "roomcast_publish", "2", key(room), once, notice)
                return reply?.array?.count == 2
            }
        }
    }

    private func check(_ followers: [Follower], _ room: String, _ count: Int) async throws {
        for follower in followers {
            try await follower.read(upTo: "n\(count - 1)", in: room)
            #expect(follower.notices(of: room) == texts(0..<count))
            #expect(follower.lossCount(of: room) == 0)
        }
    }

    @Test func clientsResumeOverTheFailoverOfTheirRoomsMaster() async throws {
        try await with { group, nodes in
            let room = "lobby"
            let stays = try await Follower(nodes[0], [room, "other"])
            let away = try await Follower(nodes[1], [room])
            try await publish(group, room, 0..<20)
            try await check([stays, away], room, 20)
            try await away.close()
            try await publish(group, room, 20..<40)
            let owner = try await group.owner(ofKey: "room:\(room)")
            #expect(try await owner.command("WAIT", "1", "10000").int == 1)
            try await group.kill(owner)
            try await group.promotion(inPlaceOf: owner)
            try await publish(group, room, 40..<60)
            // Its new token may be in one of the slots.
            try await eventually("all slots can be reached") {
                try await nodes[0].metrics()["roomcast_redis_reachable_slots"] == 16_384
            }
            try await away.comeBack(to: nodes[0])
            try await check([stays, away], room, 60)
        }
    }

    @Test func clientsResumeWhileTheirSlotMoves() async throws {
        try await with { group, nodes in
            let room = "lobby"
            let stays = try await Follower(nodes[0], [room])
            let away = try await Follower(nodes[1], [room])
            try await publish(group, room, 0..<10)
            try await check([stays, away], room, 10)
            try await away.close()
            let slot = try await group.slot(ofKey: "room:\(room)")
            let source = try await group.owner(ofSlot: slot)
            let target = try #require(try await group.masters().first { $0 !== source })
            var freshCount = 0
            try await group.move(slot: slot, to: target, keysAtOnce: 1) { step in
                let keys: [String] = if case .moved(let keys) = step { keys } else { [] }
                var node = nodes[1]
                // A node that does not know the room reads its history, which may be with either server, and
                // its epoch, which may be with the other.
                if keys.isEmpty || !keys.allSatisfy({ $0.hasPrefix("once:") }) {
                    freshCount += 1
                    node = try await group.startNode("fresh-\(freshCount)", workers: 1)
                }
                try await away.comeBack(to: node)
                #expect(away.lossCount(of: room) == 0)
                try await away.close()
            }
            #expect(freshCount == 4, "opened, history and epoch moved, taken")
            try await group.agreement()
            try await publish(group, room, 10..<20)
            try await away.comeBack(to: nodes[0])
            try await check([stays, away], room, 20)
        }
    }

    @Test func deathOfTheFeedsServerIsFilled() async throws {
        try await with { group, nodes in
            let feed = try #require(try await group.subscribed(to: "gateway:node-1").first)
            // A room whose master lives on.
            var room = "lobby"
            while try await group.owner(ofKey: "room:\(room)") === feed { room += "y" }
            let followers = [try await Follower(nodes[0], [room]), try await Follower(nodes[1], [room])]
            try await publish(group, room, 0..<10)
            try await check(followers, room, 10)
            try await group.kill(feed)
            try await publish(group, room, 10..<40)
            try await check(followers, room, 40)
        }
    }

    @Test func emptiedMasterIsALossForItsRoomsOnly() async throws {
        try await with { group, nodes in
            let room = "lobby"
            let owner = try await group.owner(ofKey: "room:\(room)")
            var other = "other"
            while try await group.owner(ofKey: "room:\(other)") === owner { other += "x" }
            let follower = try await Follower(nodes[0], [room, other])
            for name in [room, other] {
                try await publish(group, name, 0..<5)
                try await follower.read(upTo: "n4", in: name)
            }
            try await owner.command("FLUSHALL")
            while follower.lossCount(of: room) == 0 {
                try #require(try await follower.read(), "a loss is told")
            }
            try await publish(group, other, 5..<10)
            try await follower.read(upTo: "n9", in: other)
            #expect(follower.lossCount(of: other) == 0 && follower.notices(of: other) == texts(0..<10))
        }
    }
}
