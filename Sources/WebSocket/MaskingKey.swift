// The XOR mask of client frames (RFC 6455 section 5.3). A value, pure, any thread.

import Bytes

/// A masking key, rotated as the payload goes by: its first byte belongs to the next payload byte.
package struct MaskingKey: Sendable, Equatable {
    /// The first byte of the key is the lowest.
    private var bits: UInt32

    /// - Parameter networkOrder: The key as a number whose most significant byte goes first over the wire.
    package init(networkOrder: UInt32) { bits = networkOrder.byteSwapped }

    /// The key as a number whose most significant byte goes first over the wire.
    package var networkOrder: UInt32 { bits.byteSwapped }

    /// Masks or unmasks `bytes` in place and moves the key on by as many bytes, so that the next piece of
    /// the same payload continues where this one ended.
    /// - Complexity: O(count), eight bytes a step.
    package mutating func apply(to bytes: UnsafeMutableRawBufferPointer) {
        let wide = UInt64(bits) << 32 | UInt64(bits)
        var offset = 0
        while bytes.count - offset >= Word.bytes {
            let word = bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
            bytes.storeBytes(of: word ^ wide.littleEndian, toByteOffset: offset, as: UInt64.self)
            offset += Word.bytes
        }
        while offset < bytes.count {
            bytes[offset] ^= UInt8(truncatingIfNeeded: bits)
            bits = bits >> 8 | bits << 24
            offset += 1
        }
    }
}
