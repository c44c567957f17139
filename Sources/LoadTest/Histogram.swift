// Latencies counted in log-linear buckets. A pure value; each thread fills its own, and they are merged.

/// A histogram of non-negative 64-bit values with a relative error below 1 %.
///
/// Every power of two is cut into 128 buckets of equal width, so a bucket is at most 1/128 of its values
/// wide; values below 256 have a bucket of their own:
///
///     bucket  0 … 255       256 … 383        384 … 511        …
///     values  0 … 255       256, 258 … 510   512, 516 … 1020  …
struct Histogram: Equatable, Sendable {
    private static let linearBits = 7
    private static let linearCount = 1 << linearBits
    /// Larger values are counted as this one: 2^42 - 1, more than an hour in nanoseconds.
    static let maximumValue: Int64 = 1 << 42 - 1
    private static let bucketCount = index(of: maximumValue) + 1

    private var buckets = [UInt64](repeating: 0, count: Histogram.bucketCount)
    /// How many values were recorded.
    private(set) var count: UInt64 = 0
    /// The largest value recorded, exactly; 0 when there is none.
    private(set) var maximum: Int64 = 0

    /// Counts a value; a negative one counts as 0.
    mutating func record(_ value: Int64) {
        let value = min(max(value, 0), Histogram.maximumValue)
        buckets[Histogram.index(of: value)] += 1
        count += 1
        if value > maximum { maximum = value }
    }

    /// Adds what another histogram has counted.
    mutating func merge(_ other: Histogram) {
        for index in buckets.indices { buckets[index] += other.buckets[index] }
        count += other.count
        maximum = max(maximum, other.maximum)
    }

    /// The value that the given share (0...1) of all values does not exceed; at most 1 % above the exact
    /// one.
    ///
    /// - Returns: 0 when nothing was recorded.
    /// - Complexity: O(buckets).
    func value(at share: Double) -> Int64 {
        let wanted = max(1, UInt64((Double(count) * share).rounded(.up)))
        var seen: UInt64 = 0
        for (index, bucket) in buckets.enumerated() where bucket > 0 {
            seen += bucket
            if seen >= wanted { return min(Histogram.upperBound(of: index), maximum) }
        }
        return maximum
    }

    private static func index(of value: Int64) -> Int {
        let topBit = Int64.bitWidth - 1 - value.leadingZeroBitCount
        let shift = max(0, topBit - linearBits)
        return shift * linearCount + Int(value >> Int64(shift))
    }

    private static func upperBound(of index: Int) -> Int64 {
        let shift = max(0, index / linearCount - 1)
        return Int64(index - shift * linearCount + 1) << Int64(shift) - 1
    }
}

/// Between processes only the buckets that are not empty travel: bucket, count, bucket, count, …
extension Histogram: Codable {
    private enum CodingKeys: CodingKey { case buckets, maximum }

    init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        let pairs = try container.decode([UInt64].self, forKey: .buckets)
        for position in stride(from: 0, to: pairs.count - 1, by: 2) {
            guard pairs[position] < UInt64(Histogram.bucketCount) else {
                throw DecodingError.dataCorruptedError(
                    forKey: .buckets, in: container, debugDescription: "no such bucket")
            }
            buckets[Int(pairs[position])] += pairs[position + 1]
            count += pairs[position + 1]
        }
        maximum = try container.decode(Int64.self, forKey: .maximum)
    }

    func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        var pairs: [UInt64] = []
        for (index, bucket) in buckets.enumerated() where bucket > 0 { pairs += [UInt64(index), bucket] }
        try container.encode(pairs, forKey: .buckets)
        try container.encode(maximum, forKey: .maximum)
    }
}
