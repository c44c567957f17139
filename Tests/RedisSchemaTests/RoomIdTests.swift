import Testing

@testable import RedisSchema

@Suite struct RoomIdTests {
    /// Two installations on one Redis, one of them without a prefix: no name of the one is one of the other,
    /// for every prefix that is taken, and for those that are refused there is one.
    @Test func acceptedPrefixesKeepInstallationsApart() {
        let parts = [
            "room:", "gateway:", "client:", "node:", "reply:", "roomcast:", "nodes", "a", ":", "room", "r",
            "x-_.",
        ]
        var prefixes: Set<String> = []
        for first in parts {
            for second in parts + [""] {
                for third in parts + [""] { prefixes.insert(first + second + third) }
            }
        }
        for prefix in prefixes {
            let channels = Channels(prefix: prefix)
            let (room, reply) = (RoomId("x")!, ReplyId("y")!)
            let names = [channels.room(room), channels.gateway("n1"), channels.reply(reply)]
            // A channel of the bare installation: any room, a node's, or a reply's.
            let isTaken = names.contains { name in
                let text = String(decoding: name, as: UTF8.self)
                if Channels().room(ofChannel: name) != nil { return true }
                guard text.hasPrefix("gateway:") else { return false }
                let rest = text.dropFirst("gateway:".count)
                return NodeReport.isNodeId(rest.utf8)
                    || rest.hasPrefix("reply:") && ReplyId(rest.dropFirst("reply:".count)) != nil
            }
            // Further inside, `room:` is refused for the library's sake.
            if !isTaken, prefix.contains("room:") {
                #expect(!Channels.isPrefix(prefix), "\(prefix)")
            } else {
                #expect(isTaken == !Channels.isPrefix(prefix), "\(prefix)")
            }
            let keys = Keys(prefix: prefix)
            let token = Token("ABCDEFGHIJKLMNOPQRSTUVWX")!
            let isKeyTaken = [keys.client(token), keys.node("n1"), keys.nodes].contains { key in
                let text = String(decoding: key, as: UTF8.self)
                return Keys().token(ofClient: key) != nil || key == Keys().nodes
                    || text.hasPrefix("node:") && NodeReport.isNodeId(text.dropFirst("node:".count).utf8)
            }
            #expect(!isKeyTaken, "\(prefix)")
        }
    }

    @Test func lengthIsCountedInBytes() {
        #expect(RoomId("") == nil)
        #expect(RoomId("a")?.bytes == [0x61])
        #expect(RoomId(String(repeating: "a", count: 128)) != nil)
        #expect(RoomId(String(repeating: "a", count: 129)) == nil)
        #expect(RoomId(String(repeating: "é", count: 64)) != nil)
        #expect(RoomId(String(repeating: "é", count: 65)) == nil)
        #expect(Identity("") == nil)
        #expect(Identity(String(repeating: "a", count: 256)) != nil)
        #expect(Identity(String(repeating: "a", count: 257)) == nil)
    }

    /// Clients name rooms in a list: none could be in such a room.
    @Test func commasAreForIdentitiesOnly() {
        for text in [",", "a,b", "a,"] {
            #expect(RoomId(text) == nil)
            #expect(Identity(text) != nil)
        }
        #expect(Channels.isPrefix("a,b:"))
    }

    @Test func controlCharactersAreRefused() {
        for value in Array(0..<0x20) + Array(0x7F..<0xA0) as [UInt32] {
            let text = "a\(UnicodeScalar(value).map(String.init) ?? "")b"
            #expect(text.unicodeScalars.count == 3)
            #expect(RoomId(text) == nil, "U+\(String(value, radix: 16))")
            #expect(Identity(text) == nil, "U+\(String(value, radix: 16))")
        }
        for text in [" ", "~", "\u{A0}", "\u{C0}", "房间", "🎉", "*"] { #expect(RoomId(text) != nil) }
    }

    @Test(
        arguments: [
            [0xFF], [0xC3], [0xC0, 0x80], [0xED, 0xA0, 0x80], [0xF4, 0x90, 0x80, 0x80], [0x61, 0x80],
        ] as [[UInt8]])
    func whatIsNotUTF8IsRefused(_ bytes: [UInt8]) {
        #expect(RoomId(bytes) == nil)
        #expect(Identity(bytes) == nil)
    }

    @Test func canonicallyEquivalentTextsAreDifferentRooms() {
        let composed = "caf\u{E9}"
        let decomposed = "cafe\u{301}"
        #expect(composed == decomposed)
        #expect(RoomId(composed) != RoomId(decomposed))
    }

    @Test func channelsAndKeysCarryThePrefix() throws {
        let room = try #require(RoomId("lobby"))
        let token = try #require(Token("ABCDEFGHIJKLMNOPQRSTUVWX"))
        #expect(String(decoding: Channels().room(room), as: UTF8.self) == "room:lobby")
        #expect(String(decoding: Channels(prefix: "s:").room(room), as: UTF8.self) == "s:room:lobby")
        #expect(String(decoding: Channels(prefix: "s:").gateway("n1"), as: UTF8.self) == "s:gateway:n1")
        for (keys, expected) in [
            (Keys(), "client:ABCDEFGHIJKLMNOPQRSTUVWX"),
            (Keys(prefix: "s:"), "s:client:ABCDEFGHIJKLMNOPQRSTUVWX"),
        ] {
            var key: [UInt8] = []
            keys.appendClient(token, to: &key)
            #expect(String(decoding: key, as: UTF8.self) == expected)
            #expect(key.count == keys.clientBytes)
        }
    }

    @Test func roomsAreReadBackFromTheirChannels() throws {
        let channels = Channels(prefix: "s:")
        let room = try #require(RoomId("lobby"))
        #expect(channels.room(ofChannel: channels.room(room)) == room)
        #expect(channels.room(ofChannel: Array("room:lobby".utf8)) == nil)
        #expect(channels.room(ofChannel: Array("s:room:".utf8)) == nil)
        #expect(channels.room(ofChannel: Array("s:gateway:lobby".utf8)) == nil)
        #expect(channels.room(ofChannel: Array("".utf8)) == nil)
    }

    @Test func tokensAreReadBackFromTheirKeys() throws {
        let keys = Keys(prefix: "s:")
        let token = try #require(Token("AAAAbbbbCCCCdddd0000-_-_"))
        #expect(keys.client(token) == Array("s:client:\(token.text)".utf8))
        #expect(keys.token(ofClient: keys.client(token)) == token)
        for other in ["client:\(token.text)", "s:client:", "s:client:short", "s:client:\(token.text)x", ""] {
            #expect(keys.token(ofClient: Array(other.utf8)) == nil, "\(other)")
        }
    }

    @Test func globsTakeThePrefixAsItStands() {
        let pattern = { String(decoding: Keys(prefix: $0).clientPattern, as: UTF8.self) }
        #expect(pattern("") == "client:*")
        #expect(pattern("a*b?[c]^\\:") == #"a\*b\?\[c\]\^\\:client:*"#)
    }

    @Test func revocationNamesTheToken() throws {
        let token = try #require(Token("AAAAbbbbCCCCdddd0000-_-_"))
        let text = String(decoding: RevocationMessage.bytes(token), as: UTF8.self)
        #expect(text == "revoked AAAAbbbbCCCCdddd0000-_-_")
    }

    @Test func clientFieldsAreThoseOfTheContract() {
        #expect(
            ClientField.allCases.map(\.rawValue) == [
                "userId", "deviceId", "isLogin", "issuedAt", "ttl", "node", "ip", "rooms", "connectedAt",
                "connection", "order", "allotted", "allowedRooms",
            ])
    }
}
