// SHA-1 (FIPS 180-4), for the handshake only: RFC 6455 asks for it as a fingerprint, not as protection.
// Pure, any thread; works on the stack.

/// The hash of whole buffers.
package enum Sha1 {
    private static let blockBytes = 64

    /// The 20-byte digest of `message`.
    /// - Complexity: O(count); one allocation, for the result.
    package static func digest(of message: UnsafeRawBufferPointer) -> [UInt8] {
        withDigest(of: message) { [UInt8]($0) }
    }

    /// Runs `body` with the 20-byte digest of `message`.
    /// - Complexity: O(count); no allocation.
    static func withDigest<Value>(
        of message: UnsafeRawBufferPointer, _ body: (UnsafeRawBufferPointer) -> Value
    ) -> Value {
        var state = State()
        var offset = 0
        while message.count - offset >= blockBytes {
            state.add(message.part(offset..<offset + blockBytes))
            offset += blockBytes
        }
        addTail(message.part(offset..<message.count), totalBytes: message.count, to: &state)
        for index in state.words.indices { state.words[index] = state.words[index].bigEndian }
        return withUnsafeBytes(of: state.words, body)
    }

    /// The rest of the message, one bit 1, zeros, and the bit count in eight bytes: one block or two.
    private static func addTail(_ rest: UnsafeRawBufferPointer, totalBytes: Int, to state: inout State) {
        let paddedBytes = rest.count + 1 + 8 <= blockBytes ? blockBytes : 2 * blockBytes
        withUnsafeTemporaryAllocation(byteCount: paddedBytes, alignment: 8) { tail in
            tail.initializeMemory(as: UInt8.self, repeating: 0)
            tail.copyMemory(from: rest)
            tail[rest.count] = 0x80
            let bitCount = UInt64(totalBytes) << 3
            tail.storeBytes(of: bitCount.bigEndian, toByteOffset: paddedBytes - 8, as: UInt64.self)
            for start in stride(from: 0, to: paddedBytes, by: blockBytes) {
                state.add(UnsafeRawBufferPointer(rebasing: tail[start..<start + blockBytes]))
            }
        }
    }

    private struct State {
        var words: InlineArray<5, UInt32> = [
            0x6745_2301, 0xEFCD_AB89, 0x98BA_DCFE, 0x1032_5476, 0xC3D2_E1F0,
        ]

        mutating func add(_ block: UnsafeRawBufferPointer) {
            var schedule = InlineArray<80, UInt32>(repeating: 0)
            for index in 0..<16 {
                let word = block.loadUnaligned(fromByteOffset: index * 4, as: UInt32.self)
                schedule[index] = UInt32(bigEndian: word)
            }
            for index in 16..<80 {
                let mixed =
                    schedule[index - 3] ^ schedule[index - 8] ^ schedule[index - 14] ^ schedule[index - 16]
                schedule[index] = State.rotate(mixed, by: 1)
            }
            var (a, b, c, d, e) = (words[0], words[1], words[2], words[3], words[4])
            // Four loops, so that no step asks in which round it is.
            for index in 0..<20 {
                let next =
                    State.rotate(a, by: 5) &+ ((b & c) | (~b & d)) &+ e &+ 0x5A82_7999 &+ schedule[index]
                (e, d, c, b, a) = (d, c, State.rotate(b, by: 30), a, next)
            }
            for index in 20..<40 {
                let next = State.rotate(a, by: 5) &+ (b ^ c ^ d) &+ e &+ 0x6ED9_EBA1 &+ schedule[index]
                (e, d, c, b, a) = (d, c, State.rotate(b, by: 30), a, next)
            }
            for index in 40..<60 {
                let majority = (b & c) | (b & d) | (c & d)
                let next = State.rotate(a, by: 5) &+ majority &+ e &+ 0x8F1B_BCDC &+ schedule[index]
                (e, d, c, b, a) = (d, c, State.rotate(b, by: 30), a, next)
            }
            for index in 60..<80 {
                let next = State.rotate(a, by: 5) &+ (b ^ c ^ d) &+ e &+ 0xCA62_C1D6 &+ schedule[index]
                (e, d, c, b, a) = (d, c, State.rotate(b, by: 30), a, next)
            }
            words[0] &+= a
            words[1] &+= b
            words[2] &+= c
            words[3] &+= d
            words[4] &+= e
        }

        private static func rotate(_ word: UInt32, by count: UInt32) -> UInt32 {
            word << count | word >> (32 - count)
        }
    }
}
