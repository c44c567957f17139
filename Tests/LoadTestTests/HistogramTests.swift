import Testing

@testable import LoadTest

struct HistogramTests {
    @Test func valuesBelow256AreExact() {
        for value in Int64(0)..<256 {
            var histogram = Histogram()
            histogram.record(value)
            histogram.record(1000)
            #expect(histogram.value(at: 0.5) == value)
        }
    }
}
