// With an issue key only the application's backend has tokens issued.
import Foundation
import Testing

@Suite struct IssueKeyTests {
    private static let first = "first-Issue-Key_0123"
    private static let second = "second-Issue-Key_~!&"
    private static let target = "/get/token?isLogin=true&userId=ada"

    private func withNode(_ key: String, _ body: (Cluster) async throws -> Void) async throws {
        try await Cluster.with(environment: ["GATEWAY_ISSUE_KEY": key], body)
    }

    @Test(arguments: [
        ([:], true), (["GATEWAY_ALLOWED_ORIGINS": "https://app.example.com"], false),
        (["GATEWAY_ISSUE_KEY": first], false),
    ])
    func nodeThatKeepsNobodyOutSaysSo(environment: [String: String], isOpen: Bool) async throws {
        try await Cluster.with(environment: environment) { cluster in
            let lines = cluster.node.child.errorOutput.split(separator: "\n").filter {
                $0.contains("open to everyone")
            }
            #expect(lines.count == (isOpen ? 1 : 0), "\(cluster.node.child.errorOutput)")
            if let line = lines.first {
                #expect(
                    line.contains("--issue-key") && line.contains("--allowed-origins")
                        && line.contains("any room"))
            }
        }
    }

    @Test func tokenNeedsTheKey() async throws {
        try await withNode(Self.first) { cluster in
            for headers in [
                [:], ["Authorization": "Bearer \(Self.first)x"], ["Authorization": "Basic \(Self.first)"],
                ["Authorization": Self.first], ["Authorization": "Bearer \(Self.second)"],
            ] {
                // The key comes before the parameters: a stranger is told nothing of those.
                for target in [Self.target, "/get/token"] {
                    let answer = try await cluster.node.get(target, headers: headers)
                    #expect(answer.status == 401, "\(headers)")
                    #expect(answer.body == #"{"data":"Issue key required"}"#)
                    #expect(answer.headers["www-authenticate"] == "Bearer")
                    #expect(answer.headers["content-type"] == "application/json")
                    #expect(answer.headers["cache-control"] == "no-store")
                }
            }
            #expect(try await cluster.redis.command("KEYS", "client:*") == [])
            let authorized = ["Authorization": "Bearer \(Self.first)"]
            #expect(try await cluster.node.get("/get/token", headers: authorized).status == 400)
            let answer = try await cluster.node.get(Self.target, headers: authorized)
            #expect(answer.status == 200)
            // Whoever has the token needs no key.
            let token = try #require(answer.data)
            #expect(try await cluster.node.heartbeat(token).status == 200)
            let client = try await cluster.node.connect("a", token: token)
            #expect(try await client.ping("connected"))
            let metrics = try await cluster.node.metrics()
            #expect(metrics["roomcast_tokens_refused_total"] == 10)
            #expect(metrics["roomcast_tokens_issued_total"] == 1)
        }
    }

    @Test func duringARotationBothKeysAreTaken() async throws {
        try await withNode("\(Self.first),\(Self.second)") { cluster in
            for (key, status) in [
                (Self.first, 200), (Self.second, 200), ("\(Self.first),\(Self.second)", 401),
            ] {
                let headers = ["Authorization": "Bearer \(key)"]
                let answer = try await cluster.node.get(Self.target, headers: headers)
                #expect(answer.status == status)
            }
        }
    }

    /// A browser sends no credentials with its preflight; the page then reads the refusal like any other
    /// answer.
    @Test func preflightNeedsNoKey() async throws {
        try await withNode(Self.first) { cluster in
            let origin = ["Origin": "https://app.example"]
            let asking = [
                "Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization",
            ]
            let preflight = try await cluster.driver.request(
                cluster.node.port, Self.target, method: "OPTIONS", headers: origin.merging(asking) { $1 })
            #expect(preflight.status == 204)
            #expect(preflight.headers["access-control-allow-headers"]?.contains("Authorization") == true)
            #expect(preflight.headers["www-authenticate"] == nil)
            let refused = try await cluster.node.get(Self.target, headers: origin)
            #expect(refused.status == 401)
            #expect(refused.headers["access-control-allow-origin"] == "*")
            let authorized = origin.merging(["Authorization": "Bearer \(Self.first)"]) { $1 }
            let issued = try await cluster.node.get(Self.target, headers: authorized)
            #expect(issued.status == 200)
            #expect(issued.headers["access-control-allow-origin"] == "*")
        }
    }

    @Test(arguments: ["short", "0123456789abcdef,", "0123456789abcdef 0123456789abcdef"])
    func keyOfAnotherFormStopsTheStart(key: String) async throws {
        try await Cluster.with(nodes: 0) { cluster in
            let command = [
                try Installation.binary("gateway"), "--listen", "127.0.0.1:0", "--admin-listen", "off",
            ]
            let fromVariable = try await cluster.driver.run(command, environment: ["GATEWAY_ISSUE_KEY": key])
            let fromArgument = try await cluster.driver.run(command + ["--issue-key", key])
            for (completed, name) in [(fromVariable, "GATEWAY_ISSUE_KEY"), (fromArgument, "--issue-key")] {
                #expect(completed.code == 2)
                #expect(completed.errors.contains("\(name): invalid value, expected one key of 16 to 256"))
                #expect(completed.errors.split(separator: "\n").count == 1)
                #expect(!completed.errors.contains(key))
            }
        }
    }
}
