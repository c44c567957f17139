// Where a command's first key is. Pure.

import Bytes

extension RedisCommand {
    /// The slot of the command's first key in a Redis Cluster; nil if it has no key, so that any node can carry it out.
    package var slot: Int? { withFirstKey { HashSlot.of($0) } }

    /// Runs `body` with the first key, if there is one.
    private func withFirstKey<Value>(_ body: (UnsafeRawBufferPointer) -> Value) -> Value? {
        withBytes { bytes in
            var arguments = Arguments(bytes)
            guard let name = arguments.next() else { return nil }
            switch RedisCommand.placeOfKey(name) {
            case .nowhere: return nil
            case .argument(let place):
                for _ in 1..<place where arguments.next() == nil { return nil }
            case .behindCount:
                // The script, or the name of the function; how many keys there are.
                guard arguments.next() != nil, let count = arguments.next(), !count.elementsEqual("0".utf8)
                else {
                    return nil
                }
            }
            return arguments.next().map(body)
        }
    }

    private enum KeyPlace {
        case nowhere
        case argument(Int)
        case behindCount
    }

    /// Names of commands without a key. Whether the channel of PUBLISH is one does not matter: it reaches every node.
    private static let keyless: [StaticString] = [
        "PING", "PUBLISH", "INFO", "SCRIPT", "FUNCTION", "SCAN", "TIME", "CLUSTER", "ACL", "CONFIG", "ROLE",
        "AUTH", "WAIT",
        "CLIENT", "SELECT", "ASKING", "PUBSUB", "WAITAOF", "COMMAND",
    ]
    private static let counted: [StaticString] = [
        "EVALSHA", "EVAL", "FCALL", "EVAL_RO", "EVALSHA_RO", "FCALL_RO",
    ]

    private static func placeOfKey(_ name: UnsafeRawBufferPointer) -> KeyPlace {
        if counted.contains(where: { isName(name, $0) }) { return .behindCount }
        if keyless.contains(where: { isName(name, $0) }) { return .nowhere }
        let hasSubcommand = isName(name, "XINFO") || isName(name, "MEMORY")
        return hasSubcommand ? .argument(2) : .argument(1)
    }

    private static func isName(_ name: UnsafeRawBufferPointer, _ known: StaticString) -> Bool {
        name.elementsEqual(UnsafeBufferPointer(start: known.utf8Start, count: known.utf8CodeUnitCount))
    }

    /// The arguments of a command in the form in which it is sent; each is skipped by its length.
    private struct Arguments {
        private let bytes: UnsafeRawBufferPointer
        private var position: Int

        init(_ bytes: UnsafeRawBufferPointer) {
            self.bytes = bytes
            // *<count>\r\n
            position = (bytes.firstIndex(of: Ascii.lineFeed) ?? bytes.count - 1) + 1
        }

        /// $<length>\r\n<argument>\r\n
        mutating func next() -> UnsafeRawBufferPointer? {
            guard position < bytes.count, bytes[position] == UInt8(ascii: "$") else { return nil }
            var length = 0
            position += 1
            while position < bytes.count, bytes[position] != Ascii.carriageReturn {
                length = length * 10 + Int(bytes[position] &- UInt8(ascii: "0"))
                position += 1
            }
            let start = position + 2
            position = start + length + 2
            guard position <= bytes.count else { return nil }
            return UnsafeRawBufferPointer(rebasing: bytes[start..<start + length])
        }
    }
}
