import Testing

@testable import Gateway

@Suite struct CounterTests {
    @Test func counterAddsAndSets() {
        let counter = Counter()
        #expect(counter.value == 0)
        counter.add(3)
        counter.add(.max)
        #expect(counter.value == 2, "it goes round, as Prometheus' counters may")
        counter.set(7)
        #expect(counter.value == 7)
    }

    /// The bounds in nanoseconds, written out: no rounding of the seconds may move them.
    private static let bounds: [Int64] = [
        100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000, 10_000_000, 25_000_000, 50_000_000,
        100_000_000, 250_000_000, 500_000_000, 1_000_000_000, 2_500_000_000, 5_000_000_000,
    ]

    @Test func aBoundBelongsToItsBucketAndWhatIsAboveToTheNext() {
        #expect(DelayBuckets.bounds.count == Self.bounds.count)
        for (index, bound) in Self.bounds.enumerated() {
            let histogram = DelayBuckets()
            histogram.record(nanoseconds: bound)
            histogram.record(nanoseconds: bound + 1)
            #expect(histogram.buckets[index].value == 1, "\(bound)")
            #expect(histogram.buckets[index + 1].value == 1, "\(bound)")
            #expect(histogram.sumNanoseconds.value == UInt64(2 * bound + 1))
        }
    }

    @Test func extremesAreCountedToo() {
        let histogram = DelayBuckets()
        histogram.record(nanoseconds: 0)
        histogram.record(nanoseconds: -5)
        histogram.record(nanoseconds: .max)
        #expect(histogram.buckets.first?.value == 2)
        #expect(histogram.buckets.last?.value == 1)
        #expect(histogram.sumNanoseconds.value == UInt64(Int64.max), "time that went back adds nothing")
    }
}
