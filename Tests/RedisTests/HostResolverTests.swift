import EventLoop
import TestSupport
import Testing

@testable import Redis

@Suite struct HostResolverTests {
    @Test(arguments: [
        ("127.0.0.1", true), ("::1", true), ("2001:db8::1", true), ("localhost", false), ("", false),
        ("redis.example", false),
    ])
    func numericAddressesNeedNoLookUp(host: String, isNumeric: Bool) {
        #expect(HostResolver.isNumeric(host) == isNumeric)
    }

    @Test func outcomesComeToTheMailboxWithTheirAttempt() throws {
        let scenario = try Scenario()
        let mailbox = Mailbox<(Int, HostResolver.Outcome)>()
        var outcomes: [Int: HostResolver.Outcome] = [:]
        mailbox.open(on: scenario.loop) { for (attempt, outcome) in $0 { outcomes[attempt] = outcome } }
        // A label over 63 bytes: refused by the resolver itself, no name server is asked.
        let unknown = String(repeating: "x", count: 64)
        scenario.step("both outcomes", until: { outcomes.count == 2 }) {
            HostResolver.resolve("localhost", attempt: 7, to: mailbox)
            HostResolver.resolve(unknown, attempt: 8, to: mailbox)
        }
        try scenario.run()
        #expect(outcomes[7] == .success("127.0.0.1"))
        #expect(outcomes[8] == .failure(.unavailable("cannot resolve host name \(unknown)")))
    }
}
