// The published payload: a notice whose fields stand at fixed offsets, so that a receiver checks it with a
// few loads and no JSON parser. Pure, any thread.

/// What a payload says.
struct LoadStamp: Equatable, Sendable {
    /// The run that it belongs to.
    var run: UInt32
    var room: UInt32
    /// Its place among the messages of its room, from 0.
    var sequence: UInt32
    /// When it was sent, in nanoseconds of CLOCK_MONOTONIC.
    var sentAt: Int64
}

/// Builds and reads payloads of one size.
///
///     {"type":"notice","data":{"id":"  checksum run room sequence sentAt  ","pad":"  words …  "}}
///     0                             31       39  47   55       63       79            88     n - 3
///
/// Numbers are lower-case hexadecimal of 8 digits, `sentAt` of 16. The checksum covers all bytes behind it.
struct LoadPayload: Sendable {
    private static let head = Array(#"{"type":"notice","data":{"id":""#.utf8)
    private static let middle = Array(#"","pad":""#.utf8)
    private static let tail = Array(#""}}"#.utf8)
    private static let checksumOffset = 31
    private static let runOffset = checksumOffset + 8
    private static let roomOffset = runOffset + 8
    private static let sequenceOffset = roomOffset + 8
    private static let sentAtOffset = sequenceOffset + 8
    private static let middleOffset = sentAtOffset + 16

    /// The smallest payload: no padding.
    static let minimumBytes = middleOffset + middle.count + tail.count

    /// The size of every payload.
    let bytes: Int
    private let template: [UInt8]

    /// - Parameter bytes: `minimumBytes` or more.
    init(bytes: Int) {
        precondition(bytes >= LoadPayload.minimumBytes, "a payload has room for its fields")
        self.bytes = bytes
        let padding = bytes - LoadPayload.minimumBytes
        var template = LoadPayload.head
        template += repeatElement(0x30, count: LoadPayload.middleOffset - template.count)
        template += LoadPayload.middle
        template += LoadPayload.padding(padding)
        self.template = template + LoadPayload.tail
    }

    /// Words in no order, so that a message compresses about as well as a real notice does.
    private static func padding(_ count: Int) -> [UInt8] {
        let words = [
            "order", "from", "train", "your", "platform", "message", "new", "the", "status", "price", "late",
            "user",
            "room", "is", "for", "updated", "shipment", "team", "has", "been", "queue", "ticket", "to",
            "and", "ready",
            "delivery", "at", "stock", "minutes", "open", "score", "in",
        ]
        var text: [UInt8] = []
        var state: UInt64 = 1
        while text.count < count {
            // Knuth's multiplier: the same words in every process.
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            text += Array(words[Int(state >> 59)].utf8) + [UInt8(ascii: " ")]
        }
        return Array(text[..<count])
    }

    /// The payload of a message.
    func encode(_ stamp: LoadStamp) -> [UInt8] {
        var payload = template
        payload.withUnsafeMutableBytes { bytes in
            Hexadecimal.write(stamp.run, to: bytes, at: LoadPayload.runOffset)
            Hexadecimal.write(stamp.room, to: bytes, at: LoadPayload.roomOffset)
            Hexadecimal.write(stamp.sequence, to: bytes, at: LoadPayload.sequenceOffset)
            let sentAt = UInt64(bitPattern: stamp.sentAt)
            Hexadecimal.write(UInt32(sentAt >> 32), to: bytes, at: LoadPayload.sentAtOffset)
            Hexadecimal.write(
                UInt32(truncatingIfNeeded: sentAt), to: bytes, at: LoadPayload.sentAtOffset + 8)
            let checksum = LoadPayload.checksum(UnsafeRawBufferPointer(bytes))
            Hexadecimal.write(checksum, to: bytes, at: LoadPayload.checksumOffset)
        }
        return payload
    }

    /// Reads a payload; nil when it is not one of this size, intact.
    /// - Complexity: O(bytes), eight bytes a step.
    func decode(_ payload: UnsafeRawBufferPointer) -> LoadStamp? {
        guard payload.count == bytes,
            Hexadecimal.isWritten(
                LoadPayload.checksum(payload), in: payload, at: LoadPayload.checksumOffset)
        else { return nil }
        let high = UInt64(Hexadecimal.read(payload, at: LoadPayload.sentAtOffset))
        let low = UInt64(Hexadecimal.read(payload, at: LoadPayload.sentAtOffset + 8))
        return LoadStamp(
            run: Hexadecimal.read(payload, at: LoadPayload.runOffset),
            room: Hexadecimal.read(payload, at: LoadPayload.roomOffset),
            sequence: Hexadecimal.read(payload, at: LoadPayload.sequenceOffset),
            sentAt: Int64(bitPattern: high << 32 | low))
    }

    /// Not cryptographic: it finds what a faulty buffer does to a payload (other bytes, shifted, swapped).
    /// Covers the fixed head and everything behind the checksum.
    private static func checksum(_ payload: UnsafeRawBufferPointer) -> UInt32 {
        // An odd constant with bits spread evenly: 2^64 over the golden ratio.
        let factor: UInt64 = 0x9E37_79B9_7F4A_7C15
        var hash = UInt64(payload.count)
        func mix(_ word: UInt64) {
            hash = (hash ^ word) &* factor
            hash ^= hash >> 32
        }
        var offset = 0
        while offset < 24 {
            mix(payload.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
            offset += 8
        }
        // The last seven bytes of the head, whole: its eighth is the checksum's first.
        mix(payload.loadUnaligned(fromByteOffset: checksumOffset - 8, as: UInt64.self))
        offset = runOffset
        while payload.count - offset >= 8 {
            mix(payload.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
            offset += 8
        }
        mix(payload.loadUnaligned(fromByteOffset: payload.count - 8, as: UInt64.self))
        return UInt32(truncatingIfNeeded: hash)
    }
}

/// Eight hexadecimal digits at a time.
enum Hexadecimal {
    /// Writes 8 lower-case digits.
    static func write(_ value: UInt32, to bytes: UnsafeMutableRawBufferPointer, at offset: Int) {
        bytes.storeBytes(of: digits(of: value).bigEndian, toByteOffset: offset, as: UInt64.self)
    }

    /// Whether exactly these 8 digits stand there.
    static func isWritten(_ value: UInt32, in bytes: UnsafeRawBufferPointer, at offset: Int) -> Bool {
        digits(of: value).bigEndian == bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
    }

    /// The digits as a word whose most significant byte is the first digit.
    private static func digits(of value: UInt32) -> UInt64 {
        var nibbles = UInt64(value)
        nibbles = (nibbles | nibbles << 16) & 0x0000_FFFF_0000_FFFF
        nibbles = (nibbles | nibbles << 8) & 0x00FF_00FF_00FF_00FF
        nibbles = (nibbles | nibbles << 4) & 0x0F0F_0F0F_0F0F_0F0F
        // 6 carries a nibble of 10 or more into the next four bits; 'a' is 0x27 more than '0' + 10.
        let letters = (nibbles &+ 0x0606_0606_0606_0606) >> 4 & 0x0101_0101_0101_0101
        return nibbles &+ 0x3030_3030_3030_3030 &+ letters &* 0x27
    }

    /// Reads 8 digits; what other bytes come to is unspecified.
    static func read(_ bytes: UnsafeRawBufferPointer, at offset: Int) -> UInt32 {
        // A letter has bit 6 set and its low nibble is 9 less than its value. The first digit in memory is
        // the most significant one.
        let word = UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
        var digits = (word & 0x0F0F_0F0F_0F0F_0F0F) &+ (word >> 6 & 0x0101_0101_0101_0101) &* 9
        digits = (digits | digits >> 4) & 0x00FF_00FF_00FF_00FF
        digits = (digits | digits >> 8) & 0x0000_FFFF_0000_FFFF
        return UInt32(truncatingIfNeeded: digits | digits >> 16)
    }
}
