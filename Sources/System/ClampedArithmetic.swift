// Sums and products of numbers that others have written: Redis, files, the peer of a connection. Pure.

extension FixedWidthInteger {
    /// The sum, or the largest or smallest number where there is none: a plain `+` would end the program.
    package func addingClamped(_ other: Self) -> Self {
        let (sum, isOver) = addingReportingOverflow(other)
        return isOver ? (other > 0 ? .max : .min) : sum
    }

    /// The product, or the largest or smallest number where there is none.
    package func multipliedClamped(by other: Self) -> Self {
        let (product, isOver) = multipliedReportingOverflow(by: other)
        return isOver ? ((self > 0) == (other > 0) ? .max : .min) : product
    }
}

extension Sequence where Element: FixedWidthInteger {
    /// As `addingClamped`, over all.
    package var clampedSum: Element { reduce(0) { $0.addingClamped($1) } }
}
