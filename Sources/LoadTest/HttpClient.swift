// Requests to one server over one keep-alive connection, pipelined: tokens and heartbeats. Loop-confined.

import EventLoop
import Glibc
import HTTP

/// What came of a request.
enum HttpAnswer {
    /// - wait: how long the server asks not to be asked again; nil when it does not.
    case answer(statusCode: Int, body: String, wait: Duration?)
    /// No answer: why.
    case failed(String)

    /// A short name for a table of failures: the status code or the reason.
    var name: String {
        switch self {
        case .answer(let statusCode, _, _): "\(statusCode)"
        case .failed(let reason): reason
        }
    }
}

/// Sends GET requests and brings each one answer, in order; connects again when the connection is gone. A
/// request that a connection which was used before has left without an answer is sent once more: servers
/// close idle ones at any moment (RFC 9112 section 9.3.1), and browsers do the same.
final class HttpClient {
    /// Below what servers commonly read ahead, enough to hide the round trip.
    static let maximumPipelinedCount = 16

    fileprivate struct Request {
        let target: String
        let bearer: String?
        var isRepeated = false
        let onAnswer: (HttpAnswer) -> Void
    }

    private var destination: Destination
    private let number: Int?
    private let loop: EventLoop
    private var link: HttpLink?
    /// Connections so far, this one's own attempts at them included.
    private(set) var connectionCount = 0

    /// - Parameter number: as in `Destination.dial`.
    init(_ destination: Destination, number: Int? = nil, loop: EventLoop) {
        self.destination = destination
        self.number = number
        self.loop = loop
    }

    /// Goes elsewhere as soon as the present connection has ended.
    func move(to destination: Destination) {
        self.destination = destination
    }

    /// - Parameters:
    ///   - bearer: what `Authorization: Bearer` shows; nil is no such field.
    ///   - onAnswer: called once, maybe before this returns.
    func get(_ target: String, bearer: String? = nil, onAnswer: @escaping (HttpAnswer) -> Void) {
        send(Request(target: target, bearer: bearer, onAnswer: onAnswer))
    }

    private func send(_ request: Request) {
        if link == nil {
            do throws(SystemError) {
                connectionCount += 1
                link = HttpLink(
                    try destination.dial(number: number), host: destination.host, loop: loop
                ) { [unowned self] in self.ended($0, unanswered: $1, reason: $2) }
            } catch {
                return request.onAnswer(.failed(error.description))
            }
        }
        link?.send(request)
    }

    private func ended(_ link: HttpLink, unanswered: [Request], reason: String) {
        self.link = nil
        for var request in unanswered {
            if link.hasAnswered && !request.isRepeated {
                request.isRepeated = true
                send(request)
            } else {
                request.onAnswer(.failed(reason))
            }
        }
    }
}

extension HttpResponseHead {
    /// Far above what a gateway or another server answers to a request of ours; more would fill memory.
    private static let maximumBodyBytes = 1 << 20

    /// Where the answer ends, counted from the start of its head; nil when its body is longer than any that
    /// is read.
    var endOfAnswer: Int? {
        let bodyBytes = contentLengthBytes ?? 0
        return bodyBytes <= Self.maximumBodyBytes ? headBytes + bodyBytes : nil
    }
}

/// One connection of an `HttpClient`.
private final class HttpLink: SocketWatcher {
    private static let maximumHeadBytes = 16 << 10

    private var output: [UInt8] = []
    private var input: [UInt8] = []
    private var pending: [HttpClient.Request] = []
    private var isConnected = false
    private(set) var hasAnswered = false
    private let host: String
    private let onEnd: (HttpLink, [HttpClient.Request], String) -> Void

    /// - Parameter onEnd: called once, with the requests that have no answer, and the reason.
    init(
        _ socket: Socket, host: String, loop: EventLoop,
        onEnd: @escaping (HttpLink, [HttpClient.Request], String) -> Void
    ) {
        self.host = host
        self.onEnd = onEnd
        super.init(socket: socket, loop: loop)
        watchWritability(true)
    }

    func send(_ request: HttpClient.Request) {
        let authorization = request.bearer.map { "Authorization: Bearer \($0)\r\n" } ?? ""
        output += Array("GET \(request.target) HTTP/1.1\r\nHost: \(host)\r\n\(authorization)\r\n".utf8)
        pending.append(request)
        if isConnected { flush() }
    }

    override func socketIsWritable() {
        if !isConnected {
            let code = Destination.connectError(socket)
            guard code == 0 else { return end(SystemError.message(of: code)) }
            isConnected = true
        }
        flush()
    }

    override func socketIsReadable() {
        let transfer = withUnsafeTemporaryAllocation(byteCount: 16 << 10, alignment: 16) { buffer in
            let transfer = socket.read(into: buffer)
            if case .bytes(let count) = transfer { input += buffer[..<count] }
            return transfer
        }
        switch transfer {
        case .bytes: takeAnswers()
        case .wouldBlock: return
        case .endOfStream: end("connection closed")
        case .failed(let code): end(SystemError.message(of: code))
        }
    }

    private func flush() {
        while !output.isEmpty {
            switch output.withUnsafeBytes({ socket.write($0) }) {
            case .bytes(let count): output.removeFirst(count)
            case .wouldBlock: return watchWritability(true)
            case .endOfStream: return end("connection closed")
            case .failed(let code): return end(SystemError.message(of: code))
            }
        }
        watchWritability(false)
    }

    private func takeAnswers() {
        while isWatching, !pending.isEmpty {
            let parsed = input.withUnsafeBytes {
                HttpResponseHead.parse($0, maximumBytes: HttpLink.maximumHeadBytes)
            }
            guard case .complete(let head) = parsed else {
                if case .failed = parsed { end("malformed answer") }
                return
            }
            guard let end = head.endOfAnswer else { return self.end("answer too long") }
            guard input.count >= end else { return }
            let body = String(decoding: input[head.headBytes..<end], as: UTF8.self)
            input.removeFirst(end)
            hasAnswered = true
            let wait = Postponed.wait(statusCode: head.statusCode, fields: head.fields)
            pending.removeFirst().onAnswer(.answer(statusCode: head.statusCode, body: body, wait: wait))
        }
    }

    private func end(_ reason: String) {
        guard isWatching else { return }
        stopWatching()
        socket.close()
        let pending = pending
        self.pending = []
        onEnd(self, pending, reason)
    }
}
