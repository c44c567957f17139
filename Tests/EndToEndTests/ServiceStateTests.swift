// What a node tells the service manager that has started it, over a real datagram socket.
import Foundation
import Testing

@Suite struct ServiceStateTests {
    /// The manager's end, in a process of its own.
    private struct Receiver {
        let child: Child

        init(_ driver: Driver, _ address: String) async throws {
            let script = Installation.root.appending(path: "Tests/EndToEndTests/Support/notify_receiver.py")
                .path
            let child = try await Child(
                driver, name: "receiver", [try Installation.python(), "-B", script, address])
            self.child = child
            try await eventually("the receiver listens") { child.output.contains("listening") }
        }

        /// The assignments that have come so far, in their order.
        var assignments: [String] {
            child.output.split(separator: "\n").dropFirst()
                .flatMap { JSON(parsing: String($0))?.array ?? [] }.compactMap(\.string)
        }
    }

    @Test(arguments: [false, true])
    func startReadinessAndEndAreTold(isAbstract: Bool) async throws {
        try await Cluster.with { cluster in
            let address =
                isAbstract
                ? "@roomcast-\(UUID().uuidString)" : cluster.driver.directory.appending(path: "n").path
            let receiver = try await Receiver(cluster.driver, address)
            let node = try await GatewayNode(
                cluster.driver, id: "told", redis: cluster.redis, options: ["--drain-time", "1s"],
                environment: ["NOTIFY_SOCKET": address])
            try await eventually("it is started") { receiver.assignments.contains("READY=1") }
            let start = receiver.assignments
            #expect(start.first?.hasPrefix("STATUS=not ready: ") == true, "\(start)")
            #expect(start.suffix(2) == ["STATUS=ready", "READY=1"])
            let client = try await node.connect(cluster.room())
            // The gauge follows the 101.
            try await eventually("it is counted") { try await node.metrics()["roomcast_connections"] == 1 }
            try await node.child.signal(SIGTERM)
            #expect(try await client.closed()?.code == 1001)
            #expect(try await node.child.exitCode() == 0)
            try await eventually("its end is told") {
                Array(receiver.assignments.dropFirst(start.count))
                    == ["STOPPING=1", "STATUS=draining 1 connections"]
            }
        }
    }

    /// It answers, it recovers by itself: a manager that waited for Redis would end it at its time limit.
    @Test func nodeWithoutRedisCountsAsStartedAfterAWhile() async throws {
        try await Cluster.with { cluster in
            let address = cluster.driver.directory.appending(path: "n").path
            let receiver = try await Receiver(cluster.driver, address)
            let nobody = try await cluster.driver.freePort()
            let started = ContinuousClock.now
            let node = try await GatewayNode(
                cluster.driver, id: "told", redis: cluster.redis, environment: ["NOTIFY_SOCKET": address],
                url: "redis://127.0.0.1:\(nobody)", awaitReady: false)
            try await eventually("it is started") {
                receiver.assignments.contains("READY=1")
            }
            #expect(ContinuousClock.now - started > .seconds(9), "it has waited for Redis")
            #expect(
                receiver.assignments.allSatisfy { $0.hasPrefix("STATUS=not ready: ") || $0 == "READY=1" })
            #expect(try await node.ready().status == 503)
        }
    }

    @Test func socketThatIsNoneIsLoggedAndHarmsNothing() async throws {
        try await Cluster.with { cluster in
            for (index, address) in ["vsock:2:1", "/no/such/socket"].enumerated() {
                let node = try await GatewayNode(
                    cluster.driver, id: "told-\(index)", redis: cluster.redis,
                    environment: ["NOTIFY_SOCKET": address])
                #expect(node.child.errorOutput.contains("service manager not notified"))
                #expect(try await node.ready().status == 200)
            }
        }
    }
}
