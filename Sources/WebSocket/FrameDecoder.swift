// Turns the bytes of one connection into messages, control frames and protocol failures (RFC 6455 section 5,
// RFC 7692 section 6). A pure state machine, resumable at every byte; belongs to its connection and is used
// on that one's thread.

import Bytes

/// Decodes frames of one direction of one connection, one event a call.
///
///     firstByte → secondByte → [extendedLength] → [maskingKey] → payload → [inflating] → firstByte → …
///     any       → finished     after a failure or a Close frame: what follows is ignored
///
/// The caller loops until nil comes back, which means that the input is used up:
///
///     while let event = decoder.next(&input) { … }
///
/// The state is small and has no heap part, except while a control frame is cut by the end of the input, and
/// for the payload of a compressed message: it is kept as it came until all of it is there, because the
/// state of zlib in the middle of a message would be as large and cost a peer nothing.
package struct FrameDecoder {
    /// Which end this decoder stands at: a server takes only masked frames, a client only unmasked ones.
    package enum Role: Sendable { case server, client }

    /// What a data message is made of.
    package enum MessageKind: Sendable { case text, binary }

    /// One thing that the peer said. Bytes lie in the input, in the decoder or in the inflater: they are
    /// valid until the next call of `next` of any decoder with this inflater, while all of them live.
    package enum Event {
        /// A message begins; any number of `messageBytes` and one `messageEnd` follow. Control frames may
        /// come between.
        case messageStart(MessageKind)
        /// The next unmasked bytes of the message, never empty; text is UTF-8 as far as it goes.
        case messageBytes(UnsafeRawBufferPointer)
        case messageEnd
        case ping(UnsafeRawBufferPointer)
        case pong(UnsafeRawBufferPointer)
        /// A legal Close frame; the code is absent if its payload is empty. Nothing comes after it.
        case close(CloseCode?, reason: UnsafeRawBufferPointer)
        /// The peer broke a rule: close with this code (1002, 1007 or 1009). Nothing comes after it. Data
        /// that cannot be inflated is 1007, what becomes too long by that 1009.
        case failure(CloseCode)
    }

    private enum Phase: UInt8 {
        case firstByte, secondByte, extendedLength, maskingKey, payload, inflating, finished
    }

    private let maximumMessageBytes: Int
    private let inflater: Inflater?
    /// Payload of the frame that is still to come; in `extendedLength`, the part of the length read so far.
    private var remainingBytes = 0
    /// Payload announced by the frames of the message so far; while it is inflated, what has come of it.
    private var messageBytes = 0
    private var control: ControlPayload?
    /// The payload of the open message, if it is compressed.
    private var compressed: [UInt8] = []
    // Small fields stand together, so that the decoder stays small.
    private let role: Role
    private var phase = Phase.firstByte
    private var opcode = Opcode.continuation
    private var isFinal = false
    /// The message whose fragments are coming, if any.
    private var message: MessageKind?
    /// Whether the message that came last is compressed.
    package private(set) var isCompressed = false
    /// Header bytes that are still to come in phases `extendedLength` and `maskingKey`.
    private var missingHeaderBytes: UInt8 = 0
    /// Whether the length comes in eight bytes, not two.
    private var isLongLength = false
    private var text = Utf8Validator()
    /// In phase `maskingKey` the part of it read so far.
    private var maskingKey = MaskingKey(networkOrder: 0)

    /// - Parameters:
    ///   - maximumMessageBytes: The longest message over all of its fragments; a longer one fails with 1009
    ///     as soon as a header announces it, or as soon as so much has been inflated. Control frames do not
    ///     count.
    ///   - inflater: Of this thread, for the messages of a peer that may compress them; nil if it may not.
    package init(_ role: Role, maximumMessageBytes: Int, inflater: Inflater? = nil) {
        precondition(maximumMessageBytes >= 0, "a size limit is not negative")
        self.role = role
        self.maximumMessageBytes = maximumMessageBytes
        self.inflater = inflater
    }

    /// The longest compressed payload: data that cannot be compressed grows by up to an eighth in zlib's
    /// worst setting (`deflateBound`).
    private var maximumCompressedBytes: Int { maximumMessageBytes + maximumMessageBytes / 8 + 64 }

    /// True between messages with nothing read ahead: a fresh decoder is then as good as this one, and its
    /// owner may throw it away once the last event's bytes are used.
    package var isIdle: Bool { phase == .firstByte && message == nil }

    /// True after a failure or a Close frame: whatever comes is ignored.
    package var isFinished: Bool { phase == .finished }

    /// Takes bytes off the front of `input` until they make an event; nil when `input` is used up (then
    /// empty).
    ///
    /// Call it once more after the last byte was taken: empty payloads and message ends need no further
    /// input. Payload is unmasked in place.
    /// - Complexity: O(bytes taken and given); allocates only for a control frame cut by the end of the
    ///   input, and for compressed messages.
    package mutating func next(_ input: inout UnsafeMutableRawBufferPointer) -> Event? {
        while true {
            switch phase {
            case .firstByte, .secondByte, .extendedLength, .maskingKey:
                guard let byte = input.first else { return nil }
                input = UnsafeMutableRawBufferPointer(rebasing: input.dropFirst())
                if let event = readHeader(byte) { return event }
            case .payload:
                if opcode.isControl { return readControl(&input) }
                if remainingBytes > 0 {
                    guard isCompressed else { return readMessage(&input) }
                    guard !input.isEmpty else { return nil }
                    compressed.append(contentsOf: takePayload(&input))
                } else if let event = endDataFrame() {
                    return event
                }
            case .inflating: return inflate()
            case .finished:
                input = UnsafeMutableRawBufferPointer(rebasing: input.suffix(0))
                return nil
            }
        }
    }

    private mutating func readHeader(_ byte: UInt8) -> Event? {
        switch phase {
        case .firstByte: return readFirstByte(byte)
        case .secondByte: return readSecondByte(byte)
        case .extendedLength: return readLengthByte(byte)
        default: return readMaskByte(byte)
        }
    }

    private mutating func readFirstByte(_ byte: UInt8) -> Event? {
        control = nil
        let reserved = byte & FrameHeader.reservedBits
        guard reserved == 0 || reserved == FrameHeader.compressedBit && inflater != nil,
            let opcode = Opcode(rawValue: byte & FrameHeader.opcodeBits)
        else { return fail(.protocolError) }
        isFinal = byte & FrameHeader.finBit != 0
        switch opcode {
        case .text, .binary:
            guard message == nil else { return fail(.protocolError) }
            isCompressed = reserved != 0
        // Only the first frame of a message says that it is compressed (RFC 7692 section 6.1).
        case .continuation: guard message != nil, reserved == 0 else { return fail(.protocolError) }
        case .close, .ping, .pong: guard isFinal, reserved == 0 else { return fail(.protocolError) }
        }
        self.opcode = opcode
        phase = .secondByte
        return nil
    }

    private mutating func readSecondByte(_ byte: UInt8) -> Event? {
        guard (byte & FrameHeader.maskBit != 0) == (role == .server) else { return fail(.protocolError) }
        let length = byte & FrameHeader.lengthBits
        guard length >= FrameHeader.twoByteLength else {
            remainingBytes = Int(length)
            return endLength()
        }
        guard !opcode.isControl else { return fail(.protocolError) }
        isLongLength = length == FrameHeader.eightByteLength
        missingHeaderBytes = isLongLength ? 8 : 2
        remainingBytes = 0
        phase = .extendedLength
        return nil
    }

    private mutating func readLengthByte(_ byte: UInt8) -> Event? {
        if missingHeaderBytes == 8, byte & 0x80 != 0 { return fail(.protocolError) }
        remainingBytes = remainingBytes << 8 | Int(byte)
        missingHeaderBytes -= 1
        guard missingHeaderBytes == 0 else { return nil }
        // RFC 6455 section 5.2: the minimal number of bytes MUST be used.
        let smallest = isLongLength ? 0x1_0000 : Int(FrameHeader.twoByteLength)
        guard remainingBytes >= smallest else { return fail(.protocolError) }
        return endLength()
    }

    private mutating func endLength() -> Event? {
        if !opcode.isControl {
            let maximumBytes = isCompressed ? maximumCompressedBytes : maximumMessageBytes
            guard remainingBytes <= maximumBytes - messageBytes else { return fail(.messageTooBig) }
            messageBytes += remainingBytes
        }
        guard role == .server else { return endHeader() }
        missingHeaderBytes = 4
        phase = .maskingKey
        return nil
    }

    private mutating func readMaskByte(_ byte: UInt8) -> Event? {
        maskingKey = MaskingKey(networkOrder: maskingKey.networkOrder << 8 | UInt32(byte))
        missingHeaderBytes -= 1
        return missingHeaderBytes == 0 ? endHeader() : nil
    }

    private mutating func endHeader() -> Event? {
        phase = .payload
        guard opcode == .text || opcode == .binary else { return nil }
        let kind = opcode == .text ? MessageKind.text : .binary
        message = kind
        return .messageStart(kind)
    }

    /// Takes up to `remainingBytes` off the input, unmasked.
    private mutating func takePayload(_ input: inout UnsafeMutableRawBufferPointer) -> UnsafeRawBufferPointer
    {
        let taken = UnsafeMutableRawBufferPointer(rebasing: input.prefix(remainingBytes))
        input = UnsafeMutableRawBufferPointer(rebasing: input.dropFirst(taken.count))
        remainingBytes -= taken.count
        if role == .server { maskingKey.apply(to: taken) }
        return UnsafeRawBufferPointer(taken)
    }

    private mutating func readMessage(_ input: inout UnsafeMutableRawBufferPointer) -> Event? {
        guard !input.isEmpty else { return nil }
        let bytes = takePayload(&input)
        if message == .text, !text.accept(bytes) { return fail(.invalidPayload) }
        return .messageBytes(bytes)
    }

    private mutating func endDataFrame() -> Event? {
        phase = .firstByte
        guard isFinal else { return nil }
        messageBytes = 0
        guard isCompressed, let inflater else { return endMessage() }
        inflater.begin()
        phase = .inflating
        return nil
    }

    /// The next piece of a compressed message that is there.
    private mutating func inflate() -> Event {
        switch inflater.map({ inflater in compressed.withUnsafeBytes { inflater.next(of: $0) } }) {
        case .bytes(let bytes):
            messageBytes += bytes.count
            guard messageBytes <= maximumMessageBytes else { return fail(.messageTooBig) }
            if message == .text, !text.accept(bytes) { return fail(.invalidPayload) }
            return .messageBytes(bytes)
        case .end:
            compressed = []
            messageBytes = 0
            phase = .firstByte
            return endMessage()
        case .malformed, nil: return fail(.invalidPayload)
        }
    }

    private mutating func endMessage() -> Event {
        guard text.isAtBoundary else { return fail(.invalidPayload) }
        message = nil
        return .messageEnd
    }

    private mutating func readControl(_ input: inout UnsafeMutableRawBufferPointer) -> Event? {
        if control == nil, input.count >= remainingBytes {
            return endControl(takePayload(&input))
        }
        guard !input.isEmpty else { return nil }
        let announcedBytes = remainingBytes
        let bytes = takePayload(&input)
        if control == nil { control = ControlPayload(capacity: announcedBytes) }
        // A copied decoder must not write into the memory of its original.
        if !isKnownUniquelyReferenced(&control), let shared = control {
            control = ControlPayload(copying: shared)
        }
        guard let control else { return nil }
        control.append(bytes)
        return remainingBytes == 0 ? endControl(control.bytes) : nil
    }

    private mutating func endControl(_ payload: UnsafeRawBufferPointer) -> Event {
        phase = .firstByte
        switch opcode {
        case .ping: return .ping(payload)
        case .pong: return .pong(payload)
        default: break
        }
        switch ClosePayload.decode(payload) {
        case .valid(let code, let reason):
            phase = .finished
            return .close(code, reason: reason)
        case .failure(let code):
            return fail(code)
        }
    }

    private mutating func fail(_ code: CloseCode) -> Event {
        phase = .finished
        compressed = []
        return .failure(code)
    }
}

/// The payload of a control frame that arrives in several reads: at most 125 bytes, freed with its last
/// reference.
private final class ControlPayload {
    private let storage: UnsafeMutableRawBufferPointer
    private var count = 0

    init(capacity: Int) {
        storage = .allocate(byteCount: capacity, alignment: 1)
    }

    convenience init(copying other: ControlPayload) {
        self.init(capacity: other.storage.count)
        append(other.bytes)
    }

    deinit { storage.deallocate() }

    var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: storage[..<count]) }

    func append(_ piece: UnsafeRawBufferPointer) {
        UnsafeMutableRawBufferPointer(rebasing: storage[count..<count + piece.count]).copyMemory(from: piece)
        count += piece.count
    }
}
