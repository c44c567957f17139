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

    /// By itself: what the link asks now and then would take it along. If that happened, or the pause was over too
    /// early, it is done again.
    @Test func renewalLeavesWhenThePauseIsOver() throws {
        let rig = try RegistryRig(renewalPause: .milliseconds(300))
        rig.issue()
        var (count, calls, isBatch, hasWaited) = (1, 0, false, false)
        func renewAtOnce() {
            rig.renewSoon()
            (count, isBatch, hasWaited) = (count + 1, false, false)
        }
        func renewLater() throws {
            try rig.server.command("EXPIRE", rig.key, "5000")
            calls = try rig.callCount()
            for _ in 0..<2 { rig.renewSoon() }
            (count, isBatch) = (count + 2, true)
        }
        rig.scenario.step(
            "a batch leaves by itself",
            until: {
                if isBatch, try rig.seconds() > 60 { hasWaited = true }
                guard rig.outcomes.count == count else { return false }
                if !isBatch {
                    try renewLater()
                } else if try hasWaited && rig.callCount() == calls + 2 {
                    return true
                } else {
                    renewAtOnce()
                }
                return false
            }, renewAtOnce)
        try rig.scenario.run()
        #expect(rig.outcomes == ["issued true"] + [String](repeating: "renewed", count: count - 1))
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
        rig.scenario.then { try rig.expectLife(5000) }
        try rig.scenario.run()
        #expect(rig.outcomes == ["issued true", "renewed", "unavailable", "unavailable"])
    }

    /// Whatever waited over the one before. What the link asks by itself could take it along: then it is done again.
    @Test func firstRenewalOfAConnectionLeavesAtOnce() throws {
        let rig = try RegistryRig(renewalPause: .seconds(3_600))
        rig.issue()
        rig.renew()
        var isAlone = false
        for round in 2..<7 {
            rig.scenario.then { if !isAlone { rig.renewSoon() } }
            rig.up(count: round) { try rig.server.command("CLIENT", "KILL", "TYPE", "normal") }
            // Behind what the connection asks at first.
            rig.remaining()
            var calls = 0
            rig.renew { calls = try rig.callCount() }
            rig.scenario.then { if try rig.callCount() == calls + 1 { isAlone = true } }
        }
        try rig.scenario.run()
        #expect(isAlone)
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
