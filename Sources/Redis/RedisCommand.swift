// A command on its way to Redis. Pure.

import Bytes

/// A command in the form in which it is sent (RESP arrays of bulk strings), built argument by argument into
/// one run of bytes:
///
///     *2\r\n $4\r\nPTTL\r\n $10\r\nclient:abc\r\n
package struct RedisCommand {
    /// Without the end of the last line until the next line, or the command's end, is there: so each argument
    /// takes two appends.
    private var bytes: [UInt8] = []
    private let argumentCount: Int
    private var missingCount: Int

    /// - Parameters:
    ///   - argumentCount: how many arguments will be appended; the command's name is the first.
    ///   - capacityBytes: room for all of them, so that none of them has to make more.
    package init(argumentCount: Int, capacityBytes: Int = 128) {
        self.argumentCount = argumentCount
        missingCount = argumentCount
        bytes.reserveCapacity(capacityBytes)
        bytes.append(UInt8(ascii: "*"))
        bytes.append(decimal: argumentCount)
    }

    /// - Parameter arguments: the command's name and what it is called with.
    package init(_ arguments: [RedisArgument]) {
        self.init(
            argumentCount: arguments.count, capacityBytes: arguments.reduce(16) { $0 + $1.count + 16 })
        for argument in arguments { append(argument) }
    }

    /// Whether all arguments are there.
    var isComplete: Bool { missingCount == 0 }

    /// The command's name, for messages: the text between the second line and the third.
    package var name: String {
        let lines = bytes.split(separator: UInt8(ascii: "\r"), maxSplits: 3)
        return lines.count > 2 ? String(decoding: lines[2].dropFirst(), as: UTF8.self) : ""
    }

    /// How many bytes of the command are there.
    package var byteCount: Int { isComplete ? bytes.count - 1 : bytes.count }

    /// Runs `body` with what is sent, once all arguments are there; a NUL follows.
    func withBytes<Value>(_ body: (UnsafeRawBufferPointer) -> Value) -> Value {
        precondition(isComplete, "a command is sent with all of its arguments")
        return bytes.withUnsafeBytes { body(UnsafeRawBufferPointer(rebasing: $0.dropLast())) }
    }

    package mutating func append(_ argument: RedisArgument) {
        begin(byteCount: argument.count)
        bytes.append(contentsOf: argument)
        end()
    }

    package mutating func append(_ argument: StaticString) {
        begin(byteCount: argument.utf8CodeUnitCount)
        bytes.append(
            contentsOf: UnsafeBufferPointer(start: argument.utf8Start, count: argument.utf8CodeUnitCount))
        end()
    }

    /// A number in decimal.
    package mutating func append(_ number: Int64) {
        var digits = BackwardText()
        digits.prepend(decimal: number)
        begin(byteCount: digits.byteCount)
        digits.append(to: &bytes)
        end()
    }

    /// An argument in pieces.
    ///
    /// - Parameters:
    ///   - byteCount: the length of all of them.
    ///   - body: appends exactly as many bytes.
    package mutating func append(byteCount: Int, _ body: (inout [UInt8]) -> Void) {
        begin(byteCount: byteCount)
        let start = bytes.count
        body(&bytes)
        precondition(bytes.count - start == byteCount, "an argument is as long as it was said to be")
        end()
    }

    /// The same command with other arguments in place of the first ones.
    ///
    /// - Parameters:
    ///   - startBytes: `byteCount` when those to be replaced had been appended.
    ///   - arguments: as many as are replaced.
    package func replacingStart(_ startBytes: Int, by arguments: [RedisArgument]) -> RedisCommand {
        var command = RedisCommand(
            argumentCount: argumentCount,
            capacityBytes: bytes.count + arguments.reduce(16) { $0 + $1.count + 16 })
        for argument in arguments { command.append(argument) }
        command.bytes.append(contentsOf: bytes[startBytes...])
        command.missingCount = missingCount
        return command
    }

    private mutating func begin(byteCount: Int) {
        precondition(missingCount > 0, "a command has as many arguments as were announced")
        missingCount -= 1
        var line = BackwardText()
        line.prepend(Ascii.lineFeed)
        line.prepend(Ascii.carriageReturn)
        line.prepend(decimal: Int64(byteCount))
        line.prepend(UInt8(ascii: "$"))
        line.prepend(Ascii.lineFeed)
        line.prepend(Ascii.carriageReturn)
        line.append(to: &bytes)
    }

    private mutating func end() {
        guard isComplete else { return }
        // hiredis looks for a further argument behind the last one, as in text that ends with a NUL.
        bytes.append(contentsOf: [Ascii.carriageReturn, Ascii.lineFeed, 0])
    }
}
