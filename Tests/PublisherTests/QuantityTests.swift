import Testing

@testable import Publisher

@Suite struct QuantityTests {
    @Test(
        arguments: [
            (0, "0 B"), (1023, "1023 B"), (1024, "1 KiB"), (1536, "1.5 KiB"), (10_239, "10 KiB"),
            (1_048_575, "1 MiB"), (28_311_552, "27 MiB"), (.max, "16777216 TiB"),
        ] as [(UInt64, String)])
    func bytesHaveTheLargestUnit(count: UInt64, text: String) {
        #expect(Quantity.bytes(count) == text)
    }

    @Test(
        arguments: [
            (nil, "-"), (0, "0"), (0.04, "0"), (0.05, "0.1"), (9.94, "9.9"), (9.96, "10"), (1234.4, "1234"),
        ] as [(Double?, String)])
    func ratesAreShort(rate: Double?, text: String) {
        #expect(Quantity.rate(rate) == text)
    }

    @Test(
        arguments: [
            (0, "0s"), (59_999, "59s"), (60_000, "1m 0s"), (3_599_000, "59m 59s"), (7_200_000, "2h 0m"),
            (86_400_000 * 3 + 3_600_000 * 4, "3d 4h"),
        ] as [(Int64, String)])
    func timesHaveTwoUnits(milliseconds: Int64, text: String) {
        #expect(Quantity.time(milliseconds: milliseconds) == text)
    }

    @Test(
        arguments: [
            (0, "0.000"), (1.0005, "1.001"), (-0.25, "-0.250"), (.infinity, "0"), (.nan, "0"),
        ] as [(Double, String)])
    func decimalsAreJson(value: Double, text: String) {
        #expect(Quantity.decimal(value) == text)
    }
}

@Suite struct SparklineTests {
    private func line(_ values: [(Int, Double)]) -> Sparkline {
        var line = Sparkline()
        for (second, value) in values { line.add(value, at: .seconds(second)) }
        return line
    }

    @Test func valuesHoldUntilTheNextAndBlanksComeBeforeTheFirst() {
        let line = line([(30, 1), (45, 8)])
        let text = line.text(columnCount: 4, now: .seconds(60))
        #expect(text == " ▂██" || text == " ▂▂█", "\(text)")
        #expect(line.text(columnCount: 60, now: .seconds(60)).count == 60)
        #expect(line.text(columnCount: 500, now: .seconds(60)).count == 60)
        #expect(line.text(columnCount: 0, now: .seconds(60)).isEmpty)
        #expect(line.text(columnCount: -3, now: .seconds(60)).isEmpty)
    }

    @Test func barsAreRelativeToTheHighest() {
        let line = line((1...8).map { ($0 * 7, Double($0)) })
        let bars = line.text(columnCount: 60, now: .seconds(60))
        let order: [Character] = Array("▁▂▃▄▅▆▇█")
        let levels = bars.compactMap { order.firstIndex(of: $0) }
        #expect(levels == levels.sorted())
        #expect(Set(levels).count >= 7 && levels.last == 7)
        let ascii = line.text(columnCount: 60, now: .seconds(60), isAscii: true)
        #expect(ascii.allSatisfy(\.isASCII) && ascii.last == "#")
    }

    @Test func nothingIsAllAlongTheGround() {
        let flat = line([(0, 0), (59, 0)]).text(columnCount: 10, now: .seconds(60))
        #expect(flat == String(repeating: "▁", count: 10))
    }

    @Test func whatIsOverIsForgottenButItsLastValueHolds() {
        var line = line([(0, 100), (10, 4)])
        #expect(line.text(columnCount: 10, now: .seconds(100)) == String(repeating: "█", count: 10))
        for second in 11...1000 { line.add(1, at: .seconds(second)) }
        #expect(line.text(columnCount: 60, now: .seconds(1000)) == String(repeating: "█", count: 60))
        #expect(line.last == 1)
    }
}
