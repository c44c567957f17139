// The results of a run under stable names: the object that --json prints. Pure.

import RedisSchema

/// Percentiles in microseconds; all 0 when `count` is.
struct LatencyReport: Codable, Equatable, Sendable {
    let count: UInt64
    let p50, p90, p99, p999, max: Double

    /// - Parameter histogram: of nanoseconds.
    init(_ histogram: Histogram) {
        func microseconds(_ share: Double) -> Double { Double(histogram.value(at: share)) / 1000 }
        count = histogram.count
        p50 = microseconds(0.5)
        p90 = microseconds(0.9)
        p99 = microseconds(0.99)
        p999 = microseconds(0.999)
        max = Double(histogram.maximum) / 1000
    }
}

/// CPU time of a group of processes in the measured phase, in seconds.
struct CpuReport: Codable, Equatable, Sendable {
    let userSeconds, systemSeconds: Double
    /// nil without deliveries.
    let userSecondsPerMillionDeliveries, systemSecondsPerMillionDeliveries: Double?

    init(_ time: CpuTime, deliveries: Int) {
        userSeconds = time.userSeconds
        systemSeconds = time.systemSeconds
        let millions = Double(deliveries) / 1e6
        userSecondsPerMillionDeliveries = deliveries > 0 ? time.userSeconds / millions : nil
        systemSecondsPerMillionDeliveries = deliveries > 0 ? time.systemSeconds / millions : nil
    }
}

/// Everything that a run found out.
struct RunReport: Codable, Equatable, Sendable {
    struct Setting: Codable, Equatable, Sendable {
        let gateways: [String]
        let clients, processes, rooms, roomsPerClient, payloadBytes: Int
        let heartbeatConnections: LoadPlan.HeartbeatConnections
        let ratePerSecond: Double?
        let window: Int?
    }

    struct Tokens: Codable, Equatable, Sendable {
        var issued = 0
        var failures: [String: Int] = [:]
        /// Requests that the server postponed (Retry-After) and that were made again.
        var postponed: [String: Int] = [:]
    }

    struct Handshakes: Codable, Equatable, Sendable {
        var opened = 0
        var failures: [String: Int] = [:]
        /// Attempts that the server postponed (Retry-After) and that were made again.
        var postponed: [String: Int] = [:]
        var seconds = 0.0
        var perSecond = 0.0
        var latencyMicroseconds = LatencyReport(Histogram())
    }

    struct Messages: Codable, Equatable, Sendable {
        var published = 0
        var measured = 0
        var perSecond = 0.0
        /// nil where nobody counts the nodes.
        var reachedNoNode: Int? = 0
        var refused = 0
        var lagMicroseconds = LatencyReport(Histogram())

        /// What is not known is null, and not left out.
        func encode(to encoder: any Encoder) throws {
            var container = encoder.container(keyedBy: CodingKeys.self)
            try container.encode(published, forKey: .published)
            try container.encode(measured, forKey: .measured)
            try container.encode(perSecond, forKey: .perSecond)
            try container.encode(reachedNoNode, forKey: .reachedNoNode)
            try container.encode(refused, forKey: .refused)
            try container.encode(lagMicroseconds, forKey: .lagMicroseconds)
        }
    }

    struct Deliveries: Codable, Equatable, Sendable {
        var checked = DeliveryCounts()
        var measured = 0
        var perSecond = 0.0
        var latencyMicroseconds = LatencyReport(Histogram())
    }

    struct Connections: Codable, Equatable, Sendable {
        var serverCloses: [String: Int] = [:]
        var slow = 0
        var slowCloses: [String: Int] = [:]
        var churned = 0
        var churnFailures: [String: Int] = [:]
        var churnPostponed: [String: Int] = [:]
    }

    /// Of clients that went to another gateway.
    struct Failover: Codable, Equatable, Sendable {
        var lost: [String: Int]
        var returned: Int
        /// Failed attempts in between.
        var refusals: [String: Int]
        /// From the first loss to the last return.
        var seconds: Double
        /// From a client's loss to its return.
        var absenceMicroseconds: LatencyReport

        init(_ report: FailoverReport) {
            lost = report.lost
            returned = report.returnedCount
            refusals = report.refusals
            seconds = Double(max(0, report.lastReturnAt - report.firstLossAt)) / 1e9
            absenceMicroseconds = LatencyReport(report.absence)
        }
    }

    struct Heartbeats: Codable, Equatable, Sendable {
        var sent = 0
        var failures: [String: Int] = [:]
        /// HTTP connections, for tokens and beats, from the start of the run.
        var connections = 0
    }

