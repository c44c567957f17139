// How slow the machine is: what an upper bound on a duration has to leave it.
import Foundation

/// The slowest of many round trips to a process that has nothing to do with the test.
struct Pace: Sendable {
    private let slowest: Duration

    /// Runs `body` while a bystander, a gateway without clients or Redis, answers one request after the
    /// other. It competes for the machine as the node under test does; what that node is busy with is no
    /// excuse of the bystander.
    static func during<Result>(
        _ driver: Driver, _ redis: RedisServer, _ body: () async throws -> Result
    ) async throws -> (Result, Pace) {
        let bystander = try await GatewayNode(
            driver, id: "bystander-\(UUID().uuidString.prefix(8))", redis: redis, url: "redis://127.0.0.1:1",
            workers: 1, awaitReady: false)
        let probing = Task {
            var slowest = Duration.zero
            while !Task.isCancelled {
                let asked = ContinuousClock.now
                _ = try await bystander.get("/nowhere")
                slowest = max(slowest, ContinuousClock.now - asked)
                try? await Task.sleep(for: .milliseconds(20))
            }
            return slowest
        }
        let outcome: Result
        do { outcome = try await body() } catch {
            probing.cancel()
            throw error
        }
        probing.cancel()
        let slowest = try await probing.value
        try await bystander.child.signal(SIGKILL)
        _ = try await bystander.child.exitCode()
        return (outcome, Pace(slowest: slowest))
    }

    /// What may be measured where the product takes `limit` at most: it waits for the processor a few times,
    /// for its timer, for Redis, for the test that looks at the clock.
    func allows(_ limit: Duration) -> Duration { limit + slowest * 5 }
}
