// Durations as whole numbers and fractions of a unit: the one place that looks into their components. Pure.

extension Duration {
    /// The duration in nanoseconds; what is finer is cut off.
    @inlinable package var wholeNanoseconds: Int64 {
        let (seconds, attoseconds) = components
        return seconds * 1_000_000_000 + attoseconds / 1_000_000_000
    }

    /// The duration in milliseconds; what is finer is cut off.
    @inlinable package var wholeMilliseconds: Int64 {
        let (seconds, attoseconds) = components
        return seconds * 1_000 + attoseconds / 1_000_000_000_000_000
    }

    /// The duration in seconds.
    package var inSeconds: Double { Double(wholeNanoseconds) / 1_000_000_000 }

    /// Whether nothing is finer than a second.
    package var isWholeSeconds: Bool { components.attoseconds == 0 }
}
