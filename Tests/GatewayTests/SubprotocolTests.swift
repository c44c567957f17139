import RedisSchema
import Testing

@testable import Gateway

@Suite struct SubprotocolTests {
    @Test func tokenIsTheFirstOfferThatIsOne() {
        #expect(Subprotocol.token(in: []) == nil)
        #expect(Subprotocol.token(in: ["roomcast", "chat", "tokens.a", "Token.a", "xtoken.a"]) == nil)
        #expect(Subprotocol.token(in: ["roomcast", "token.a", "token.b"]) == "a")
        #expect(Subprotocol.token(in: ["token."]) == "")
        #expect(Subprotocol.token(in: ["token.token.a"]) == "token.a")
    }

    @Test func tokenIsSentBackOnlyWhereNothingElseCanBeSelected() {
        #expect(Subprotocol.selected(of: ["roomcast", "token.a"]) == "roomcast")
        #expect(Subprotocol.selected(of: ["token.a", "roomcast"]) == "roomcast")
        #expect(Subprotocol.selected(of: ["token.a", "token.b"]) == "token.a")
        #expect(Subprotocol.selected(of: ["chat", "token.a"]) == "token.a")
        #expect(Subprotocol.selected(of: ["roomcast"]) == "roomcast")
        #expect(Subprotocol.selected(of: ["chat", "Roomcast"]) == nil)
        #expect(Subprotocol.selected(of: []) == nil)
    }
}
