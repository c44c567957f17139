import HTTP
import TestSupport
import Testing

@testable import WebSocket

/// What a handshake with these field lines is answered, with or without zlib: only words.
private func answer(_ values: [String]) throws -> String? {
    let fields = [
        "Host: a", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ]
    let lines = fields + values.map { "Sec-WebSocket-Extensions: \($0)" }
    let request = (["GET /ws HTTP/1.1"] + lines).map { $0 + "\r\n" }.joined() + "\r\n"
    let parsed = withRaw(request) { HttpRequestHead.parse($0, maximumBytes: 8192) }
    guard case .complete(let head) = parsed else {
        Issue.record("not even a request head")
        return nil
    }
    var output: [UInt8] = []
    try WebSocketHandshake(head, acceptsCompression: true).appendResponse(to: &output)
    guard case .complete(let response) = withRaw(output, { HttpResponseHead.parse($0, maximumBytes: 999) })
    else {
        Issue.record("not a response head")
        return nil
    }
    #expect(response.fields.count(of: "Sec-WebSocket-Extensions") <= 1)
    return response.fields.value(of: "Sec-WebSocket-Extensions")
}

private let agreed = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"

@Suite struct PermessageDeflateTests {
    @Test(arguments: [
        "permessage-deflate", "permessage-deflate; client_max_window_bits",
        "permessage-deflate; client_max_window_bits=8", "permessage-deflate;client_max_window_bits=15",
        "permessage-deflate; server_no_context_takeover",
        "permessage-deflate ; client_no_context_takeover\t;\tserver_no_context_takeover",
        #"permessage-deflate; client_max_window_bits="10""#,
        #"permessage-deflate; client_max_window_bits="1\0""#,
        "permessage-bzip2; level=9, permessage-deflate", "x-webkit-deflate-frame, permessage-deflate",
        ", permessage-deflate,", "permessage-deflate; mode=fast, permessage-deflate",
        "permessage-deflate; server_max_window_bits=11, permessage-deflate; server_no_context_takeover",
        #"other; text="abc", permessage-deflate"#,
    ])
    func offerIsAccepted(_ offer: String) throws {
        #expect(try answer([offer]) == agreed)
    }

    /// The window of ours is 4 KiB; a client may ask for no larger one than it wants to keep.
    @Test(arguments: 12...15)
    func windowIsHonoured(bits: Int) throws {
        let named = agreed + "; server_max_window_bits=12"
        #expect(try answer(["permessage-deflate; server_max_window_bits=\(bits)"]) == named)
        #expect(
            try answer([
                "permessage-deflate; server_max_window_bits=\(bits); client_max_window_bits=\(bits)"
            ]) == named)
        // The first that can be accepted is, whatever stands behind it.
        #expect(
            try answer([
                "permessage-deflate; server_max_window_bits=9",
                "permessage-deflate; server_max_window_bits=\(bits), permessage-deflate",
            ]) == named)
    }

    @Test(arguments: [
        "", "permessage-bzip2", "PERMESSAGE-DEFLATE", "x-webkit-deflate-frame",
        // Parameters that are unknown, repeated, or without a proper value.
        "permessage-deflate; unknown", "permessage-deflate; server_no_context_takeover=1",
        "permessage-deflate; client_no_context_takeover=true",
        "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
        "permessage-deflate; client_max_window_bits; client_max_window_bits=10",
        "permessage-deflate; client_max_window_bits=7", "permessage-deflate; client_max_window_bits=16",
        "permessage-deflate; client_max_window_bits=010", "permessage-deflate; client_max_window_bits=+10",
        "permessage-deflate; client_max_window_bits=ten", "permessage-deflate; server_max_window_bits",
        "permessage-deflate; server_max_window_bits=16", "permessage-deflate; server_max_window_bits=012",
        // A window that is smaller than ours.
        "permessage-deflate; server_max_window_bits=8", "permessage-deflate; server_max_window_bits=11",
        // What breaks the grammar (RFC 6455 section 9.1).
        "permessage-deflate;", "permessage-deflate; =1", "permessage-deflate; client_max_window_bits=",
        "permessage-deflate, ,;;=", "permessage-deflate; a=\"b", "permessage-deflate; a=\"b c\"",
        "permessage-deflate x", "permessage-deflate; client_max_window_bits=\"\"", "=",
        "\"permessage-deflate\"",
        #"other; text="a, permessage-deflate, b""#, "permessage-deflate; client_max_window_bits=\"1\\",
    ])
    func offerIsDeclined(_ offer: String) throws {
        #expect(try answer([offer]) == nil)
    }

    @Test func fieldsAreOneList() throws {
        #expect(try answer([]) == nil)
        #expect(try answer(["foo; bar=1", "permessage-deflate"]) == agreed)
        #expect(try answer(["foo; ", "permessage-deflate"]) == nil, "what is malformed spoils all of it")
    }

    @Test func nothingIsAnsweredUnlessItIsAccepted() throws {
        let request =
            "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            + "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            + "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
        let parsed = withRaw(request) { HttpRequestHead.parse($0, maximumBytes: 8192) }
        guard case .complete(let head) = parsed else {
            Issue.record("not a request head")
            return
        }
        #expect(try WebSocketHandshake(head).compression == nil)
        #expect(try WebSocketHandshake(head, acceptsCompression: true).compression != nil)
    }

    // MARK: A client's side

    private func isCompressed(_ extensions: [String], offers: Bool = true) throws(ClientHandshakeError)
        -> Bool
    {
        let client = withRaw(Array("the sample nonce".utf8)) {
            ClientHandshake(nonce: $0, offersCompression: offers)
        }
        let lines =
            [
                "HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade",
                "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
            ] + extensions.map { "Sec-WebSocket-Extensions: \($0)" }
        let response = lines.map { $0 + "\r\n" }.joined() + "\r\n"
        let parsed = withRaw(response) { HttpResponseHead.parse($0, maximumBytes: 999) }
        guard case .complete(let head) = parsed else { throw .malformed }
        return try client.verify(head)
    }

    @Test func clientTakesOnlyWhatItHasOffered() throws {
        #expect(try isCompressed([agreed]))
        #expect(try isCompressed(["permessage-deflate; server_no_context_takeover"]))
        #expect(try !isCompressed([]))
        #expect(try !isCompressed([], offers: false))
        for answer in [
            "permessage-deflate", agreed + "; server_max_window_bits=12",
            agreed + "; client_max_window_bits=12",
            agreed + "; client_no_context_takeover", agreed + ", permessage-deflate", "foo", "",
            "permessage-deflate; server_no_context_takeover=1", agreed + ";",
        ] {
            #expect(throws: ClientHandshakeError.malformed, "\(answer)") { try isCompressed([answer]) }
        }
        #expect(throws: ClientHandshakeError.malformed) { try isCompressed([agreed, agreed]) }
        #expect(throws: ClientHandshakeError.malformed) { try isCompressed([agreed], offers: false) }
    }

    @Test func offerIsOneThatTheServerTakes() throws {
        let client = withRaw(Array("the sample nonce".utf8)) {
            ClientHandshake(nonce: $0, offersCompression: true)
        }
        var request: [UInt8] = []
        client.appendRequest(target: "/ws", host: "a", to: &request)
        #expect(
            text(request).contains(
                "\r\nSec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n"))
        #expect(try answer([PermessageDeflate.offer]) == agreed)
    }
}
