// The numbers of the table for people.
import Foundation
import Testing

@testable import LoadTest

@Suite struct ReportTableTests {
    @Test(
        arguments: [
            (0, "0.000"), (0.0004, "0.000"), (0.0016, "0.002"), (0.05, "0.050"), (0.9996, "1.000"),
            (1, "1.00"),
            (1.006, "1.01"), (9.996, "10.00"), (10, "10.0"), (10.06, "10.1"), (99.96, "100.0"), (100, "100"),
            (100.6, "101"), (123_456.7, "123457"), (-0.0001, "0.000"), (-1.5, "-1.50"), (-12, "-12.0"),
            (-100.6, "-101"),
        ] as [(Double, String)])
    func numbersHaveThreeDigitsOrAllWholeOnes(value: Double, text: String) {
        #expect(ReportTable.number(value) == text)
    }

    @Test func numbersAreThoseOfPrintf() {
        var random = SystemRandomNumberGenerator()
        for _ in 0..<1000 {
            let value = Double.random(in: -5...5, using: &random)
            let magnitude = (value < 0 ? -1 : 1) * pow(10, abs(value))
            // Halfway between two is rounded by neither: a random value is never there.
            let format = abs(magnitude) >= 100 ? "%.0f" : abs(magnitude) >= 10 ? "%.1f" : "%.2f"
            #expect(ReportTable.number(magnitude) == String(format: format, magnitude), "\(magnitude)")
        }
    }

    @Test(arguments: [Double.nan, .infinity, -.infinity, 1e15, -1e300])
    func numbersBeyondAllMeasurementStopNothing(value: Double) {
        #expect(ReportTable.number(value) == "\(value)")
    }
}