    /// The processes of --pids.
    struct Server: Codable, Equatable, Sendable {
        var pids: [Int]
        var cpu: CpuReport
        var handshakeCpuMicroseconds: Double?
        var residentBytesBefore, residentBytesConnected, residentBytesAtEnd: Int
        var residentBytesPerConnection: Double?
        var proportionalBytesPerConnection: Double?
    }

    let version: String
    let run: String
    let setting: Setting
    var measuredSeconds = 0.0
    var tokens = Tokens()
    var handshakes = Handshakes()
    var messages = Messages()
    var deliveries = Deliveries()
    var connections = Connections()
    var failover: Failover?
    var heartbeats = Heartbeats()
    var server: Server?
    var tool: CpuReport?
    /// What went wrong, in words; empty when all went well.
    var problems: [String] = []
    var isInterrupted = false
    var exitCode: Int32 = 0

    init(_ plan: LoadPlan, run: UInt32) {
        version = Roomcast.version
        self.run = String(run, radix: 16)
        var rate: Double?
        if case .rate(let count) = plan.pace { rate = count }
        setting = Setting(
            gateways: plan.load.gateways, clients: plan.clientCount, processes: plan.processCount,
            rooms: plan.load.assignment.roomCount, roomsPerClient: plan.load.assignment.roomsPerClient,
            payloadBytes: plan.load.payloadBytes, heartbeatConnections: plan.load.heartbeatConnections,
            ratePerSecond: rate,
            window: plan.load.window > 0 ? plan.load.window : nil)
    }

    mutating func add(_ report: TokenReport) {
        tokens.issued += report.issuedCount
        tokens.failures += report.failures
        tokens.postponed += report.postponed
    }

    mutating func add(_ outcome: PublishOutcome) {
        messages.published = outcome.publishedCount
        messages.measured = outcome.measuredCount
        messages.reachedNoNode = outcome.result.unheardCount
        messages.refused = outcome.result.refusedCount
        messages.lagMicroseconds = LatencyReport(outcome.lag)
        if let failure = outcome.failure { problems.append("publishing ended early: \(failure)") }
        if let refusal = outcome.result.refusal { problems.append("a message was refused: \(refusal)") }
    }

    /// Adds the reports of all load processes.
    mutating func add(_ reports: [HolderReport]) {
        var latency = Histogram()
        var failover: FailoverReport?
        for report in reports {
            if let part = report.failover {
                var sum = failover ?? FailoverReport()
                sum += part
                failover = sum
            }
            latency.merge(report.latency)
            deliveries.checked += report.deliveries
            deliveries.measured += report.measuredCount
            connections.serverCloses += report.serverCloses
            connections.slow += report.slowCount
            connections.slowCloses += report.slowCloses
            connections.churned += report.churnedCount
            connections.churnFailures += report.churnFailures
            connections.churnPostponed += report.churnPostponed
            heartbeats.sent += report.heartbeatCount
            heartbeats.failures += report.heartbeatFailures
            heartbeats.connections += report.httpConnectionCount
        }
        self.failover = failover.map(Failover.init)
        deliveries.latencyMicroseconds = LatencyReport(latency)
    }

    /// Adds what can be said once everything is known: sentences for what went wrong, and the exit code
    /// unless a graver one was found before.
    mutating func judge() {
        func name(_ failures: [String: Int], _ what: String) {
            for (reason, count) in failures.sorted(by: { $0.key < $1.key }) {
                problems.append("\(count) \(what): \(reason)")
            }
        }
        name(tokens.failures, "tokens refused")
        name(handshakes.failures, "handshakes failed")
        name(connections.serverCloses, "connections ended by the server")
        name(connections.churnFailures, "returns failed")
        if let failover {
            let missing = failover.lost.values.reduce(0, +) - failover.returned
            if missing > 0 { problems.append("\(missing) clients did not come back") }
        } else {
            // Those that were under way to a gateway that is gone failed with it.
            name(heartbeats.failures, "heartbeats failed")
        }
        let checked = deliveries.checked
        for (count, what) in [
            (checked.lost, "lost"), (checked.duplicated, "duplicated"), (checked.outOfOrder, "out of order"),
            (checked.misrouted, "misrouted"), (checked.corrupt, "corrupt"),
        ] where count > 0 {
            problems.append("\(count) deliveries \(what)")
        }
        if exitCode == 0, !problems.isEmpty { exitCode = 1 }
    }
}
