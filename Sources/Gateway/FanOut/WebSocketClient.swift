// A member over WebSocket: what its peer sends, and the closing handshake. Loop-confined: belongs to its
// worker's loop.

import Bytes
import EventLoop
import WebSocket

/// A WebSocket connection. Clients have little to say: Pings are answered, a Close is, and messages are read
/// and dropped, in the host's read buffer, so that an idle client owns none.
final class WebSocketClient: Member {
    /// What the peer's Close frame said.
    private var peerCode: CloseCode?
    /// Whether a Ping of ours waits for its answer.
    private var isPinged = false
    private var controlFrames = ControlFrameRate()
    /// Only while a frame or a message is half read.
    private var decoder: DecoderBox?

    override func goodbye(_ reason: CloseReason) -> SharedBytes {
        .closeFrame(reason, answering: peerCode)
    }

    // MARK: Pings of ours

    override var beatsByPong: Bool { worker.arePongsBeats }

    /// While something waits for the peer, a Ping joins it only for the sake of its answer, and only one.
    override func ping() {
        if queue != nil, isPinged || !beatsByPong { return }
        isPinged = true
        worker.metrics.pings.add(1)
        send([SharedBytes.ping])
    }

    private func pongCame(_ payload: UnsafeRawBufferPointer) {
        guard isPinged, payload.equals(SharedBytes.pingPayload.rawBytes) else { return }
        isPinged = false
        if beatsByPong { worker.shards.of(token).heartbeats.beat(self) }
    }

    // MARK: What the peer sends

    override func socketIsReadable() {
        let buffer = UnsafeMutableRawBufferPointer(rebasing: host.readBuffer[..<Limits.clientReadBytes])
        switch socket.read(into: buffer) {
        case .bytes(let count): receive(UnsafeMutableRawBufferPointer(rebasing: host.readBuffer[..<count]))
        case .wouldBlock: break
        case .endOfStream, .failed: connectionEnded()
        }
    }

    /// Decodes bytes of the peer; they are changed in place.
    func receive(_ bytes: UnsafeMutableRawBufferPointer) {
        guard readsPeer else { return }
        var input = bytes
        if let decoder {
            decode(&input, with: &decoder.decoder)
            if decoder.decoder.isIdle || !readsPeer { self.decoder = nil }
        } else {
            var fresh = FrameDecoder(
                .server, maximumMessageBytes: worker.maximumMessageBytes,
                inflater: encoding == .webSocketDeflated ? worker.inflater : nil)
            decode(&input, with: &fresh)
            if readsPeer, !fresh.isIdle { decoder = DecoderBox(fresh) }
        }
    }

    /// Of the Pings of one read only the latest is answered (RFC 6455 section 5.5.3).
    private func decode(_ input: inout UnsafeMutableRawBufferPointer, with decoder: inout FrameDecoder) {
        var pingBytes: Int?
        var controlCount = 0
        var controlAllowance: Int?
        while readsPeer, let event = decoder.next(&input) {
            switch event {
            case .messageStart:
                // To inflate a hundred bytes can take as long as to answer a hundred Pings.
                guard decoder.isCompressed else { continue }
            case .messageBytes, .messageEnd: continue
            case .ping(let payload):
                host.controlBuffer.copyPong(payload)
                pingBytes = payload.count
            case .pong(let payload): pongCame(payload)
            case .close(let code, _):
                answerPing(pingBytes)
                peerCode = code
                return peerClosed()
            case .failure(let code):
                answerPing(pingBytes)
                return peerViolated(CloseReason(failure: code))
            }
            controlCount += 1
            let allowance = controlAllowance ?? controlFrames.allowance(now: .now)
            controlAllowance = allowance
            if controlCount > allowance, isOpen { return peerViolated(.tooManyControlFrames) }
        }
        guard controlCount > 0 else { return }
        controlFrames.take(controlCount, now: .now)
        answerPing(pingBytes)
    }

    /// Sends the Pong that lies in the host's buffer, if there was a Ping. Nothing is allocated if the
    /// socket takes it, and what waits is one Pong, however many are owed.
    private func answerPing(_ payloadBytes: Int?) {
        guard let payloadBytes else { return }
        let header = FrameHeader(.pong, payloadBytes: payloadBytes)
        let frameBytes = header.encode(into: host.controlBuffer) + payloadBytes
        sendControl(UnsafeRawBufferPointer(rebasing: host.controlBuffer[..<frameBytes]))
    }
}

extension UnsafeMutableRawBufferPointer {
    /// Keeps a Ping's payload behind the room for the Pong's header.
    fileprivate func copyPong(_ payload: UnsafeRawBufferPointer) {
        let headerBytes = FrameHeader(.pong, payloadBytes: payload.count).encodedBytes
        UnsafeMutableRawBufferPointer(rebasing: self[headerBytes...]).copyMemory(from: payload)
    }
}

/// A decoder in the middle of a frame or a message, on the heap because most clients have none.
private final class DecoderBox {
    var decoder: FrameDecoder

    init(_ decoder: FrameDecoder) {
        self.decoder = decoder
    }
}
