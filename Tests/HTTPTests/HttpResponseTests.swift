import TestSupport
import Testing

@testable import HTTP

private func response(
    _ status: HttpStatus, _ fields: [HttpResponseField] = [], body: String = "", omitsBody: Bool = false,
    connection: HttpConnectionOption = .implied
) -> String {
    var output: [UInt8] = []
    HttpResponse.append(
        status, fields: fields, body: body, omitsBody: omitsBody, connection: connection, to: &output)
    return text(output)
}

@Suite struct HttpResponseTests {
    @Test func writesStatusFieldsLengthAndBody() {
        let fields = [
            HttpResponseField("Content-Type", "application/json"), HttpResponseField("Allow", "GET"),
        ]
        #expect(
            response(.ok, fields, body: #"{"data":"房"}"#)
                == "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nAllow: GET\r\nContent-Length: 14\r\n\r\n"
                + #"{"data":"房"}"#)
    }

    @Test func saysWhatBecomesOfTheConnection() {
        let lead = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n"
        #expect(response(.notFound) == lead + "\r\n")
        #expect(response(.notFound, connection: .close) == lead + "Connection: close\r\n\r\n")
        #expect(response(.notFound, connection: .keepAlive) == lead + "Connection: keep-alive\r\n\r\n")
    }

    @Test func headAnnouncesTheBodyWithoutSendingIt() {
        #expect(
            response(.ok, body: "0123456789", omitsBody: true)
                == "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
    }

    @Test func bodyWithoutEndAnnouncesNoLength() {
        var output: [UInt8] = []
        HttpResponse.append(.ok, body: "", isEndless: true, connection: .close, to: &output)
        #expect(text(output) == "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
    }

    @Test func dateStandsBehindTheStatus() {
        var output: [UInt8] = []
        HttpResponse.append(
            .ok, body: "", connection: .implied, date: Array("Date: x\r\n".utf8), to: &output)
        #expect(text(output) == "HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 0\r\n\r\n")
    }

    @Test func interimAnswerIsOneLine() {
        var output: [UInt8] = []
        HttpResponse.appendContinue(to: &output)
        #expect(text(output) == "HTTP/1.1 100 Continue\r\n\r\n")
    }

    @Test func fieldsAreFoundByTheirName() {
        let field = HttpResponseField("Cache-Control", "no-cache")
        #expect(field.isNamed("Cache-Control"))
        for name: StaticString in ["Cache-Contro", "Cache-Controls", "cache-control", ""] {
            #expect(!field.isNamed(name))
        }
    }

    @Test func noContentHasNoLength() {
        #expect(response(.noContent) == "HTTP/1.1 204 No Content\r\n\r\n")
    }

    @Test func valueCannotEndItsField() {
        let written = response(.ok, [HttpResponseField("X", "a\r\nSet-Cookie: b\n\u{0}c")])
        #expect(written == "HTTP/1.1 200 OK\r\nX: a  Set-Cookie: b  c\r\nContent-Length: 0\r\n\r\n")
    }

    @Test func appendsBehindPipelinedResponses() {
        var output: [UInt8] = []
        HttpResponse.append(.ok, body: "{}", connection: .implied, to: &output)
        let first = output
        HttpResponse.append(.ok, body: "{}", connection: .implied, to: &output)
        #expect(output == first + first)
    }

    @Test(arguments: [0, 1, 9, 10, 11, 99, 100, 65_536, 1_000_000_007, Int.max])
    func decimalsAreWrittenInFull(value: Int) {
        var output: [UInt8] = []
        output.append(decimal: value)
        #expect(text(output) == String(value))
    }

    @Test func everyStatusHasItsPhrase() {
        let codes = [101, 200, 204, 400, 401, 403, 404, 405, 408, 413, 429, 431, 500, 503, 505]
        let statuses = codes.compactMap(HttpStatus.init)
        #expect(statuses.count == codes.count)
        #expect(Set(statuses.map { "\($0.reasonPhrase)" }).count == codes.count)
    }

    @Test func clientReadsItBack() throws {
        let written = response(.serviceUnavailable, [HttpResponseField("Retry-After", "1")], body: "x")
        guard case .complete(let head) = withRaw(written, { HttpResponseHead.parse($0, maximumBytes: 999) })
        else {
            Issue.record("refused")
            return
        }
        #expect(head.statusCode == 503 && head.contentLengthBytes == 1)
        #expect(head.fields.value(of: "retry-after") == "1")
        #expect(head.headBytes == written.utf8.count - 1)
    }
}
