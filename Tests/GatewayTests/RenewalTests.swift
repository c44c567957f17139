// Heartbeats that leave for Redis together, on a real Redis.

import Testing

@testable import Gateway

@Suite(.serialized) struct RenewalTests {
    /// With a pause that is never over, only what the test does makes them leave.
    @Test func renewalsThatComeCloseTogetherLeaveTogether() throws {
        let rig = try RegistryRig(renewalPause: .seconds(3_600))
        rig.issue()
        rig.renew { try rig.server.command("EXPIRE", rig.key, "5000") }
        rig.scenario.then { try rig.expectLife(60) }
        rig.scenario.then {
            try rig.server.command("EXPIRE", rig.key, "5000")
            for _ in 1..<Limits.renewalBatchCount { rig.renewSoon() }
        }
        let count = Limits.renewalBatchCount
        rig.scenario.step("all outcomes", until: { rig.outcomes.count == 2 + count }) {
            try rig.expectLife(5000)
            rig.renewSoon()
        }
        rig.scenario.then { try rig.expectLife(60) }
        try rig.scenario.run()
        #expect(rig.outcomes == ["issued true"] + [String](repeating: "renewed", count: 1 + count))
    }

    @Test func renewalLeavesWhenThePauseIsOver() throws {
        let rig = try RegistryRig(renewalPause: .milliseconds(1))
        rig.issue()
        for _ in 0..<20 {
            rig.ask { rig in
                let count = rig.outcomes.count
                for _ in 0..<3 { rig.renewSoon() }
                #expect(rig.outcomes.count == count)
            }
        }
        rig.scenario.step("all outcomes", until: { rig.outcomes.count == 61 })
        try rig.scenario.run()
        #expect(rig.outcomes == ["issued true"] + [String](repeating: "renewed", count: 60))
    }

    /// Any other command takes them along, behind those before it.
    @Test func renewalKeepsItsPlaceAmongOtherCommands() throws {
        let rig = try RegistryRig(renewalPause: .seconds(3_600))
        rig.issue()
        rig.renew()
        rig.scenario.then {
            try rig.server.command("EXPIRE", rig.key, "5000")
            rig.renewSoon()
        }
        rig.scenario.step("both outcomes", until: { rig.outcomes.count == 4 }) {
            rig.registry.remaining(rig.token) { remaining in
                guard case .milliseconds(let left) = remaining else { return }
                rig.outcomes.append(left <= 60_000 ? "renewed before" : "renewed behind")
            }
        }
        try rig.scenario.run()
        #expect(rig.outcomes == ["issued true", "renewed", "renewed", "renewed before"])
    }

    /// It is not done later. The first one of the next connection leaves at once.
    @Test func waitingRenewalFailsWithTheConnection() throws {
        let rig = try RegistryRig(renewalPause: .seconds(3_600))
        rig.issue()
        rig.renew()
        rig.scenario.then {
            try rig.server.command("EXPIRE", rig.key, "5000")
            rig.renewSoon()
            rig.renewSoon()
        }
        rig.up(count: 2) { try rig.server.command("CLIENT", "KILL", "TYPE", "normal") }
        rig.renew { try rig.expectLife(5000) }
        try rig.scenario.run()
        #expect(rig.outcomes == ["issued true", "renewed", "unavailable", "unavailable", "renewed"])
        try rig.expectLife(60)
    }

    @Test func stopFailsWaitingRenewals() throws {
        let rig = try RegistryRig(renewalPause: .seconds(3_600))
        rig.issue()
        rig.renew()
        rig.scenario.then { rig.renewSoon() }
        rig.ask { $0.registry.stop() }
        try rig.scenario.run()
        #expect(rig.outcomes == ["issued true", "renewed", "unavailable"])
    }
}
