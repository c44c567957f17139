import EventLoop
import Synchronization
import TestSupport
import Testing

@testable import Redis

@Suite struct HostResolverTests {
    @Test(arguments: [
        ("127.0.0.1", true), ("::1", true), ("2001:db8::1", true), ("localhost", false), ("", false),
        ("redis.example", false),
    ])
    func numericAddressesNeedNoLookUp(host: String, isNumeric: Bool) {
        #expect(HostAddresses.isNumeric(host) == isNumeric)
    }

    @Test func outcomesComeToTheMailboxWithTheirAttempt() throws {
        let scenario = try Scenario()
        let mailbox = Mailbox<(Int, HostResolver.Outcome)>()
        var outcomes: [Int: HostResolver.Outcome] = [:]
        let other = Mailbox<(Int, HostResolver.Outcome)>()
        for mailbox in [mailbox, other] {
            mailbox.open(on: scenario.loop) { for (attempt, outcome) in $0 { outcomes[attempt] = outcome } }
        }
        // A label over 63 bytes: refused by the resolver itself, no name server is asked.
        let unknown = String(repeating: "x", count: 64)
        scenario.step("both outcomes", until: { outcomes.count == 2 }) {
            HostResolver.shared.resolve("localhost", attempt: 7, to: mailbox)
            HostResolver.shared.resolve(unknown, attempt: 8, to: other)
        }
        try scenario.run()
        let addresses = try #require(try? outcomes[7]?.get())
        #expect(addresses.first == "127.0.0.1" && Set(addresses).count == addresses.count)
        #expect(outcomes[8] == .failure(.unavailable("cannot resolve host name \(unknown)")))
    }

    /// A name server that is away holds a look-up for seconds.
    private final class HangingResolver: Sendable {
        let gate = Gate()
        let startedCount = Mutex(0)

        /// - Parameter count: how many look-ups hang until the gate opens.
        func resolver(hanging count: Int) -> HostResolver {
            HostResolver { [self] host in
                let number = startedCount.withLock { started in
                    started += 1
                    return started
                }
                guard number <= count else { return ["::1", "127.0.0.2"] }
                try? gate.wait(for: "the end of the test")
                return []
            }
        }
    }

    @Test func lookUpThatHangsHoldsUpNoOther() throws {
        let hanging = HangingResolver()
        defer { hanging.gate.open() }
        let scenario = try Scenario()
        let resolver = hanging.resolver(hanging: 1)
        let lookups = (0..<3).map { _ in AddressLookup(on: scenario.loop, resolver: resolver) }
        var found: [Int: [RedisURL.Address]] = [:]
        func ask(_ index: Int) {
            lookups[index].start(.tcp(host: "redis", port: 1)) { outcome in
                if case .success(let addresses) = outcome { found[index] = addresses }
            }
        }
        let begin = MonotonicInstant.now
        scenario.step("one hangs", until: { hanging.startedCount.withLock { $0 } == 1 }) {
            ask(0)
            ask(1)
        }
        let isNewOneDue = { MonotonicInstant.now - begin > HostResolver.sharingTime + .milliseconds(200) }
        scenario.step("it is no longer as good as a new one", until: isNewOneDue)
        // Of another one's question the answer is one for those that waited before, too.
        scenario.step("all are answered", until: { found.count == 3 }) { ask(2) }
        try scenario.run()
        #expect(Set(found.values) == [[.tcp(host: "::1", port: 1), .tcp(host: "127.0.0.2", port: 1)]])
        #expect(hanging.startedCount.withLock { $0 } == 2, "those that ask together share one look-up")
    }

    @Test func threadsAreBoundedHoweverManyNamesHang() throws {
        let hanging = HangingResolver()
        let scenario = try Scenario()
        let resolver = hanging.resolver(hanging: HostResolver.maximumLookupCount)
        var outcomes: [Int: Bool] = [:]
        var lookups: [AddressLookup] = []
        let most = HostResolver.maximumLookupCount
        scenario.step("the threads hang", until: { hanging.startedCount.withLock { $0 } == most }) {
            for index in 0..<40 {
                let lookup = AddressLookup(on: scenario.loop, resolver: resolver)
                lookups.append(lookup)
                lookup.start(.tcp(host: "redis-\(index)", port: 1)) { outcome in
                    if case .success = outcome { outcomes[index] = true } else { outcomes[index] = false }
                }
            }
            #expect(resolver.lookupCount == most)
        }
        scenario.step("all are answered", until: { outcomes.count == 40 }) { hanging.gate.open() }
        try scenario.run()
        #expect(outcomes.values.count { !$0 } == most)
        #expect(hanging.startedCount.withLock { $0 } == 40)
    }

    /// The console makes its connection anew each time that it is looked at.
    @Test func connectionsThatComeAndGoLeaveNothingOnTheLoop() throws {
        let scenario = try Scenario()
        let server = try RedisServer()
        let before = scenario.loop.mailboxCount
        for _ in 0..<3 {
            var connection: RedisConnection?
            var isUp = false
            scenario.step("up", until: { isUp }) {
                let url = try RedisURL("redis://localhost:\(server.port)")
                connection = RedisConnection(
                    url: url, clientName: "rig", timeout: .seconds(5), loop: scenario.loop)
                connection?.onUp = { _ in isUp = true }
                connection?.start()
            }
            scenario.then {
                connection?.stop()
                connection = nil
                #expect(scenario.loop.mailboxCount == before)
            }
        }
        try scenario.run()
    }
}
