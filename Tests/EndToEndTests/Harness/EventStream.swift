// One event stream of the independent reader (Support/streams.py).
import Foundation

/// An event, or what stands behind the last one.
enum StreamEvent: Sendable, Equatable {
    /// - Parameter id: the last event id when it came.
    case event(name: String, data: String, id: String)
    /// `eof`, `reset`, or `cut` within a chunk.
    case end(String)
    /// Nothing came in time.
    case nothing

    /// The text of an unnamed event.
    var text: String? { if case .event("message", let data, _) = self { data } else { nil } }

    var id: String? { if case .event(_, _, let id) = self { id } else { nil } }

    /// The code of the goodbye.
    var closeCode: Int? {
        guard case .event("close", let data, _) = self else { return nil }
        return JSON(parsing: data)?["code"].int
    }
}

struct EventStream: Sendable {
    let driver: Driver
    let id: Int
    let answer: Answer
    private var number: JSON { .number(Double(id)) }

    init?(_ driver: Driver, _ reply: JSON) throws {
        guard let id = reply["id"].int else { return nil }
        self.driver = driver
        self.id = id
        answer = try Answer(reply)
    }

    func next(within patience: Duration = .patience) async throws -> StreamEvent {
        let reply = try await driver.call(
            "stream_next", ["id": number, "timeout": .number(patience.seconds)])
        if let end = reply["end"].string { return .end(end) }
        guard let name = reply["event"].string, let data = reply["data"].string, let id = reply["id"].string
        else { return .nothing }
        return .event(name: name, data: data, id: id)
    }

    /// Reads to the end: the code of the goodbye, if there was one, and how the stream ended.
    func closed() async throws -> (code: Int?, reason: String?, end: String?) {
        var (code, reason): (Int?, String?)
        while true {
            switch try await next() {
            case .event("close", let data, _):
                let goodbye = JSON(parsing: data)
                (code, reason) = (goodbye?["code"].int, goodbye?["reason"].string)
            case .event: continue
            case .end(let end): return (code, reason, end)
            case .nothing: return (code, reason, nil)
            }
        }
    }

    func state() async throws -> JSON { try await driver.call("stream_state", ["id": number]) }

    func lastEventId() async throws -> String { try await state()["lastEventId"].string ?? "" }

    func retry() async throws -> Int? { try await state()["retry"].int }

    func receivedCount() async throws -> Int { try await state()["count"].int ?? 0 }

    func send(_ bytes: [UInt8]) async throws {
        try await driver.call(
            "stream_send", ["id": number, "bytes": .string(Data(bytes).base64EncodedString())])
    }

    func close() async throws { try await driver.call("stream_close", ["id": number]) }
}

/// What a request for a stream came to.
enum StreamHandshake: Sendable {
    case open(EventStream)
    case refused(Answer)
}

extension Driver {
    func eventStream(
        _ port: Int, _ query: String, headers: [String: String] = [:], version: String = "HTTP/1.1",
        method: String = "GET"
    ) async throws -> StreamHandshake {
        let head = requestText("/events?\(query)", method: method, version: version, headers: headers)
        let reply = try await call("stream_open", ["port": .number(Double(port)), "head": .string(head)])
        if let stream = try EventStream(self, reply) { return .open(stream) }
        return .refused(try Answer(reply))
    }
}

extension GatewayNode {
    /// Opens an event stream; `token` nil: a new one.
    func stream(
        _ rooms: String, token: String? = nil, headers: [String: String] = [:], version: String = "HTTP/1.1"
    ) async throws -> EventStream {
        var used = token
        if used == nil { used = try await self.token() }
        let query = "token=\(used ?? "")&roomIds=\(rooms)"
        switch try await driver.eventStream(port, query, headers: headers, version: version) {
        case .open(let stream): return stream
        case .refused(let answer): throw HarnessError("\(id) refused: \(answer.status) \(answer.body)")
        }
    }
}
