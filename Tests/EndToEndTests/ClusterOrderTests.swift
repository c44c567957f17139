// The order of one room's notices on a Redis Cluster, whatever way they take into it.
import Foundation
import Testing

@Suite(.serialized, .enabled(if: ServerUnderTest.hasFunctions, "the harness needs Redis 7"))
struct ClusterOrderTests {
    private static let room = "lobby"

    /// The numbers of the room's history.
    private func stored(_ group: ClusterGroup) async throws -> [Int] {
        let owner = try await group.owner(ofKey: "room:\(Self.room)")
        let entries = try await group.tell(owner, "XRANGE", .string("room:\(Self.room)"), "-", "+")
        return (entries.array ?? []).compactMap { JSON(parsing: $0[1][1].string ?? "")?["data"].int }
    }

    /// A line that a server sends elsewhere, or asks to try again, is not overtaken by the next one.
    @Test func durableLinesKeepTheirOrderWhileTheirSlotMoves() async throws {
        try await Driver.with { driver in
            let group = try await ClusterGroup(driver, replicasOfEach: 0)
            let count = 4_000
            let path = driver.directory.appending(path: "lines")
            let lines = (0..<count).map { #"{"room":"\#(Self.room)","data":\#($0)}"# + "\n" }
            try Data(lines.joined().utf8).write(to: path)
            let call = try await Child(
                driver, name: "publisher",
                [try Installation.binary("publisher")] + group.connectionOptions
                    + [
                        "--durable", "--history-limit", "100000", "--file", path.path, "--rate", "1000",
                        "--timeout", "4m", "--json",
                    ])
            let slot = try await group.slot(ofKey: "room:\(Self.room)")
            var target = 0
            var last = -1
            // On to the next master whenever something was stored at the one before.
            try await eventually("the publisher ends") {
                let owner = try await group.owner(ofSlot: slot)
                let length = try await group.tell(owner, "XLEN", .string("room:\(Self.room)")).int ?? 0
                if length > last {
                    last = length
                    target += 1
                    try await group.move(slot: slot, to: group.servers[target % 3])
                }
                return try await call.exitCode(within: .zero) != nil
            }
            #expect(try await call.exitCode() == 0, "\(call.errorOutput)")
            #expect(try await stored(group) == Array(0..<count))
            #expect(target > 3, "the slot has moved")
        }
    }

    /// A room at each of the masters.
    private func rooms(_ group: ClusterGroup) async throws -> [(name: String, owner: RedisServer)] {
        var rooms: [(name: String, owner: RedisServer)] = []
        var number = 0
        while rooms.count < group.servers.count {
            number += 1
            let owner = try await group.owner(ofKey: "room:r\(number)")
            if !rooms.contains(where: { $0.owner === owner }) { rooms.append(("r\(number)", owner)) }
        }
        return rooms
    }

    /// What is published at two servers comes in any order: calls that publish to one room go to the same one.
    @Test func callsOfThePublisherGoToTheServerOfTheirRoom() async throws {
        try await Driver.with { driver in
            let group = try await ClusterGroup(driver, replicasOfEach: 0)
            for room in try await rooms(group) {
                let before = try await group.publishCount(room.owner)
                for _ in 0..<2 {
                    let completed = try await driver.run(
                        [try Installation.binary("publisher")] + group.connectionOptions
                            + ["--room", room.name, "--data", "1"])
                    #expect(completed.code == 0, "\(completed)")
                }
                #expect(try await group.publishCount(room.owner) == before + 2)
            }
        }
    }

    /// Also through a balancer, which gives them to different nodes.
    @Test func noticesThatArePostedGoToTheServerOfTheirRoom() async throws {
        try await Driver.with { driver in
            let group = try await ClusterGroup(driver, replicasOfEach: 0)
            let environment = ["GATEWAY_ADMIN_KEY": ConsoleBrowser.key]
            var nodes: [GatewayNode] = []
            for id in ["node-1", "node-2"] {
                nodes.append(try await group.startNode(id, environment: environment))
            }
            for room in try await rooms(group) {
                let client = try await nodes[0].connect(room.name)
                let before = try await group.publishCount(room.owner)
                for number in 0..<20 {
                    let body = #"{"room":"\#(room.name)","data":\#(number)}"#
                    let answer = try await post(nodes[number % 2], "/api/publish", body)
                    #expect(answer.status == 200)
                }
                // Echoes of the nodes come in between.
                #expect(try await group.publishCount(room.owner) >= before + 20)
                for number in 0..<20 {
                    #expect(try await client.next() == .text(#"{"type":"notice","data":\#(number)}"#))
                }
            }
        }
    }

    /// Its two keys may be with either server.
    @Test func postWithAOnceKeyIsRefusedWhileItsSlotMoves() async throws {
        try await Driver.with { driver in
            let group = try await ClusterGroup(driver, replicasOfEach: 0)
            let node = try await group.startNode(
                "node-1", environment: ["GATEWAY_ADMIN_KEY": ConsoleBrowser.key])
            let body = #"{"room":"lobby","data":1,"durable":true,"once":"k"}"#
            let slot = try await group.slot(ofKey: "room:lobby")
            let source = try await group.owner(ofSlot: slot)
            let target = try #require(group.servers.first { $0 !== source })
            try await group.move(slot: slot, to: target) { step in
                guard step == .opened else { return }
                let answer = try await post(node, "/api/publish", body)
                #expect(answer.status == 503 && answer.body.contains("sent round in the cluster"))
            }
            let answer = try await post(node, "/api/publish", body)
            #expect(answer.status == 200 && !answer.body.contains("known"), "\(answer.body)")
            #expect(try await group.tell(target, "XLEN", "room:lobby") == 1)
        }
    }
}
