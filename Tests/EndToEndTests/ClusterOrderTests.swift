// The order of one room's notices on a Redis Cluster, whatever way they take into it.
import Foundation
import Testing

@Suite(.serialized, .enabled(if: ServerUnderTest.hasFunctions, "the harness needs Redis 7"))
struct ClusterOrderTests {
    /// How many PUBLISHes a server has carried out.
    private func publishCount(_ group: ClusterGroup, _ server: RedisServer) async throws -> Int {
        let text = try await group.tell(server, "INFO", "commandstats").string ?? ""
        return text.firstMatch(of: #/cmdstat_publish:calls=(\d+)/#).flatMap { Int($0.1) } ?? 0
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
                let before = try await publishCount(group, room.owner)
                for _ in 0..<2 {
                    let completed = try await driver.run(
                        [try Installation.binary("publisher")] + group.connectionOptions
                            + ["--room", room.name, "--data", "1"])
                    #expect(completed.code == 0, "\(completed)")
                }
                #expect(try await publishCount(group, room.owner) == before + 2)
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
                let before = try await publishCount(group, room.owner)
                for number in 0..<20 {
                    let body = #"{"room":"\#(room.name)","data":\#(number)}"#
                    let answer = try await post(nodes[number % 2], "/api/publish", body)
                    #expect(answer.status == 200)
                }
                // Echoes of the nodes come in between.
                #expect(try await publishCount(group, room.owner) >= before + 20)
                for number in 0..<20 {
                    #expect(try await client.next() == .text(#"{"type":"notice","data":\#(number)}"#))
                }
            }
        }
    }
}
