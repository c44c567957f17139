// Eight bytes at a time: the word-wide tests that the UTF-8, JSON, HTTP and unmasking loops are built on.
// Words are loaded little-endian, so the lowest set marker belongs to the first byte in memory. Pure, any
// thread.

/// Marker arithmetic on eight bytes: a marker is the top bit of a byte lane.
///
/// Borrows run from a lane to higher lanes only and start only in a lane that is itself marked, so the
/// lowest marker is exact; higher ones may be false. Callers use "is there any" and "where is the first".
public enum Word {
    public static let bytes = 8
    /// The top bit of every lane: set where a byte is not ASCII.
    public static let topBits: UInt64 = 0x8080_8080_8080_8080
    @usableFromInline internal static let ones: UInt64 = 0x0101_0101_0101_0101

    /// Loads eight bytes at `offset`, at any alignment.
    @inlinable @inline(__always)
    public static func load(_ bytes: UnsafeRawBufferPointer, at offset: Int) -> UInt64 {
        UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
    }

    /// Eight copies of `byte`.
    @inlinable @inline(__always)
    public static func repeating(_ byte: UInt8) -> UInt64 { UInt64(byte) &* ones }

    /// Marks lanes equal to `byte`.
    @inlinable @inline(__always)
    public static func marks(of byte: UInt8, in word: UInt64) -> UInt64 {
        let difference = word ^ repeating(byte)
        return (difference &- ones) & ~difference & topBits
    }

    /// Marks lanes below `limit`, which is at most 128.
    @inlinable @inline(__always)
    public static func marks(below limit: UInt8, in word: UInt64) -> UInt64 {
        (word &- repeating(limit)) & ~word & topBits
    }

    /// The index in memory, 0...7, of the first marked byte.
    @inlinable @inline(__always)
    public static func firstIndex(_ marks: UInt64) -> Int { marks.trailingZeroBitCount >> 3 }

    /// The offset of the first `byte` at or after `start`, or nil.
    /// - Complexity: O(count).
    @inlinable
    public static func firstOffset(of byte: UInt8, in bytes: UnsafeRawBufferPointer, from start: Int) -> Int?
    {
        var offset = start
        while bytes.count - offset >= Word.bytes {
            let found = marks(of: byte, in: load(bytes, at: offset))
            if found != 0 { return offset + firstIndex(found) }
            offset += Word.bytes
        }
        while offset < bytes.count {
            if bytes[offset] == byte { return offset }
            offset += 1
        }
        return nil
    }
}
