import RedisSchema
import Testing

@testable import Gateway

@Suite struct ControlMessageTests {
    private let token = "AAAAbbbbCCCCdddd0000-_-_"

    @Test func replacementNamesTokenAndConnection() throws {
        let expected = ControlMessage.replaced(try #require(Token(token)), connection: 42)
        #expect(ControlMessage("replaced \(token) 42") == expected)
        let highest = ControlMessage("replaced \(token) \(UInt64.max)")
        #expect(highest == .replaced(try #require(Token(token)), connection: .max))
    }

    @Test func revocationNamesTheToken() throws {
        let token = try #require(Token(token))
        #expect(ControlMessage("revoked \(token.text)") == .revoked(token))
        let sent = String(decoding: RevocationMessage.bytes(token), as: UTF8.self)
        #expect(ControlMessage(sent) == .revoked(token), "as the publisher sends it")
    }

    @Test func questionForRoomsNamesItsReplyChannel() throws {
        #expect(ControlMessage("rooms a-Z_9") == .rooms(reply: try #require(ReplyId("a-Z_9"))))
        let tooLong = "rooms " + String(repeating: "a", count: 65)
        for text in ["rooms", "rooms ", "rooms a b", "rooms a:b", "rooms *", "Rooms a", tooLong] {
            #expect(ControlMessage(text) == nil, "\(text)")
        }
    }

    @Test func slotEchoNamesTheStartOfTheNode() {
        let sent = ControlMessage.slotEchoBytes(run: Array("run".utf8), number: 7)
        #expect(
            ControlMessage(String(decoding: sent, as: UTF8.self))
                == .slotEcho(run: Array("run".utf8), number: 7))
        #expect(ControlMessage("slot-echo run") == nil && ControlMessage("slot-echo run x") == nil)
    }

    @Test func anythingElseIsNone() {
        let texts = [
            "", " ", "replaced", "replaced \(token)", "replaced \(token) ", "replaced \(token) x",
            "replaced \(token) -1", "replaced \(token) 18446744073709551616", "replaced \(token) 42 ",
            " replaced \(token) 42", "replaced  \(token) 42", "Replaced \(token) 42", "removed \(token) 42",
            "replaced short 42", "replaced \(token)x 42", "replaced \(token) 42\n",
            "replaced \(token) 4\u{0}2", "revoked", "revoked ", "revoked \(token) ", "revoked \(token) 42",
            "revoked short", " revoked \(token)", "Revoked \(token)", "revoked \(token)x",
        ]
        for text in texts { #expect(ControlMessage(text) == nil, "\(text)") }
    }
}
