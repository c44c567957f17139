import Foundation
import Testing

@testable import LoadTest

struct HistogramTests {
    @Test(arguments: [Int64(0), 1, 127, 128, 255]) func smallValuesAreExact(value: Int64) {
        var histogram = Histogram()
        histogram.record(value)
        histogram.record(1_000_000)
        #expect(histogram.value(at: 0.5) == value)
    }

    @Test func everyQuantileIsWithinOnePercentAbove() {
        var histogram = Histogram()
        var values: [Int64] = []
        var value: Int64 = 1
        while value < Histogram.maximumValue {
            values.append(value)
            histogram.record(value)
            value += value / 7 + 1
        }
        for (index, exact) in values.enumerated() {
            let found = histogram.value(at: Double(index + 1) / Double(values.count))
            #expect(found >= exact && Double(found) <= Double(exact) * 1.01, "\(exact) became \(found)")
        }
    }

    @Test func theMaximumIsExactAndBoundsEveryQuantile() {
        var histogram = Histogram()
        histogram.record(1_000_003)
        #expect(histogram.maximum == 1_000_003)
        #expect(histogram.value(at: 0.5) == 1_000_003)
        #expect(histogram.value(at: 1) == 1_000_003)
    }

    @Test func valuesOutsideTheRangeAreCountedAtItsEnds() {
        var histogram = Histogram()
        histogram.record(-5)
        histogram.record(.max)
        #expect(histogram.count == 2)
        #expect(histogram.value(at: 0.5) == 0)
        #expect(histogram.value(at: 1) == Histogram.maximumValue)
    }

    @Test func nothingRecordedIsZero() {
        #expect(Histogram().value(at: 0.99) == 0)
        #expect(Histogram().count == 0)
    }

    @Test func mergedIsAsIfRecordedInOne() {
        var (whole, even, odd) = (Histogram(), Histogram(), Histogram())
        for value in Int64(0)..<20_000 {
            whole.record(value * value)
            if value % 2 == 0 { even.record(value * value) } else { odd.record(value * value) }
        }
        #expect(even != whole)
        even.merge(odd)
        #expect(even == whole)
    }

    @Test func encodedAndDecodedIsTheSame() throws {
        var histogram = Histogram()
        for value in [Int64(0), 300, 300, 1 << 30, .max] { histogram.record(value) }
        let decoded = try JSONDecoder().decode(Histogram.self, from: JSONEncoder().encode(histogram))
        #expect(decoded == histogram)
    }

    @Test func aBucketThatDoesNotExistIsRefused() {
        let text = #"{"buckets":[99999999,1],"maximum":1}"#
        #expect(throws: DecodingError.self) {
            try JSONDecoder().decode(Histogram.self, from: Data(text.utf8))
        }
    }
}
