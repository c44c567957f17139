// Durations and byte sizes as options. The unit is required: people have read bare numbers as the wrong unit
// too often.

import Bytes
import System

/// A duration with its unit: `500ms`, `30s`, `5m`, `24h`.
package struct DurationConverter: OptionConverter {
    let range: ClosedRange<Duration>

    package init(_ range: ClosedRange<Duration>) { self.range = range }

    package var expected: String {
        "a duration from \(range.lowerBound.optionText) to \(range.upperBound.optionText) "
            + "with its unit (500ms, 30s, 5m, 24h)"
    }

    package func value(of text: String) -> Duration? {
        guard let (count, unit) = splitUnit(text), let milliseconds = Self.unitMilliseconds[unit] else {
            return nil
        }
        let (total, overflow) = Int64(count).multipliedReportingOverflow(by: milliseconds)
        let duration = Duration.milliseconds(total)
        return !overflow && range.contains(duration) ? duration : nil
    }

    private static let unitMilliseconds: [String: Int64] = ["ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000]
}

/// A number of bytes with its unit: `512B`, `64KiB`, `1MiB`, `1GiB`, or decimal `64KB`, `1MB`, `1GB`.
package struct ByteSizeConverter: OptionConverter {
    let range: ClosedRange<Int>

    package init(_ range: ClosedRange<Int>) { self.range = range }

    package var expected: String {
        "a size from \(Self.text(of: range.lowerBound)) to \(Self.text(of: range.upperBound)) "
            + "with its unit (512B, 64KiB, 1MiB)"
    }

    package func value(of text: String) -> Int? {
        guard let (count, unit) = splitUnit(text), let unitBytes = Self.unitBytes[unit] else { return nil }
        let (total, overflow) = count.multipliedReportingOverflow(by: unitBytes)
        return !overflow && range.contains(total) ? total : nil
    }

    /// A number of bytes in the largest binary unit that shows it without a fraction.
    static func text(of byteCount: Int) -> String {
        for (unit, unitBytes) in [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)]
        where byteCount >= unitBytes && byteCount % unitBytes == 0 {
            return "\(byteCount / unitBytes)\(unit)"
        }
        return "\(byteCount)B"
    }

    private static let unitBytes: [String: Int] = [
        "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "KB": 1000, "MB": 1_000_000,
        "GB": 1_000_000_000,
    ]
}

extension Duration {
    /// The duration as an option takes it: in the largest of `h`, `m`, `s`, `ms` that shows it without a
    /// fraction. Parts under a millisecond are dropped.
    package var optionText: String {
        let milliseconds = wholeMilliseconds
        for (unit, size) in [("h", Int64(3_600_000)), ("m", 60_000), ("s", 1000)]
        where milliseconds != 0 && milliseconds % size == 0 {
            return "\(milliseconds / size)\(unit)"
        }
        return milliseconds == 0 ? "0s" : "\(milliseconds)ms"
    }
}

/// Splits `64KiB` into 64 and `KiB`; nil when there is no number or it does not fit in an `Int`.
private func splitUnit(_ text: String) -> (count: Int, unit: String)? {
    let digits = text.prefix { $0.isASCII && $0.isNumber }
    guard let count = unsignedDecimal(digits) else { return nil }
    return (count, String(text[digits.endIndex...]))
}
