// A redis-server and some gateway nodes, started for a suite and stopped after its last test.
import Foundation
import Testing

final class Cluster: Sendable {
    let driver: Driver
    let redis: RedisServer
    let nodes: [GatewayNode]

    /// The cluster of the suite that is running (see `ClusterTrait`).
    @TaskLocal static var shared: Cluster?

    static var current: Cluster {
        get throws {
            guard let shared else { throw HarnessError("the suite has no cluster") }
            return shared
        }
    }

    init(
        nodes count: Int = 1, options: [String] = [], environment: [String: String] = [:],
        password: String? = nil, redisOptions: [String] = [], isSecured: Bool = false,
        optionsOfNode: @Sendable (Int) -> [String] = { _ in [] }
    ) async throws {
        driver = try Driver()
        do {
            let certificates = isSecured ? try await Certificates(driver) : nil
            let redis = try await RedisServer(
                driver, password: password, options: redisOptions, certificates: certificates)
            self.redis = redis
            var nodes: [GatewayNode] = []
            for index in 0..<count {
                // Every other node writes as it would where io_uring is forbidden.
                let writing = index % 2 == 0 || options.contains("--io-uring") ? [] : ["--io-uring", "off"]
                // And has one thread for all, where the first has one for the feed and two for workers.
                let workers = index % 2 == 0 ? 2 : 1
                let own = writing + options + optionsOfNode(index)
                nodes.append(
                    try await GatewayNode(
                        driver, id: "node-\(index + 1)", redis: redis, options: own,
                        environment: environment, workers: workers)
                )
            }
            self.nodes = nodes
        } catch {
            await driver.stop()
            throw error
        }
    }

    var node: GatewayNode { nodes[0] }

    /// A room that no other test uses.
    func room(_ name: String = "room") -> String { "\(name)-\(UUID().uuidString.prefix(8))" }

    /// Starts a cluster for `body` alone and stops it, whatever `body` does.
    static func with(
        nodes: Int = 1, options: [String] = [], environment: [String: String] = [:], password: String? = nil,
        redisOptions: [String] = [], isSecured: Bool = false,
        optionsOfNode: @Sendable (Int) -> [String] = { _ in [] },
        _ body: (Cluster) async throws -> Void
    ) async throws {
        let cluster = try await Cluster(
            nodes: nodes, options: options, environment: environment, password: password,
            redisOptions: redisOptions, isSecured: isSecured, optionsOfNode: optionsOfNode)
        do {
            try await body(cluster)
            await cluster.stop()
        } catch {
            await cluster.stop()
            throw error
        }
    }

    /// Stops all processes; a node that has ended by itself before is a failure of the suite.
    func stop() async {
        for node in nodes {
            if let code = try? await node.child.unexpectedExitCode() {
                Issue.record("\(node.id) ended with \(code): \(node.child.errorOutput.suffix(2000))")
            }
        }
        await driver.stop()
    }
}

/// Starts one cluster for all tests of a suite.
struct ClusterTrait: SuiteTrait, TestScoping {
    let nodes: Int
    let options: [String]
    let environment: [String: String]
    let isSecured: Bool

    func provideScope(
        for test: Test, testCase: Test.Case?, performing function: @Sendable () async throws -> Void
    ) async throws {
        try await Cluster.with(
            nodes: nodes, options: options, environment: environment, isSecured: isSecured
        ) { cluster in
            try await Cluster.$shared.withValue(cluster) { try await function() }
        }
    }
}

extension Trait where Self == ClusterTrait {
    static func cluster(
        nodes: Int = 1, options: [String] = [], environment: [String: String] = [:], isSecured: Bool = false
    ) -> Self {
        Self(nodes: nodes, options: options, environment: environment, isSecured: isSecured)
    }
}
