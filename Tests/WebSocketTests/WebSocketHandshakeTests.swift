import HTTP
import TestSupport
import Testing

@testable import WebSocket

private let key = "dGhlIHNhbXBsZSBub25jZQ=="
private let complete = [
    "Host: a", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Key: \(key)",
    "Sec-WebSocket-Version: 13",
]

private func check(
    _ fields: [String], line: String = "GET /ws HTTP/1.1"
) -> Result<WebSocketHandshake, HandshakeError>? {
    let request = ([line] + fields).map { $0 + "\r\n" }.joined() + "\r\n"
    guard case .complete(let head) = withRaw(request, { HttpRequestHead.parse($0, maximumBytes: 8192) })
    else {
        return nil
    }
    return Result { () throws(HandshakeError) in try WebSocketHandshake(head) }
}

/// The error for the complete request with the field called `name` replaced by `fields`; nil when it is
/// accepted.
private func failure(replacing name: String, with fields: [String]) -> HandshakeError? {
    let others = complete.filter { !$0.hasPrefix(name + ":") }
    #expect(others.count == complete.count - 1)
    return failure(others + fields)
}

private func failure(_ fields: [String], line: String = "GET /ws HTTP/1.1") -> HandshakeError? {
    let result = check(fields, line: line)
    #expect(result != nil, "not even a request head")
    if case .failure(let error) = result { return error }
    return nil
}

@Suite struct WebSocketHandshakeTests {
    @Test func acceptsTheExampleOfTheStandard() throws {
        let handshake = try #require(try check(complete)?.get())
        #expect(handshake.acceptValue == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
        var output: [UInt8] = []
        handshake.appendResponse(to: &output)
        #expect(
            text(output)
                == "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                + "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
    }

    @Test func needsGetAndHttp11() {
        #expect(failure(complete) == nil)
        for line in ["POST /ws HTTP/1.1", "HEAD /ws HTTP/1.1"] {
            #expect(failure(complete, line: line) == .method)
        }
        #expect(failure(complete, line: "GET /ws HTTP/1.0") == .httpVersion)
    }

    @Test func tokensAreFoundInListsInAnyCase() {
        #expect(failure(replacing: "Upgrade", with: ["upgrade: h2c, WebSocket"]) == nil)
        #expect(failure(replacing: "Connection", with: ["Connection: keep-alive, UPGRADE"]) == nil)
        #expect(
            failure(replacing: "Connection", with: ["Connection: keep-alive", "Connection: upgrade"]) == nil)
        for value in ["", "websockets", "h2c", "web socket", "websocket/13"] {
            #expect(failure(replacing: "Upgrade", with: ["Upgrade: \(value)"]) == .upgrade, "\(value)")
        }
        for value in ["", "close", "keep-alive", "upgraded"] {
            #expect(
                failure(replacing: "Connection", with: ["Connection: \(value)"]) == .connection, "\(value)")
        }
        #expect(failure(replacing: "Upgrade", with: []) == .upgrade)
        #expect(failure(replacing: "Connection", with: []) == .connection)
    }

    @Test func keyIsSixteenBytesOnce() {
        let bad = [
            "", "dGhlIHNhbXBsZSBub25jZQ=", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZ===",
            "AAAAAAAAAAAAAAAAAAAAAAA=",
            "AAAAAAAAAAAAAAAAAAAAAAAA", "dGhlIHNhbXBsZSBub25j-_==", "dGhlIHNhbXBs SBub25jZQ==",
            "dGhl=HNhbXBsZSBub25jZQ==",
            key + key, "\(key), \(key)", "dGhlIHNhbXBsZSBub25jZQAA==",
        ]
        for value in bad {
            let fields = ["Sec-WebSocket-Key: \(value)"]
            #expect(failure(replacing: "Sec-WebSocket-Key", with: fields) == .key, "\(value)")
        }
        #expect(failure(replacing: "Sec-WebSocket-Key", with: []) == .key)
        #expect(failure(complete + ["Sec-WebSocket-Key: \(key)"]) == .key)
        #expect(
            failure(replacing: "Sec-WebSocket-Key", with: ["sec-websocket-key: ////++++abcdABCD0189//=="])
                == nil)
    }

    @Test func otherVersionsAreNamedAsSuch() {
        for value in ["8", "", "013", "13, 8", "14", "1 3"] {
            let fields = ["Sec-WebSocket-Version: \(value)"]
            #expect(
                failure(replacing: "Sec-WebSocket-Version", with: fields) == .unsupportedVersion, "\(value)")
        }
        #expect(failure(replacing: "Sec-WebSocket-Version", with: []) == .unsupportedVersion)
        #expect(failure(complete + ["Sec-WebSocket-Version: 13"]) == .unsupportedVersion)
        #expect(
            failure(["Host: a", "Sec-WebSocket-Version: 8"]) == .upgrade, "no upgrade is no handshake")
    }

    @Test(arguments: [HandshakeError.method, .httpVersion, .upgrade, .connection, .unsupportedVersion, .key])
    func everyErrorSaysWhatIsWrongInOneLineOfAscii(error: HandshakeError) {
        #expect(error.description.utf8.allSatisfy { (0x20..<0x7F).contains($0) })
        #expect((20...200).contains(error.description.count))
    }

    @Test func subprotocolIsChosenFromTheOffer() throws {
        let offer =
            complete + [
                "Sec-WebSocket-Protocol: chat, v2.notice", "Sec-WebSocket-Extensions: permessage-deflate",
            ]
        let handshake = try #require(try check(offer)?.get())
        #expect(handshake.offeredSubprotocols == ["chat", "v2.notice"])
        var output: [UInt8] = []
        handshake.appendResponse(
            subprotocol: "v2.notice", fields: [HttpResponseField("X-Node", "n1\r\n")], to: &output)
        #expect(text(output).hasSuffix("=\r\nSec-WebSocket-Protocol: v2.notice\r\nX-Node: n1  \r\n\r\n"))
        #expect(!text(output).contains("Extensions"))
    }
}
