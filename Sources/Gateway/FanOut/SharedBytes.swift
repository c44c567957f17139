// Bytes for the wire, made once and shared by every member that gets them. Any thread.

import WebSocket

/// An immutable, reference-counted run of bytes: one frame, or the frames of one turn end to end.
///
/// Safe because the bytes are written before `init` returns and never after, and freed with the last
/// reference.
final class SharedBytes: @unchecked Sendable {
    /// What a run takes beside its bytes, for limits that are to bound memory: the object (32 bytes, 48 with
    /// the allocator's), the allocator's part of its bytes (up to 24), and its slots in queues (8 bytes
    /// each, four of them in an array that has just grown or waits to be compacted); rounded up.
    static let overheadBytes = 128

    /// The bytes; they live as long as the object.
    let bytes: UnsafeRawBufferPointer

    private init(_ byteCount: Int, fill: (UnsafeMutableRawBufferPointer) -> Void) {
        let storage = UnsafeMutableRawBufferPointer.allocate(byteCount: byteCount, alignment: 1)
        fill(storage)
        bytes = UnsafeRawBufferPointer(storage)
    }

    deinit {
        bytes.deallocate()
    }

    var byteCount: Int { bytes.count }

    /// The memory that the run takes.
    var memoryBytes: Int { byteCount + SharedBytes.overheadBytes }

    // MARK: What they hold

    static func copying(_ content: UnsafeRawBufferPointer) -> SharedBytes {
        SharedBytes(content.count) { $0.copyMemory(from: content) }
    }

    static func copying(_ content: [UInt8]) -> SharedBytes { content.withUnsafeBytes { copying($0) } }

    /// An unfragmented text frame around `payload` (RFC 6455 section 5.2), which is compressed or is not.
    static func textFrame(_ payload: UnsafeRawBufferPointer, isCompressed: Bool = false) -> SharedBytes {
        let header = FrameHeader(.text, payloadBytes: payload.count, isCompressed: isCompressed)
        return SharedBytes(header.encodedBytes + payload.count) { target in
            let headerBytes = header.encode(into: target)
            UnsafeMutableRawBufferPointer(rebasing: target[headerBytes...]).copyMemory(from: payload)
        }
    }

    /// A Ping of ours. Its payload tells an answer to it from a Pong that a peer sends of its own accord,
    /// which is usually empty (RFC 6455 section 5.5.3).
    static let ping: SharedBytes = pingPayload.withUTF8Buffer { payload in
        var bytes: [UInt8] = []
        FrameEncoder.append(.ping, payload: UnsafeRawBufferPointer(payload), to: &bytes)
        return copying(bytes)
    }

    static let pingPayload: StaticString = "beat"

    /// A Close frame: one for all members where the code is ours.
    ///
    /// - Parameter code: what the peer's own Close frame said, for a reason without a code.
    static func closeFrame(_ reason: CloseReason, answering code: CloseCode? = nil) -> SharedBytes {
        if reason.code != nil { return closeFrames[reason.rawValue] }
        var bytes: [UInt8] = []
        FrameEncoder.appendClose(code, to: &bytes)
        return copying(bytes)
    }

    private static let closeFrames = CloseReason.allCases.map { reason in
        var bytes: [UInt8] = []
        FrameEncoder.appendClose(reason.code, reason: reason.text, to: &bytes)
        return copying(bytes)
    }

    /// Several runs as one, so that each member of an audience is written with one plain send.
    static func joining(_ messages: ContiguousArray<Message>, as encoding: Encoding) -> SharedBytes {
        if messages.count == 1 { return messages[0].encoded(as: encoding) }
        let byteCount = messages.reduce(0) { $0 + $1.encoded(as: encoding).byteCount }
        return SharedBytes(byteCount) { target in
            var offset = 0
            for message in messages {
                let part = message.encoded(as: encoding).bytes
                UnsafeMutableRawBufferPointer(rebasing: target[offset...]).copyMemory(from: part)
                offset += part.count
            }
        }
    }
}
