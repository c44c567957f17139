// A line with a number in it, written without a String on the way. Pure value, any thread.

/// A short text that is written from its end to its beginning, as the digits of a number come. It lives on
/// the stack.
public struct BackwardText {
    /// Room for the longest number, 19 digits and a sign, and for what stands around it in a line.
    @usableFromInline internal var bytes = InlineArray<28, UInt8>(repeating: 0)
    @usableFromInline internal var start = 28

    @inlinable public init() {}

    /// How long the text is so far.
    @inlinable public var byteCount: Int { bytes.count - start }

    /// Puts a byte in front.
    @inlinable public mutating func prepend(_ byte: UInt8) {
        start -= 1
        bytes[start] = byte
    }

    /// Puts a number in front, in decimal.
    @inlinable public mutating func prepend(decimal number: Int64) {
        var rest = number.magnitude
        repeat {
            prepend(UInt8(ascii: "0") + UInt8(truncatingIfNeeded: rest % 10))
            rest /= 10
        } while rest > 0
        if number < 0 { prepend(UInt8(ascii: "-")) }
    }

    /// Appends the text to bytes, at once.
    @inlinable public func append(to target: inout [UInt8]) {
        withUnsafeBytes(of: bytes) { target.append(contentsOf: $0.part(start..<bytes.count)) }
    }
}
