// The end of a node: drained by SIGTERM, ended at once by a second one, or killed while another goes on.
import Foundation
import Testing

@Suite struct DrainTests {
    /// 10 s of drain for 12 clients: they must go one after another, not all at once.
    @Test func sigtermSendsEveryClientAwayOverTheDrainTime() async throws {
        try await Cluster.with(options: ["--drain-time", "10s"]) { cluster in
            let node = cluster.node
            var clients: [Client] = []
            for _ in 0..<12 { clients.append(try await node.connect(cluster.room())) }
            let clock = ContinuousClock()
            let (ends, pace) = try await Pace.during(cluster.driver, cluster.redis) {
                let started = clock.now
                try await node.child.signal(SIGTERM)
                try await eventually("readiness is off") { try await node.ready().status == 503 }
                try await eventually("no new connection") {
                    (try? await RawConnection(cluster.driver, port: node.port)) == nil
                }
                var ends: [Duration] = []
                try await withThrowingTaskGroup(of: (Int?, Duration).self) { group in
                    for client in clients {
                        group.addTask { (try await client.closed()?.code, clock.now - started) }
                    }
                    for try await (code, end) in group {
                        #expect(code == 1001)
                        ends.append(end)
                    }
                }
                return ends
            }
            let (first, last) = (ends.min() ?? .zero, ends.max() ?? .zero)
            #expect(last - first > .seconds(1), "spread over the drain time")
            #expect(last < pace.allows(.seconds(11.5)))
            #expect(try await node.child.exitCode() == 0)
        }
    }

