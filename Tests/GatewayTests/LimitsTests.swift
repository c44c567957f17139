import Testing

@testable import Gateway

@Suite struct LimitsTests {
    @Test(arguments: Limits.relations.map { ($0.holds, $0.reason) })
    func limitsAgree(holds: Bool, reason: String) {
        #expect(holds, "\(reason)")
    }

    @Test func gatewayDoesNotStartWithLimitsThatContradictEachOther() async throws {
        await #expect(processExitsWith: .success) { Limits.check() }
        let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
            Limits.check([(true, "the first holds"), (false, "the second does not")])
        }
        let text = String(decoding: try #require(result).standardErrorContent, as: UTF8.self)
        #expect(text.contains("the second does not"), "\(text)")
    }
}
