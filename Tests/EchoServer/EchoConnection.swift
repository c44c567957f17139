// One connection of the echo server, from its handshake to its Close frame. Loop-confined.

import EventLoop
import HTTP
import WebSocket

/// Sends every message back as one frame, on the codec of the gateway; compressed, if the client has asked
/// for that and it makes the message smaller.
///
///     handshake ──101──▶ open ──Close received──▶ ending ──all is written──▶ (disconnected)
///                         └──violation──▶ broken ──peer's end──▶ (disconnected)
final class EchoConnection: SocketWatcher {
    private enum State { case handshake, open, ending, broken }

    /// What all connections compress with.
    final class Compression {
        let inflater = Inflater()
        let deflater = Deflater()
    }

    /// The longest message that section 9 of the test suite sends.
    static let maximumMessageBytes = 16 << 20
    private static let maximumHeadBytes = 8192
    /// A peer that does not read is not read from either, once this much waits for it.
    private static let maximumOutputBytes = 1 << 20

    private let readBuffer: UnsafeMutableRawBufferPointer
    private let compression: Compression?
    private let onEnd: (EchoConnection) -> Void
    private var state = State.handshake
    private var scanner = HttpHeadScanner()
    private var head: [UInt8] = []
    private var decoder = FrameDecoder(.server, maximumMessageBytes: EchoConnection.maximumMessageBytes)
    private var isCompressed = false
    private var opcode = Opcode.text
    private var message: [UInt8] = []
    private var output: [UInt8] = []
    private var writtenBytes = 0

    /// - Parameters:
    ///   - readBuffer: shared by all connections of the loop, which outlive none of them.
    ///   - compression: shared likewise; nil if it is not built in.
    ///   - onEnd: runs once, when the socket is closed.
    init(
        socket: Socket, loop: EventLoop, readBuffer: UnsafeMutableRawBufferPointer,
        compression: Compression?, onEnd: @escaping (EchoConnection) -> Void
    ) {
        self.readBuffer = readBuffer
        self.compression = compression
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
            let handshake = try WebSocketHandshake(request, acceptsCompression: compression != nil)
            handshake.appendResponse(to: &output)
            if handshake.compression != nil {
                isCompressed = true
                decoder = FrameDecoder(
                    .server, maximumMessageBytes: EchoConnection.maximumMessageBytes,
                    inflater: compression?.inflater)
            }
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
                message.withUnsafeBytes { echo($0) }
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

    private func echo(_ payload: UnsafeRawBufferPointer) {
        let compressed: Void? =
            isCompressed
            ? compression?.deflater.deflate(payload) {
                FrameEncoder.append(opcode, payload: $0, isCompressed: true, to: &output)
            } : nil
        if compressed == nil { FrameEncoder.append(opcode, payload: payload, to: &output) }
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
