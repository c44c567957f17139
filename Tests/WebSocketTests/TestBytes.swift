// What the tests of this target share: raw bytes from arrays and text, and a random source with a printable
// seed.

@testable import WebSocket

/// Runs `body` on the raw bytes of `bytes`.
func withRaw<Value>(_ bytes: [UInt8], _ body: (UnsafeRawBufferPointer) -> Value) -> Value {
    bytes.withUnsafeBytes(body)
}

func withRaw<Value>(_ text: String, _ body: (UnsafeRawBufferPointer) -> Value) -> Value {
    withRaw(Array(text.utf8), body)
}

func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }

/// SplitMix64: the same numbers for the same seed on every machine.
struct SeededRandom: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ mixed >> 30) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ mixed >> 27) &* 0x94D0_49BB_1331_11EB
        return mixed ^ mixed >> 31
    }

    mutating func bytes(_ count: Int) -> [UInt8] {
        (0..<count).map { _ in UInt8.random(in: 0...255, using: &self) }
    }

    /// Text of `count` scalars from all four UTF-8 lengths.
    mutating func text(_ count: Int) -> String {
        let samples: [Character] = ["a", "Z", "\"", "é", "ß", "房", "间", "€", "😀", "𐍈"]
        return String((0..<count).map { _ in samples.randomElement(using: &self) ?? "a" })
    }
}
