// Bytes for the wire, made once and shared by every client that gets them. Any thread.

import EventLoop
import WebSocket

/// An immutable, reference-counted run of bytes: one frame, or the frames of one turn end to end.
///
/// Safe because the bytes are written before `init` returns and never after, and freed with the last reference.
final class SharedFrame: @unchecked Sendable {
    /// The bytes; they live as long as the frame.
    let bytes: UnsafeRawBufferPointer
    /// When the message came from Redis; of several, the first.
    let receivedAt: MonotonicInstant
    /// The node's count of messages at this one: orders the frames of different rooms.
    let sequence: UInt64

    private init(
        byteCount: Int, receivedAt: MonotonicInstant, sequence: UInt64,
        fill: (UnsafeMutableRawBufferPointer) -> Void
    ) {
        let storage = UnsafeMutableRawBufferPointer.allocate(byteCount: byteCount, alignment: 1)
        fill(storage)
        bytes = UnsafeRawBufferPointer(storage)
        self.receivedAt = receivedAt
        self.sequence = sequence
    }

    deinit {
        bytes.deallocate()
    }

    var byteCount: Int { bytes.count }

    /// What a frame takes beside its bytes, for limits that are to bound memory: the object (48 bytes, 64 with the
    /// allocator's), the allocator's part of its bytes (up to 24), and its slots in queues (8 bytes each, four of them
    /// in an array that has just grown or waits to be compacted).
    static let overheadBytes = 128

    /// The memory that the frame takes.
    var memoryBytes: Int { byteCount + SharedFrame.overheadBytes }

    /// An unfragmented text frame around `payload`.
    static func text(
        _ payload: UnsafeRawBufferPointer, receivedAt: MonotonicInstant, sequence: UInt64
    ) -> SharedFrame {
        let header = FrameHeader(.text, payloadBytes: payload.count)
        let byteCount = header.encodedBytes + payload.count
        return SharedFrame(byteCount: byteCount, receivedAt: receivedAt, sequence: sequence) { target in
            let headerBytes = header.encode(into: target)
            UnsafeMutableRawBufferPointer(rebasing: target[headerBytes...]).copyMemory(from: payload)
        }
    }

    /// The frames of one turn as one run of bytes, so that each client of a room is written with one plain send.
    static func joined(_ frames: ContiguousArray<SharedFrame>) -> SharedFrame {
        if frames.count == 1 { return frames[0] }
        let byteCount = frames.reduce(0) { $0 + $1.byteCount }
        let first = frames[0]
        return SharedFrame(
            byteCount: byteCount, receivedAt: first.receivedAt, sequence: first.sequence
        ) { target in
            var offset = 0
            for frame in frames {
                UnsafeMutableRawBufferPointer(rebasing: target[offset...]).copyMemory(from: frame.bytes)
                offset += frame.byteCount
            }
        }
    }

    /// Bytes that are no message: a handshake's answer, a control frame.
    static func raw(_ content: [UInt8]) -> SharedFrame { content.withUnsafeBytes { raw($0) } }

    static func raw(_ content: UnsafeRawBufferPointer) -> SharedFrame {
        SharedFrame(
            byteCount: content.count, receivedAt: MonotonicInstant(nanoseconds: 0), sequence: 0
        ) { $0.copyMemory(from: content) }
    }

    /// A Close frame: one for all clients where the code is ours.
    ///
    /// - Parameter code: what the peer's own Close frame said, for a reason without a code.
    static func close(_ reason: CloseReason, answering code: CloseCode? = nil) -> SharedFrame {
        if reason.code != nil { return closes[reason.rawValue] }
        var bytes: [UInt8] = []
        FrameEncoder.appendClose(code, to: &bytes)
        return raw(bytes)
    }

    private static let closes = CloseReason.allCases.map { reason in
        var bytes: [UInt8] = []
        FrameEncoder.appendClose(reason.code, reason: reason.text, to: &bytes)
        return raw(bytes)
    }
}
