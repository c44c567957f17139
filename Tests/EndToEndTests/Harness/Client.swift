// One WebSocket of the independent client, and the raw connection for what that client would never send.
import Foundation

enum Event: Sendable, Hashable {
    case text(String)
    case binary([UInt8])
    case closed(Int)
    /// Nothing came in time.
    case nothing
}

struct Closing: Sendable, Equatable {
    let code: Int
    let reason: String
    /// Since the handshake began, on the client's clock.
    let after: Duration
}

struct Client: Sendable {
    let driver: Driver
    let id: Int
    /// What the server has selected of the subprotocols that were offered.
    var subprotocol: String?
    /// What it has answered to the extensions that were offered.
    var extensions: String?
    private var number: JSON { .number(Double(id)) }

    /// The next message, or the close after the last one.
    func next(within patience: Duration = .patience) async throws -> Event {
        let reply = try await driver.call("ws_next", ["id": number, "timeout": .number(patience.seconds)])
        if let text = reply["text"].string { return .text(text) }
        if let code = reply["close"].int { return .closed(code) }
        if let bytes = reply["binary"].string { return .binary(Array(Data(base64Encoded: bytes) ?? Data())) }
        return .nothing
    }

    /// The next message that is no gap notice, or the close; and how many gap notices came before it.
    func nextBesideGaps() async throws -> (event: Event, gapCount: Int) {
        var gapCount = 0
        while true {
            let event = try await next()
            guard case .text(let text) = event, text.hasPrefix(#"{"type":"gap""#) else {
                return (event, gapCount)
            }
            gapCount += 1
        }
    }

    /// How the peer closed; nil when it did not in time. Code 1006: no Close frame came.
    func closed(within patience: Duration = .patience) async throws -> Closing? {
        closing(try await driver.call("ws_closed", ["id": number, "timeout": .number(patience.seconds)]))
    }

    /// How many messages have come since the handshake.
    func receivedCount() async throws -> Int {
        try await driver.call("ws_count", ["id": number]).int ?? 0
    }

    func send(_ text: String) async throws {
        try await driver.call("ws_send", ["id": number, "text": .string(text)])
    }

    func send(_ bytes: [UInt8]) async throws {
        try await driver.call(
            "ws_send", ["id": number, "binary": .string(Data(bytes).base64EncodedString())])
    }

    /// True when the pong with the same payload came in time.
    func ping(_ payload: String, within patience: Duration = .patience) async throws -> Bool {
        let arguments: [String: JSON] = [
            "id": number, "payload": .string(payload), "timeout": .number(patience.seconds),
        ]
        return try await driver.call("ws_ping", arguments).bool ?? false
    }

    /// How many pings of the server have come, and when the last one was answered, since the handshake
    /// began; nil if none was.
    func pings() async throws -> (count: Int, last: Duration?) {
        let reply = try await driver.call("ws_pings", ["id": number])
        return (reply["count"].int ?? 0, reply["answered"].double.map { .seconds($0) })
    }

    /// It answers no ping of the server any more.
    func mute() async throws { try await driver.call("ws_mute", ["id": number]) }

    /// Closes and returns the server's own Close.
    func close(_ code: Int = 1000, _ reason: String = "") async throws -> Closing? {
        let arguments: [String: JSON] = [
            "id": number, "code": .number(Double(code)), "reason": .string(reason),
        ]
        return closing(try await driver.call("ws_close", arguments))
    }

    private func closing(_ reply: JSON) -> Closing? {
        guard let code = reply["code"].int, let after = reply["after"].double else { return nil }
        return Closing(code: code, reason: reply["reason"].string ?? "", after: .seconds(after))
    }
}

/// What a handshake came to.
enum Handshake: Sendable {
    case open(Client)
    case refused(Answer)
}

extension Driver {
    /// - Parameter publishing: goes to Redis in the same turn in which the 101 has been read.
    /// - Parameter source: the client's own address, any of 127.0.0.0/8.
    /// - Parameter compression: whether the client asks for compressed messages.
    func handshake(
        _ url: String, headers: [String: String] = [:],
        publishing: (port: Int, channel: String, text: String)? = nil,
        source: String? = nil, subprotocols: [String] = [], compression: Bool = false
    ) async throws -> Handshake {
        var arguments: [String: JSON] = [
            "url": .string(url), "headers": .object(headers.mapValues(JSON.string)),
        ]
        if let publishing {
            arguments["publish"] = [
                .number(Double(publishing.port)), .string(publishing.channel), .string(publishing.text),
            ]
        }
        if let source { arguments["source"] = .string(source) }
        if !subprotocols.isEmpty { arguments["subprotocols"] = .array(subprotocols.map(JSON.string)) }
        if compression { arguments["compression"] = "deflate" }
        let reply = try await call("ws_open", arguments)
        guard let id = reply["id"].int else { return .refused(try Answer(reply)) }
        return .open(
            Client(
                driver: self, id: id, subprotocol: reply["subprotocol"].string,
                extensions: reply["extensions"].string))
    }
}

/// A TCP connection that reads only when a test asks, and sends what no proper client would.
struct RawConnection: Sendable {
    enum End: String, Sendable { case eof, reset }

    let driver: Driver
    let id: Int
    private var number: JSON { .number(Double(id)) }

    init(_ driver: Driver, port: Int, receiveBufferBytes: Int = 0) async throws {
        self.driver = driver
        let arguments: [String: JSON] = [
            "port": .number(Double(port)), "receive_buffer": .number(Double(receiveBufferBytes)),
        ]
        guard let id = try await driver.call("tcp_open", arguments).int else {
            throw HarnessError("no connection")
        }
        self.id = id
    }

    /// False when the peer has already gone.
    @discardableResult
    func send(_ bytes: [UInt8]) async throws -> Bool {
        let arguments: [String: JSON] = ["id": number, "bytes": .string(Data(bytes).base64EncodedString())]
        return try await driver.call("tcp_send", arguments).bool ?? false
    }

    @discardableResult
    func send(_ text: String) async throws -> Bool { try await send(Array(text.utf8)) }

    /// Reads up to `count` bytes, or up to and with `mark`, or to the end of the stream.
    func receive(
        _ count: Int = 1 << 30, until mark: String = "", within patience: Duration = .patience
    ) async throws -> (bytes: [UInt8], end: End?) {
        let reply = try await driver.call(
            "tcp_receive",
            [
                "id": number, "count": .number(Double(count)), "timeout": .number(patience.seconds),
                "until": .string(mark),
            ])
        guard let bytes = reply["bytes"].string.flatMap({ Data(base64Encoded: $0) }) else {
            throw HarnessError("nothing received: \(reply)")
        }
        return (Array(bytes), reply["end"].string.flatMap(End.init))
    }

    /// From now on its peer hears nothing from it, not even an acknowledgement.
    func deafen() async throws { try await driver.call("tcp_deafen", ["id": number]) }

    func close() async throws { try await driver.call("tcp_close", ["id": number]) }
}
