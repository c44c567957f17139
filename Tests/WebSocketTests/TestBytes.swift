// What the tests of this target share: raw bytes from arrays and text, and random text.

import TestSupport

@testable import WebSocket

/// Runs `body` on the raw bytes of `bytes`.
func withRaw<Value>(_ bytes: [UInt8], _ body: (UnsafeRawBufferPointer) -> Value) -> Value {
    bytes.withUnsafeBytes(body)
}

func withRaw<Value>(_ text: String, _ body: (UnsafeRawBufferPointer) -> Value) -> Value {
    withRaw(Array(text.utf8), body)
}

func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }

extension SeededRandom {
    /// Text of `count` scalars from all four UTF-8 lengths.
    mutating func text(_ count: Int) -> String {
        let samples: [Character] = ["a", "Z", "\"", "é", "ß", "房", "间", "€", "😀", "𐍈"]
        return String((0..<count).map { _ in samples.randomElement(using: &self) ?? "a" })
    }
}
