import Testing

@testable import RedisSchema

@Suite struct HistoryPositionTests {
    @Test(arguments: [
        "k3f9x2ab.1795969278590-57", "00000000.0-0", "zzzzzzzz.9999999999999999-9999999999999999",
    ])
    func writtenAsItWasRead(text: String) throws {
        let position = try #require(HistoryPosition(text))
        #expect(position.description == text)
        #expect(text.utf8.count <= 42)
    }

    @Test(arguments: [
        "", ".", "k3f9x2ab", "k3f9x2ab.", "k3f9x2a.1-1", "k3f9x2abc.1-1", "K3f9x2ab.1-1", "k3f9x2a-.1-1",
        "k3f9x2ab-1-1", "k3f9x2ab.1", "k3f9x2ab.01-1", "k3f9x2ab.1-1,", "k3f9x2ab..1-1", "k3f9x2aé.1-1",
    ])
    func otherFormsAreRefused(text: String) {
        #expect(HistoryPosition(text) == nil)
    }

    @Test func madeEpochsHaveTheForm() {
        var random = SystemRandomNumberGenerator()
        for _ in 0..<100 {
            let epoch = HistoryEpoch.make(using: &random)
            #expect(HistoryEpoch(epoch.description) == epoch)
            #expect(HistoryEpoch(epoch.bytes) == epoch)
        }
    }
}
