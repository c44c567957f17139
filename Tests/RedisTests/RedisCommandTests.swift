import Testing

@testable import Redis

@Suite struct RedisCommandTests {
    private func text(_ command: RedisCommand) -> String {
        command.withBytes { String(decoding: $0, as: UTF8.self) }
    }

    @Test func argumentsAreBulkStrings() {
        let command = RedisCommand([[UInt8]("SET"), [], [0, 13, 10, 255]])
        #expect(command.isComplete)
        let expected = Array("*3\r\n$3\r\nSET\r\n$0\r\n\r\n$4\r\n".utf8) + [0, 13, 10, 255, 13, 10]
        #expect(command.withBytes { Array($0) } == expected)
    }

    @Test(arguments: [
        (Int64.min, "$20\r\n-9223372036854775808"), (-10, "$3\r\n-10"), (-1, "$2\r\n-1"), (0, "$1\r\n0"),
        (9, "$1\r\n9"), (10, "$2\r\n10"), (99, "$2\r\n99"), (100, "$3\r\n100"),
        (Int64.max, "$19\r\n9223372036854775807"),
    ])
    func numbersAreDecimal(number: Int64, expected: String) {
        var command = RedisCommand(argumentCount: 1)
        command.append(number)
        #expect(text(command) == "*1\r\n\(expected)\r\n")
    }

    @Test func lengthsOfEveryWidthAreRight() {
        for count in [0, 1, 9, 10, 99, 100, 999, 1000, 65_535, 65_536] {
            let command = RedisCommand([[UInt8](repeating: 65, count: count)])
            #expect(text(command) == "*1\r\n$\(count)\r\n\(String(repeating: "A", count: count))\r\n")
        }
    }

    @Test func piecesMakeOneArgument() {
        var command = RedisCommand(argumentCount: 2)
        command.append("PTTL")
        #expect(!command.isComplete)
        command.append(byteCount: 5) { bytes in
            bytes += Array("ab".utf8)
            bytes += Array("cde".utf8)
        }
        #expect(command.isComplete)
        #expect(text(command) == "*2\r\n$4\r\nPTTL\r\n$5\r\nabcde\r\n")
    }

    @Test func startIsReplacedAndTheRestStays() {
        var command = RedisCommand(argumentCount: 3)
        command.append("EVALSHA")
        command.append("abc")
        let startBytes = command.byteCount
        command.append("1")
        let replaced = command.replacingStart(startBytes, by: [[UInt8]("EVAL"), [UInt8]("return 1")])
        #expect(replaced.isComplete)
        // The NUL that hiredis wants, once.
        #expect(replaced.withBytes { $0.baseAddress!.load(fromByteOffset: $0.count, as: UInt8.self) } == 0)
        #expect(text(replaced) == "*3\r\n$4\r\nEVAL\r\n$8\r\nreturn 1\r\n$1\r\n1\r\n")
    }
}
