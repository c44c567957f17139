import HTTP
import TestSupport
import Testing

@testable import WebSocket

private let client = withRaw(Array("the sample nonce".utf8)) { ClientHandshake(nonce: $0) }

private func verify(_ response: String) -> ClientHandshakeError? {
    guard case .complete(let head) = withRaw(response, { HttpResponseHead.parse($0, maximumBytes: 999) })
    else {
        Issue.record("not even a response head")
        return nil
    }
    do throws(ClientHandshakeError) {
        try client.verify(head)
        return nil
    } catch {
        return error
    }
}

@Suite struct ClientHandshakeTests {
    @Test func requestIsWhatTheServerAccepts() throws {
        var request: [UInt8] = []
        client.appendRequest(
            target: "/ws?token=a&roomIds=b", host: "127.0.0.1:8080",
            fields: [HttpResponseField("Origin", "http://o")],
            to: &request)
        #expect(
            text(request)
                == "GET /ws?token=a&roomIds=b HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUpgrade: websocket\r\n"
                + "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                + "Sec-WebSocket-Version: 13\r\nOrigin: http://o\r\n\r\n")
        guard case .complete(let head) = withRaw(request, { HttpRequestHead.parse($0, maximumBytes: 999) })
        else {
            Issue.record("refused")
            return
        }
        var response: [UInt8] = []
        try WebSocketHandshake(head).appendResponse(to: &response)
        #expect(verify(text(response)) == nil)
    }

    @Test func answerMustProveTheHandshake() {
        let fields = [
            "Upgrade: WebSocket", "Connection: upgrade",
            "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
        ]
        func response(_ fields: [String]) -> String {
            (["HTTP/1.1 101 Switching Protocols"] + fields).map { $0 + "\r\n" }.joined() + "\r\n"
        }
        #expect(verify(response(fields)) == nil)
        for missing in fields.indices {
            var others = fields
            others.remove(at: missing)
            #expect(verify(response(others)) == .malformed, "\(fields[missing])")
        }
        let wrongProof = "Sec-WebSocket-Accept: S3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        #expect(verify(response(Array(fields[..<2]) + [wrongProof])) == .malformed)
        #expect(verify(response(fields + [wrongProof])) == .malformed)
        #expect(verify(response(fields + ["Sec-WebSocket-Extensions: permessage-deflate"])) == .malformed)
        #expect(verify(response(fields + ["Sec-WebSocket-Protocol: chat"])) == .malformed)
    }

    @Test func refusalTellsTheStatus() {
        #expect(
            verify("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n") == .refused(statusCode: 401))
        #expect(verify("HTTP/1.1 200 OK\r\n\r\n") == .refused(statusCode: 200))
    }
}
