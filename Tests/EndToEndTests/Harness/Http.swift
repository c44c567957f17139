// HTTP as bytes: requests are written out, so that a test says exactly what goes over the wire.
import Foundation

struct Answer: Sendable {
    let status: Int
    let version: String
    let headers: [String: String]
    let body: String
    /// From the first byte sent to the last one received.
    let after: Duration

    init(_ reply: JSON) throws {
        guard let status = reply["status"].int, let body = reply["body"].string else {
            throw HarnessError("no HTTP answer: \(reply)")
        }
        self.status = status
        self.body = body
        version = reply["version"].string ?? ""
        headers = (reply["headers"].object ?? [:]).compactMapValues(\.string)
        after = .seconds(reply["after"].double ?? 0)
    }

    /// `{"data": ...}` of the body.
    var data: String? { JSON(parsing: body)?["data"].string }
}

/// All answers of one connection and whether the server then closed it.
struct Exchange: Sendable {
    let answers: [Answer]
    let closed: Bool
}

extension Driver {
    /// Sends `pieces` on a new connection and reads `count` answers.
    /// - Parameter patience: how long to wait for the server to close after them; zero: `closed` is false.
    func exchange(
        _ port: Int, _ pieces: [[UInt8]], count: Int = 1, within: Duration = .patience,
        patience: Duration = .zero, host: String = "127.0.0.1"
    ) async throws -> Exchange {
        let reply = try await call(
            "exchange",
            [
                "port": .number(Double(port)), "host": .string(host), "count": .number(Double(count)),
                "pieces": .array(pieces.map { .string(Data($0).base64EncodedString()) }),
                "timeout": .number(within.seconds), "patience": .number(patience.seconds),
            ])
        return Exchange(
            answers: try (reply["answers"].array ?? []).map(Answer.init),
            closed: reply["closed"].bool ?? false)
    }

    func exchange(
        _ port: Int, _ text: String, count: Int = 1, within: Duration = .patience,
        patience: Duration = .zero
    ) async throws -> Exchange {
        try await exchange(port, [Array(text.utf8)], count: count, within: within, patience: patience)
    }

    func request(
        _ port: Int, _ target: String, method: String = "GET", headers: [String: String] = [:],
        host: String = "127.0.0.1"
    ) async throws -> Answer {
        let text = requestText(target, method: method, headers: headers)
        return try await exchange(port, [Array(text.utf8)], host: host).answers[0]
    }
}

/// A request head; `headers` may replace Host, which is a name that the admin listener takes, too.
func requestText(
    _ target: String, method: String = "GET", version: String = "HTTP/1.1", headers: [String: String] = [:]
) -> String {
    let all = ["Host": "localhost"].merging(headers) { _, own in own }
    let lines = all.sorted { $0.key < $1.key }.map { "\($0.key): \($0.value)\r\n" }.joined()
    return "\(method) \(target) \(version)\r\n\(lines)\r\n"
}

/// The headers of a handshake that a server must accept; `replacing` changes some, an empty value removes
/// one.
func handshakeHeaders(replacing changes: [String: String] = [:]) -> [String: String] {
    let good = [
        "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    ]
    return good.merging(changes) { _, own in own }.filter { !$0.value.isEmpty }
}

extension String {
    /// Each byte that is not unreserved (RFC 3986, section 2.3) as an escape.
    var percentEncoded: String {
        utf8.map { byte in
            let scalar = Unicode.Scalar(byte)
            let plain =
                scalar.isASCII && (scalar.properties.isAlphabetic || scalar.properties.numericType != nil)
            return plain || "-._~".unicodeScalars.contains(scalar) ? String(scalar) : escape(byte)
        }.joined()
    }

    private func escape(_ byte: UInt8) -> String {
        "%" + (byte < 16 ? "0" : "") + String(byte, radix: 16, uppercase: true)
    }
}
