// Random numbers that can be had again. Pure value.

/// SplitMix64: the same numbers for the same seed on every machine. A test shows its seed when it fails.
package struct SeededRandom: RandomNumberGenerator {
    private var state: UInt64

    package init(seed: UInt64) { state = seed }

    package mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ mixed >> 30) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ mixed >> 27) &* 0x94D0_49BB_1331_11EB
        return mixed ^ mixed >> 31
    }

    package mutating func bytes(_ count: Int) -> [UInt8] {
        (0..<count).map { _ in UInt8.random(in: 0...255, using: &self) }
    }

    /// A few seeds that are always tried, and one that is new in each run.
    package static var seeds: [UInt64] { [1, 2, 3, UInt64.random(in: 4...9_999_999)] }
}
