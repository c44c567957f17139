// Random bits for tokens, fetched in bulk. Loop-confined.

import Glibc

/// The kernel's random generator, one getentropy(3) for 32 words instead of a system call for each.
package struct RandomPool: RandomNumberGenerator {
    /// The most that one call gives, 256 bytes, in words.
    private static let wordCount = 32

    private var words = InlineArray<32, UInt64>(repeating: 0)
    private var usedCount = RandomPool.wordCount

    package init() {}

    package mutating func next() -> UInt64 {
        if usedCount == RandomPool.wordCount {
            let result = withUnsafeMutableBytes(of: &words) { getentropy($0.baseAddress!, $0.count) }
            precondition(result == 0, "getentropy: the kernel has no random generator")
            usedCount = 0
        }
        defer {
            // What was given out must not be found in memory.
            words[usedCount] = 0
            usedCount += 1
        }
        return words[usedCount]
    }
}
