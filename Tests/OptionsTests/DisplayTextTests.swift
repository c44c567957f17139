import Testing

@testable import Options

@Suite struct DisplayTextTests {
    @Test func plainTextStandsAsItIs() {
        for text in ["", #"{"type":"notice","data":"a\nb"}"#, "é", "日本", "e\u{301}", "😀", "×"] {
            #expect(DisplayText.text(text) == text)
        }
    }

    /// C0, DEL, C1, and what turns the direction of writing or breaks lines: written out in letters that are
    /// seen.
    @Test func nothingThatDrivesATerminalPasses() throws {
        let turning = [0x61C] + Array(0x200B...0x200F) + Array(0x2028...0x202E) + Array(0x2066...0x206F)
        for value in Array(0x00..<0x20) + Array(0x7F..<0xA0) + turning + [0xFEFF, 0xE0041] {
            let shown = DisplayText.text(String(try #require(UnicodeScalar(UInt32(value)))))
            #expect(shown.utf8.allSatisfy { (0x21..<0x7F).contains($0) }, "\(value)")
            #expect(shown.hasPrefix("\\"))
        }
    }

    @Test func controlCharactersAreWrittenOut() {
        #expect(DisplayText.text("a\u{1B}[31mb\r\n\t\u{7}") == #"a\u{1b}[31mb\r\n\t\u{07}"#)
        #expect(DisplayText.text("\u{9B}2J\u{202E}x") == #"\u{9b}2J\u{202e}x"#)
    }

    @Test func bytesThatAreNoUtf8AreWrittenOut() {
        #expect(DisplayText.text([0x61, 0xFF, 0x62]) == #"a\xffb"#)
        // The C1 control CSI as a single byte, and a letter that is cut.
        #expect(DisplayText.text([0x9B, 0x31, 0xC3]) == #"\x9b1\xc3"#)
        #expect(DisplayText.text([0xED, 0xA0, 0x80]) == #"\xed\xa0\x80"#)
    }

    @Test(arguments: [
        (0, ""), (1, "…"), (2, "a…"), (4, "abc…"), (5, "abcde"), (6, "abcde"),
    ])
    func longTextIsCutToItsColumns(columnCount: Int, shown: String) {
        #expect(DisplayText.text("abcde", columnCount: columnCount) == shown)
    }

    @Test func wideLettersTakeTwoColumnsAndMarksNone() {
        #expect(DisplayText.width(of: "日本") == 4)
        #expect(DisplayText.width(of: "e\u{301}x") == 2)
        #expect(DisplayText.width(of: "…▁█é") == 4)
        #expect(DisplayText.text("日本語", columnCount: 5) == "日本…")
        #expect(DisplayText.text("日本語", columnCount: 4) == "日…")
        for columnCount in 0...12 {
            let shown = DisplayText.text("日\u{1B}e\u{301}本\u{202E}", columnCount: columnCount)
            #expect(DisplayText.width(of: shown) <= columnCount)
        }
    }
}