    /// Until the balancer knows, it sends clients, and they are taken; those who are there stay.
    @Test func nodeServesForTheDrainDelayAfterReadinessIsOff() async throws {
        try await Cluster.with(options: ["--drain-delay", "15s", "--drain-time", "0s"]) { cluster in
            let (node, room) = (cluster.node, cluster.room())
            let before = try await node.connect(room)
            let started = ContinuousClock.now
            try await node.child.signal(SIGTERM)
            try await eventually("readiness is off") { try await node.ready().status == 503 }
            let during = try await node.connect(room)
            try await cluster.redis.publish(room: room, "1")
            for client in [before, during] { #expect(try await client.next() == .text("1")) }
            for client in [before, during] { #expect(try await client.closed()?.code == 1001) }
            #expect(ContinuousClock.now - started >= .seconds(15))
            #expect(try await node.child.exitCode() == 0)
        }
    }

    @Test func secondSignalEndsTheDrainDelayToo() async throws {
        try await Cluster.with(options: ["--drain-delay", "1h"]) { cluster in
            try await cluster.node.child.signal(SIGTERM)
            try await eventually("readiness is off") { try await cluster.node.ready().status == 503 }
            try await end(cluster.node.child, SIGTERM)
            #expect(try await cluster.node.child.exitCode(within: .zero) == 128 + Int(SIGTERM))
        }
    }

    @Test func sigintDrainsAsSigtermDoes() async throws {
        try await Cluster.with(options: ["--drain-time", "1s"]) { cluster in
            let room = cluster.room()
            let clients = [try await cluster.node.connect(room), try await cluster.node.connect(room)]
            try await cluster.node.child.signal(SIGINT)
            for client in clients { #expect(try await client.closed()?.code == 1001) }
            #expect(try await cluster.node.child.exitCode() == 0)
        }
    }

    @Test func nodeWithoutClientsEndsSoon() async throws {
        try await Cluster.with(options: ["--drain-time", "1h"]) { cluster in
            try await cluster.node.child.signal(SIGTERM)
            #expect(try await cluster.node.child.exitCode() == 0)
        }
    }

    /// A client that had not read yet: what was queued for it comes first, then the 1001.
    @Test func queuedMessagesComeBeforeTheClose() async throws {
        try await Cluster.with(options: ["--drain-time", "2s"]) { cluster in
            let room = cluster.room()
            let slow = try await cluster.node.rawSocket(room, receiveBufferBytes: 4096)
            let fast = try await cluster.node.connect(room)
            try await cluster.redis.publishSequence(room: room, count: 50, paddingBytes: 10000)
            #expect(
                try await cluster.driver.sequences([fast], count: 50)
                    == [ReceivedSequence(count: 50, firstWrong: nil)])
            try await cluster.node.child.signal(SIGTERM)
            try await eventually("readiness is off") { try await cluster.node.ready().status == 503 }
            let (bytes, _) = try await slow.receive()
            let frames = try Frame.parse(bytes)
            #expect(frames.count == 51)
            #expect(
                frames.dropLast().enumerated().allSatisfy { JSON(parsing: $1.text)?["data"]["n"].int == $0 })
            #expect(frames.last?.closeCode == 1001)
            try await slow.close()
            #expect(try await cluster.node.child.exitCode() == 0)
        }
    }

    @Test(arguments: [SIGTERM, SIGINT])
    func secondSignalEndsAtOnce(second: Int32) async throws {
        try await Cluster.with(options: ["--drain-time", "1h"]) { cluster in
            for _ in 0..<4 { _ = try await cluster.node.connect(cluster.room()) }
            try await cluster.node.child.signal(SIGTERM)
            try await eventually("the drain has begun") { try await cluster.node.ready().status == 503 }
            try await end(cluster.node.child, second)
            #expect(try await cluster.node.child.exitCode(within: .zero) == 128 + Int(SIGTERM))
        }
    }

    /// Sends a signal until it works: within a second of the first one it is the same wish.
    private func end(_ child: Child, _ signal: Int32) async throws {
        try await eventually("it ends") {
            try await child.signal(signal)
            return try await child.exitCode(within: .zero) != nil
        }
    }

    /// As timeout(1) and some supervisors do, to the process and to its group. Both wait while the process
    /// is stopped, and are then delivered together.
    @Test func secondSignalWithinASecondIsTheSameWish() async throws {
        try await Cluster.with(options: ["--drain-time", "1s"]) { cluster in
            let client = try await cluster.node.connect(cluster.room())
            for number in [SIGSTOP, SIGTERM, SIGINT, SIGCONT] { try await cluster.node.child.signal(number) }
            #expect(try await client.closed()?.code == 1001)
            #expect(try await cluster.node.child.exitCode() == 0)
        }
    }

    /// There is nothing to read again: an operator who is used to other daemons does no harm.
    @Test(arguments: [(SIGHUP, "SIGHUP"), (SIGUSR1, "SIGUSR1"), (SIGUSR2, "SIGUSR2")])
    func signalsForOtherDaemonsAreToldAndIgnored(number: Int32, name: String) async throws {
        try await Cluster.with { cluster in
            let room = cluster.room()
            let client = try await cluster.node.connect(room)
            try await cluster.node.child.signal(number)
            try await eventually("it is told") {
                cluster.node.child.errorOutput.contains(
                    "warning signal ignored signal=\(name) drain_by=SIGTERM")
            }
            try await cluster.redis.publish(room: room, "1")
            #expect(try await client.next() == .text("1"))
            #expect(try await cluster.node.ready().status == 200)
        }
    }

    @Test func killedNodeTakesNobodyElseWithIt() async throws {
        try await Cluster.with(nodes: 2) { cluster in
            let room = cluster.room()
            let token = try await cluster.nodes[1].token()
            let staying = try await cluster.nodes[0].connect(room)
            let orphan = try await cluster.nodes[1].connect(room, token: token)
            try await cluster.nodes[1].child.signal(SIGKILL)
            #expect(try await cluster.nodes[1].child.exitCode() == Int(-SIGKILL))
            #expect(try await orphan.closed()?.code == 1006)
            // The same token goes on where there is a node.
            let again = try await cluster.nodes[0].connect(room, token: token)
            #expect(try await cluster.redis.publish(room: room, "1") == 1)
            for client in [staying, again] { #expect(try await client.next() == .text("1")) }
            #expect(try await cluster.nodes[0].heartbeat(token).status == 200)
            #expect(try await cluster.nodes[0].ready().status == 200)
        }
    }
}
