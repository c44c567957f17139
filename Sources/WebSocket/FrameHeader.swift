// The header of one WebSocket frame and its encoding. Pure values, any thread.

/// What a frame is (RFC 6455 section 5.2); the other ten values are reserved.
package enum Opcode: UInt8, Sendable {
    case continuation = 0x0
    case text = 0x1
    case binary = 0x2
    case close = 0x8
    case ping = 0x9
    case pong = 0xA

    /// Close, ping and pong: never fragmented, payload at most 125 bytes, allowed between fragments.
    package var isControl: Bool { rawValue & 0x8 != 0 }
}

/// A frame header, written in the shortest of its three sizes.
///
///      0               1               2 ...
///     +-+-+-+-+-------+-+-------------+-------------------------------+----------------------+
///     |F|R|R|R|opcode |M| length      | 126: 2 bytes, 127: 8 bytes    | 4 bytes of mask if M |
///     |I|S|S|S|       |A| 0...125     | of length, network order      |                      |
///     |N|V|V|V|       |S|             |                               |                      |
///     +-+-+-+-+-------+-+-------------+-------------------------------+----------------------+
package struct FrameHeader: Sendable, Equatable {
    /// The longest header: two bytes, eight of length, four of mask.
    package static let maximumBytes = 14
    /// The longest payload of a control frame.
    package static let maximumControlPayloadBytes = 125
    /// The longest control frame of a server: two bytes of header and the payload.
    package static let maximumControlFrameBytes = 2 + maximumControlPayloadBytes

    static let finBit: UInt8 = 0x80
    static let reservedBits: UInt8 = 0x70
    /// RSV1: the first frame of a compressed message (RFC 7692 section 6).
    static let compressedBit: UInt8 = 0x40
    static let opcodeBits: UInt8 = 0x0F
    static let maskBit: UInt8 = 0x80
    static let lengthBits: UInt8 = 0x7F
    static let twoByteLength: UInt8 = 126
    static let eightByteLength: UInt8 = 127

    package var opcode: Opcode
    /// True on the last or only frame of a message.
    package var isFinal: Bool
    /// True on the first frame of a message that is compressed.
    package var isCompressed: Bool
    /// 0 or more.
    package var payloadBytes: Int
    /// Present in frames from a client, absent in frames from a server.
    package var maskingKey: MaskingKey?

    package init(
        _ opcode: Opcode, payloadBytes: Int, isFinal: Bool = true, isCompressed: Bool = false,
        maskingKey: MaskingKey? = nil
    ) {
        precondition(payloadBytes >= 0, "a payload length is not negative")
        precondition(
            !opcode.isControl || (isFinal && payloadBytes <= FrameHeader.maximumControlPayloadBytes),
            "a control frame is not fragmented and holds at most 125 bytes")
        precondition(
            !isCompressed || opcode == .text || opcode == .binary, "only a message's first frame is marked")
        self.opcode = opcode
        self.isFinal = isFinal
        self.isCompressed = isCompressed
        self.payloadBytes = payloadBytes
        self.maskingKey = maskingKey
    }

    /// How many bytes `encode` writes: 2, 4 or 10, and 4 more with a mask.
    package var encodedBytes: Int {
        let unmasked = payloadBytes < Int(FrameHeader.twoByteLength) ? 2 : payloadBytes <= 0xFFFF ? 4 : 10
        return maskingKey == nil ? unmasked : unmasked + 4
    }

    /// How many bytes the header of a whole frame of a server takes.
    package static func serverBytes(of frame: UnsafeRawBufferPointer) -> Int {
        switch frame[1] {
        case twoByteLength: 4
        case eightByteLength: 10
        default: 2
        }
    }

    /// Writes the header to the front of `output`, which must have room for `encodedBytes`, and returns that
    /// number. The payload behind it is the caller's, and with a mask the caller applies it.
    @discardableResult
    package func encode(into output: UnsafeMutableRawBufferPointer) -> Int {
        precondition(output.count >= encodedBytes, "no room for the frame header")
        output[0] =
            (isFinal ? FrameHeader.finBit : 0) | (isCompressed ? FrameHeader.compressedBit : 0)
            | opcode.rawValue
        let mask = maskingKey == nil ? 0 : FrameHeader.maskBit
        var end = 2
        if payloadBytes < Int(FrameHeader.twoByteLength) {
            output[1] = mask | UInt8(payloadBytes)
        } else if payloadBytes <= 0xFFFF {
            output[1] = mask | FrameHeader.twoByteLength
            output.storeBytes(of: UInt16(payloadBytes).bigEndian, toByteOffset: 2, as: UInt16.self)
            end = 4
        } else {
            output[1] = mask | FrameHeader.eightByteLength
            output.storeBytes(of: UInt64(payloadBytes).bigEndian, toByteOffset: 2, as: UInt64.self)
            end = 10
        }
        if let maskingKey {
            output.storeBytes(of: maskingKey.networkOrder.bigEndian, toByteOffset: end, as: UInt32.self)
            end += 4
        }
        return end
    }
}
