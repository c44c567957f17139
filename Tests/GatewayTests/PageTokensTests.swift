import EventLoop
import RedisSchema
import Testing

@testable import Gateway

@Suite struct PageTokensTests {
    private let start = MonotonicInstant(nanoseconds: 1_000_000_000)

    private func token(_ number: Int) -> Token {
        let digits = String(number)
        return Token(String(repeating: "A", count: Token.byteCount - digits.count) + digits)!
    }

    @Test func tokenIsKeptForItsLifeFromItsLastBeat() {
        var tokens = PageTokens(life: .seconds(35))
        tokens.keep(token(1), now: start)
        #expect(tokens.contains(token(1), now: start + .seconds(34)))
        #expect(!tokens.contains(token(1), now: start + .seconds(35)))
        #expect(!tokens.contains(token(2), now: start))
        tokens.renew(token(1), now: start + .seconds(30))
        #expect(tokens.contains(token(1), now: start + .seconds(64)))
        tokens.renew(token(2), now: start)
        #expect(!tokens.contains(token(2), now: start), "a client's token does not become one by beating")
    }

    @Test func beatAfterTheEndBringsNothingBack() {
        var tokens = PageTokens(life: .seconds(35))
        tokens.keep(token(1), now: start)
        tokens.renew(token(1), now: start + .seconds(40))
        #expect(!tokens.contains(token(1), now: start + .seconds(41)))
    }

    @Test func theirNumberIsBounded() {
        var tokens = PageTokens(life: .seconds(35))
        for number in 0...Limits.pageTokenCount {
            tokens.keep(token(number), now: start + .milliseconds(number))
        }
        let now = start + .milliseconds(Limits.pageTokenCount)
        #expect(!tokens.contains(token(0), now: now))
        #expect((1...Limits.pageTokenCount).allSatisfy { tokens.contains(token($0), now: now) })
    }
}
