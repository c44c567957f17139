// One connection of the echo server, from its handshake to its Close frame. Loop-confined.

import EventLoop
import HTTP
import WebSocket

/// Sends every message back as one frame, on the codec of the gateway.
///
///     handshake ──101──▶ open ──Close received──▶ ending ──all is written──▶ (disconnected)
///                         └──violation──▶ broken ──peer's end──▶ (disconnected)
final class EchoConnection: SocketWatcher {
    private enum State { case handshake, open, ending, broken }

    /// The longest message that section 9 of the test suite sends.
    static let maximumMessageBytes = 16 << 20
    private static let maximumHeadBytes = 8192
    /// A peer that does not read is not read from either, once this much waits for it.
    private static let maximumOutputBytes = 1 << 20

    private let readBuffer: UnsafeMutableRawBufferPointer
    private let onEnd: (EchoConnection) -> Void
    private var state = State.handshake
    private var scanner = HttpHeadScanner()
    private var head: [UInt8] = []
    private var decoder = FrameDecoder(.server, maximumMessageBytes: EchoConnection.maximumMessageBytes)
    private var opcode = Opcode.text
    private var message: [UInt8] = []
    private var output: [UInt8] = []
    private var writtenBytes = 0

    /// - Parameters:
    ///   - readBuffer: shared by all connections of the loop, which outlive none of them.
    ///   - onEnd: runs once, when the socket is closed.
    init(
        socket: Socket, loop: EventLoop, readBuffer: UnsafeMutableRawBufferPointer,
        onEnd: @escaping (EchoConnection) -> Void
    ) {
        self.readBuffer = readBuffer
        self.onEnd = onEnd
        super.init(socket: socket, loop: loop)
    }

    override func socketIsReadable() {
        switch socket.read(into: readBuffer) {
        case .bytes(let count): received(UnsafeMutableRawBufferPointer(rebasing: readBuffer[..<count]))
        case .wouldBlock: break
        case .endOfStream, .failed: disconnect()
        }
    }

    override func socketIsWritable() { flush() }

    private func received(_ bytes: UnsafeMutableRawBufferPointer) {
        switch state {
        case .handshake: readHead(bytes)
        case .open: decode(bytes)
        case .ending, .broken: break
        }
        flush()
    }

    private func readHead(_ bytes: UnsafeMutableRawBufferPointer) {
        head.append(contentsOf: bytes)
        let result = head.withUnsafeBytes {
            HttpRequestHead.parse($0, maximumBytes: EchoConnection.maximumHeadBytes, scanner: &scanner)
        }
        switch result {
        case .incomplete: break
        case .failed(let error): refuse(error.status)
        case .complete(let request): answer(request)
        }
    }

    private func answer(_ request: HttpRequestHead) {
        do throws(HandshakeError) {
            try WebSocketHandshake(request).appendResponse(to: &output)
        } catch {
            return refuse(.badRequest)
        }
        state = .open
        var rest = Array(head[request.headBytes...])
        head = []
        rest.withUnsafeMutableBytes { decode($0) }
    }

    private func refuse(_ status: HttpStatus) {
        HttpResponse.append(status, body: "", connection: .close, to: &output)
        state = .broken
    }

    private func decode(_ bytes: UnsafeMutableRawBufferPointer) {
        var input = bytes
        while let event = decoder.next(&input) {
            switch event {
            case .messageStart(let kind): opcode = kind == .text ? .text : .binary
            case .messageBytes(let bytes): message.append(contentsOf: bytes)
            case .messageEnd:
                message.withUnsafeBytes { FrameEncoder.append(opcode, payload: $0, to: &output) }
                message = []
            case .ping(let payload): FrameEncoder.append(.pong, payload: payload, to: &output)
            case .pong: break
            case .close(let code, _):
                FrameEncoder.appendClose(code, to: &output)
                state = .ending
            case .failure(let code):
                FrameEncoder.appendClose(code, to: &output)
                state = .broken
            }
        }
    }

    private func flush() {
        while isWatching, writtenBytes < output.count {
            let result = output.withUnsafeBytes {
                socket.write(UnsafeRawBufferPointer(rebasing: $0[writtenBytes...]))
            }
            switch result {
            case .bytes(let count): writtenBytes += count
            case .wouldBlock: return rearm()
            case .endOfStream, .failed: return disconnect()
            }
        }
        output.removeAll()
        writtenBytes = 0
        switch state {
        case .handshake, .open: rearm()
        case .ending: disconnect()
        // To close with bytes of the peer unread would reset the connection and take the Close frame along.
        case .broken: socket.shutdownWriting()
        }
    }

    private func rearm() {
        let leftBytes = output.count - writtenBytes
        watchWritability(leftBytes > 0)
        watchReadability(leftBytes <= EchoConnection.maximumOutputBytes)
    }

    private func disconnect() {
        guard isWatching else { return }
        stopWatching()
        socket.close()
        onEnd(self)
    }
}
