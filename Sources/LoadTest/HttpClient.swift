// Requests to one server over one keep-alive connection, pipelined: tokens and heartbeats. Loop-confined.

import EventLoop
import Glibc
import WebSocket

/// What came of a request.
enum HttpAnswer {
    case answer(statusCode: Int, body: String)
    /// No answer: why.
    case failed(String)

    /// A short name for a table of failures: the status code or the reason.
    var name: String {
        switch self {
        case .answer(let statusCode, _): "\(statusCode)"
        case .failed(let reason): reason
        }
    }
}

/// Sends GET requests and brings each one answer, in order; connects again when the connection is gone.
final class HttpClient {
    /// Below what servers commonly read ahead, enough to hide the round trip.
    static let maximumPipelinedCount = 16

    private var destination: Destination
    private let loop: EventLoop
    private var link: HttpLink?

    init(_ destination: Destination, loop: EventLoop) {
        self.destination = destination
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
        if link == nil {
            do throws(SystemError) {
                link = HttpLink(try destination.dial(number: nil), loop: loop) { [unowned self] in
                    self.link = nil
                }
            } catch {
                return onAnswer(.failed(error.description))
            }
        }
        let authorization = bearer.map { "Authorization: Bearer \($0)\r\n" } ?? ""
        link?.send(
            "GET \(target) HTTP/1.1\r\nHost: \(destination.host)\r\n\(authorization)\r\n", onAnswer: onAnswer)
    }
}

/// One connection of an `HttpClient`.
private final class HttpLink: SocketWatcher {
    private static let maximumHeadBytes = 16 << 10

    private var output: [UInt8] = []
    private var input: [UInt8] = []
    private var pending: [(HttpAnswer) -> Void] = []
    private var isConnected = false
    private let onEnd: () -> Void

    init(_ socket: Socket, loop: EventLoop, onEnd: @escaping () -> Void) {
        self.onEnd = onEnd
        super.init(socket: socket, loop: loop)
        watchWritability(true)
    }

    func send(_ request: String, onAnswer: @escaping (HttpAnswer) -> Void) {
        output += Array(request.utf8)
        pending.append(onAnswer)
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
            let end = head.headBytes + (head.contentLengthBytes ?? 0)
            guard input.count >= end else { return }
            let body = String(decoding: input[head.headBytes..<end], as: UTF8.self)
            input.removeFirst(end)
            pending.removeFirst()(.answer(statusCode: head.statusCode, body: body))
        }
    }

    private func end(_ reason: String) {
        guard isWatching else { return }
        stopWatching()
        socket.close()
        let pending = pending
        self.pending = []
        onEnd()
        for onAnswer in pending { onAnswer(.failed(reason)) }
    }
}
