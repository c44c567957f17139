import EventLoop
import Foundation
import Testing

@testable import Gateway

@Suite struct LogTests {
    private let hostile = [
        "plain", "two words", "", "a=b", "say \"hi\"", "line\nfeed", "carriage\rreturn", "tab\there",
        "nul\u{0}", "\u{1B}[31mred", "del\u{7F}", "back\\slash", "\\\"", "x\" level=error y=\"", "房间",
        "\u{2028}", "\u{9B}31mC1", "\u{202E}gnp.exe", "zero\u{200B}width", "}", "{\"a\":1}",
        "\n2026-01-01T00:00:00.000Z error forged node=n1",
    ]

    private func text(_ message: String, _ fields: Log.Fields) -> String {
        String(decoding: Log.text("T", .warning, message, fields, "n1"), as: UTF8.self)
    }

    private func json(_ message: String, _ fields: Log.Fields) throws -> [String: String] {
        let line = Log.json("T", .error, message, fields, "n1")
        #expect(line.last == UInt8(ascii: "\n"))
        #expect(line.count { $0 == UInt8(ascii: "\n") } == 1)
        return try #require(JSONSerialization.jsonObject(with: Data(line)) as? [String: String])
    }

    @Test func textLineIsTimeLevelMessageAndFields() {
        #expect(text("it is so", ["a": "1", "b": "x/y:z"]) == "T warning it is so a=1 b=x/y:z node=n1\n")
        #expect(text("alone", [:]) == "T warning alone node=n1\n")
    }

    @Test func valuesThatAreNoWordAreQuoted() {
        #expect(text("m", ["v": "two words"]) == "T warning m v=\"two words\" node=n1\n")
        #expect(text("m", ["v": ""]) == "T warning m v=\"\" node=n1\n")
        #expect(text("m", ["v": "a\nb\"c"]) == "T warning m v=\"a\\nb\\\"c\" node=n1\n")
    }

    /// A value can neither end its line nor begin a field of its own.
    @Test func noValueForgesAFieldOrALine() {
        for value in hostile {
            let line = text("m", ["v": value, "w": "end"])
            #expect(line.utf8.count { $0 == UInt8(ascii: "\n") } == 1, "\(value.debugDescription)")
            #expect(line.utf8.allSatisfy { $0 >= 0x20 || $0 == 0x0A }, "\(value.debugDescription)")
            #expect(fields(line) == ["v", "w", "node"], "\(value.debugDescription)")
        }
    }

    @Test func jsonLineIsOneObjectWithTheValuesAsTheyWere() throws {
        for value in hostile {
            let object = try json(value, ["v": value, "reason": value])
            #expect(object["v"] == value)
            #expect(object["reason"] == value)
            #expect(object["message"] == value)
            #expect(object["node"] == "n1")
            #expect(object["level"] == "error")
            #expect(object["time"] == "T")
            #expect(object.count == 6)
        }
    }

    /// C0, C1, and what breaks lines or turns the direction of writing: a log is read on a terminal.
    @Test(arguments: [
        "\u{1B}", "\u{7F}", "\u{85}", "\u{9B}", "\u{2028}", "\u{2029}", "\u{202E}", "\u{2066}", "\u{FEFF}",
    ])
    func nothingUnseenReachesTheLine(character: String) throws {
        let value = "a\(character)b"
        let escape =
            "a\\u"
            + String(
                repeating: "0", count: 4 - String(character.unicodeScalars.first!.value, radix: 16).count)
            + String(character.unicodeScalars.first!.value, radix: 16) + "b"
        #expect(text("m", ["v": value]) == "T warning m v=\"\(escape)\" node=n1\n")
        #expect(!text(value, [:]).contains(character))
        let line = String(decoding: Log.json("T", .error, value, ["v": value], "n1"), as: UTF8.self)
        #expect(line.components(separatedBy: escape).count == 3)
        #expect(!line.contains(character))
    }

    @Test func valuesHaveABound() throws {
        let long = String(repeating: "x", count: 100_000)
        #expect(text("m", ["v": long]).count < 2100)
        #expect(try json("m", ["v": long])["v"]?.hasSuffix("x…") == true)
    }

    @Test func linesBelowTheLevelAreNotWritten() {
        let log = Log(level: .warning, format: .text, nodeID: "n")
        #expect(!log.isEnabled(.debug))
        #expect(!log.isEnabled(.info))
        #expect(log.isEnabled(.warning))
        #expect(log.isEnabled(.error))
    }

    @Test func linesGoToStderrWithAnRfc3339Time() async throws {
        let start = Date.now
        let result = await #expect(processExitsWith: .success, observing: [\.standardErrorContent]) {
            let log = Log(level: .info, format: .text, nodeID: "n1")
            log.debug("not this")
            log.info("this", ["a": "1"])
            log.error("and this")
            exit(0)
        }
        let lines = String(decoding: try #require(result).standardErrorContent, as: UTF8.self)
            .split(separator: "\n").filter { $0.hasSuffix("node=n1") }
        #expect(lines.count == 2)
        #expect(lines.first?.hasSuffix("Z info this a=1 node=n1") == true)
        #expect(lines.last?.hasSuffix("Z error and this node=n1") == true)
        let time = try #require(lines.first?.prefix { $0 != " " })
        let style = Date.ISO8601FormatStyle(includingFractionalSeconds: true)
        // The line tells milliseconds.
        #expect(
            (start.addingTimeInterval(-0.001)...(.now)).contains(try Date(String(time), strategy: style)))
    }

    @Test func oneWarningASecondThatTellsHowManyWereLeftOut() async throws {
        let result = await #expect(processExitsWith: .success, observing: [\.standardErrorContent]) {
            var log = RateLimitedLog(Log(level: .info, format: .text, nodeID: "n1"))
            let start = MonotonicInstant(nanoseconds: 10_000_000_000)
            log.warning("w", ["i": "0"], now: start)
            for number in 1...9 {
                log.warning("w", ["i": "\(number)"], now: start + .milliseconds(111 * number))
            }
            log.warning("w", ["i": "10"], now: start + .milliseconds(1_000))
            log.warning("w", ["i": "11"], now: start + .milliseconds(1_999))
            log.warning("w", [:], now: start + .milliseconds(9_000))
            log.warning("w", ["i": "12"], now: start + .milliseconds(10_000))
            exit(0)
        }
        let lines = String(decoding: try #require(result).standardErrorContent, as: UTF8.self)
            .split(separator: "\n").filter { $0.hasSuffix("node=n1") }
            .map { $0.drop { $0 != " " }.dropFirst() }
        #expect(
            lines == [
                "warning w i=0 node=n1",
                "warning w i=10 left_out=9 node=n1",
                "warning w left_out=1 node=n1",
                "warning w i=12 node=n1",
            ])
    }

    /// The names of a line's fields, read as a collector would: a value is a word or a quoted string.
    private func fields(_ line: String) -> [String] {
        var names: [String] = []
        var word = ""
        var isQuoted = false
        var isEscaped = false
        for character in line {
            if isEscaped {
                isEscaped = false
            } else if isQuoted, character == "\\" {
                isEscaped = true
            } else if character == "\"" {
                isQuoted.toggle()
            } else if !isQuoted, character == " " || character == "\n" {
                if let equals = word.firstIndex(of: "=") { names.append(String(word[..<equals])) }
                word = ""
                continue
            }
            word.append(isQuoted ? "." : character)
        }
        return names
    }
}
