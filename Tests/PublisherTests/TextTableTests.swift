import Testing

@testable import Publisher

@Suite struct TextTableTests {
    @Test func tableIsAlignedAndNarrowedByRank() {
        var table = TextTable(columns: [
            .init("NAME"), .init("N", isRight: true, rank: 1), .init("LONG", rank: 2),
        ])
        table.rows = [["日本", "1", "x"], ["a", "100", "yyyyyy"]]
        #expect(table.lines() == ["NAME    N  LONG", "日本    1  x", "a     100  yyyyyy"])
        #expect(table.lines(columnCount: 16) == ["NAME    N", "日本    1", "a     100"])
        #expect(table.lines(columnCount: 8) == ["NAME", "日本", "a"])
        #expect(table.lines(columnCount: 3) == ["NA…", "日…", "a"])
    }

    @Test func jsonIsExactAndHarmless() {
        let line = JsonLine.object {
            $0.member("a\"b", "x\\\n\u{1B}\u{9B}\u{202E}\u{E0001}é")
            $0.member("n", decimal: 1.5)
            $0.member("no", decimal: nil)
            $0.member("l", [3, 4])
        }
        #expect(line == #"{"a\"b":"x\\\n\u001b\u009b\u202e\udb40\udc01é","n":1.500,"no":null,"l":[3,4]}"#)
    }
}
