// The bodies and fields of answers. Pure.

import HTTP
import JSON

/// Answers are JSON objects with one member, `data`.
enum Answer {
    static let json = HttpResponseField("Content-Type", "application/json")
    static let plainText = HttpResponseField("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
    /// What is said of a token or of a state must not lie in any cache.
    static let noStore = HttpResponseField("Cache-Control", "no-store")

    /// With 405: what reads may be asked for.
    static let allowsReading = HttpResponseField("Allow", "GET, HEAD")

    /// No browser is to guess what an answer is.
    static let noSniff = HttpResponseField("X-Content-Type-Options", "nosniff")

    /// The name of the field that says what an error's body does not: bodies are fixed by the API document.
    static let detailName: StaticString = "Roomcast-Detail"

    /// The name of the field that says how a client beats: the value of `--heartbeat`.
    static let heartbeatName: StaticString = "Roomcast-Heartbeat"

    /// Why a request is refused, for the author of its client: one line of ASCII, without anything secret.
    static func detail(_ text: String) -> HttpResponseField {
        let visible = text.utf8.prefix(Limits.answerDetailBytes).map {
            (0x20..<0x7F).contains($0) ? $0 : UInt8(ascii: "?")
        }
        return HttpResponseField(detailName, String(decoding: visible, as: UTF8.self))
    }

    static let originNotAllowed = body("Origin not allowed")
    static let invalidParameters = body("Invalid request parameters")
    static let issueKeyRequired = body("Issue key required")
    static let tokenError = body("token error")
    static let tooManyRequests = body("Too many requests")
    static let serviceUnavailableText = "service unavailable"
    static let serviceUnavailable = body(serviceUnavailableText)

    /// `{"data":<text>}`.
    static func body(_ text: String) -> String { object { $0.member("data", text) } }

    /// An object whose members `body` writes.
    static func object(_ body: (inout JsonWriter) -> Void) -> String {
        String(decoding: JsonWriter.object(body), as: UTF8.self)
    }

    /// When to come back to a node that cannot serve now: soon, as another node or Redis' return is near.
    static func retryAfter(seconds: Int) -> HttpResponseField {
        HttpResponseField("Retry-After", String(seconds))
    }
}

/// The answer to a connection for which there is no room.
enum ServiceUnavailable {
    static func response(fields: [HttpResponseField], date: [UInt8]) -> [UInt8] {
        var bytes: [UInt8] = []
        let detail = Answer.detail("the node has no room for a further connection")
        HttpResponse.append(
            .serviceUnavailable,
            fields: [Answer.json, Answer.noStore, Answer.retryAfter(seconds: 5), detail] + fields,
            body: Answer.serviceUnavailable, connection: .close, date: date, to: &bytes)
        return bytes
    }
}
