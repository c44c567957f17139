// Raw bytes from arrays and text, and random text, for tests.

/// Runs `body` on the raw bytes of `bytes`.
package func withRaw<Value>(_ bytes: [UInt8], _ body: (UnsafeRawBufferPointer) -> Value) -> Value {
    bytes.withUnsafeBytes(body)
}

package func withRaw<Value>(_ text: String, _ body: (UnsafeRawBufferPointer) -> Value) -> Value {
    withRaw(Array(text.utf8), body)
}

package func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }

extension SeededRandom {
    /// Text of `count` scalars from all four UTF-8 lengths.
    package mutating func text(_ count: Int) -> String {
        let samples: [Character] = ["a", "Z", "\"", "é", "ß", "房", "间", "€", "😀", "𐍈"]
        return String((0..<count).map { _ in samples.randomElement(using: &self) ?? "a" })
    }
}
