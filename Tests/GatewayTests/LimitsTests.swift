import Testing

@testable import Gateway

@Suite struct LimitsTests {
    @Test(arguments: Limits.relations) func limitsAgree(_ relation: Limits.Relation) {
        #expect(relation.holds, "\(relation.reason)")
    }

    @Test func gatewayDoesNotStartWithLimitsThatContradictEachOther() async throws {
        await #expect(processExitsWith: .success) { Limits.check() }
        let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
            Limits.check([
                Limits.Relation(true, "the first holds"), Limits.Relation(false, "the second does not"),
            ])
        }
        let text = String(decoding: try #require(result).standardErrorContent, as: UTF8.self)
        #expect(text.contains("the second does not"), "\(text)")
    }
}
