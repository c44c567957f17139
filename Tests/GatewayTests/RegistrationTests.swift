import TestSupport
import Testing

@testable import Gateway

@Suite struct RegistrationTests {
    private func registration(_ bytes: [UInt8]) -> Registration {
        bytes.withUnsafeBytes { Registration(attached: $0, defaultTTLSeconds: 60) }
    }

    @Test func textOfTheScriptIsRead() {
        let registration = registration([UInt8]("90 true 17 1700000000000001 1 5 a,b cme 2"))
        #expect(registration.isPending)
        let record = registration.record
        #expect(record.ttlSeconds == 90 && record.isLogin && record.issuedAt == 17)
        #expect(record.order == 1_700_000_000_000_001)
        #expect(record.allowedRooms == [UInt8]("a,b c") && record.identity == [UInt8]("me 2"))
    }

    /// A record may hold anything, and what is made of it goes on to the clock and back to Redis.
    @Test(arguments: SeededRandom.seeds)
    func anyTextMakesARegistration(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let words = [
            "9223372036854775807", "-9223372036854775808", "99999999999999999999", "", "0", "-1", "nan",
            "true",
        ]
        for _ in 0..<2_000 {
            var bytes: [UInt8] = []
            for _ in 0..<Int.random(in: 0...7, using: &random) {
                bytes +=
                    Bool.random(using: &random)
                    ? [UInt8](words.randomElement(using: &random)!)
                    : random.bytes(Int.random(in: 0...30, using: &random))
                bytes.append(UInt8(ascii: " "))
            }
            let record = registration(bytes).record
            #expect((1...Limits.recordLifeSeconds).contains(Int64(record.ttlSeconds)))
            for remaining in [Int64.min, -2, 0, 1, .max] {
                _ = HeartbeatClock.decide(
                    ttlSeconds: Int64(record.ttlSeconds), remainingMilliseconds: remaining,
                    timeout: .seconds(30))
            }
        }
    }
}
