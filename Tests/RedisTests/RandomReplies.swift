import TestSupport

/// Streams such as a server might send that is broken, or means harm.
enum RandomReplies {
    /// A few parts, most of them well-formed, some of them damaged.
    static func stream(using random: inout SeededRandom) -> [UInt8] {
        var bytes: [UInt8] = []
        for _ in 0..<Int.random(in: 1...6, using: &random) { bytes += part(using: &random) }
        if Int.random(in: 0..<3, using: &random) == 0 { damage(&bytes, using: &random) }
        return bytes
    }

    private static func part(using random: inout SeededRandom) -> [UInt8] {
        switch Int.random(in: 0..<10, using: &random) {
        case 0...3: push(using: &random)
        case 4...7: item(depth: 0, using: &random)
        case 8: Array("-NOPERM no\r\n".utf8)
        default: random.bytes(Int.random(in: 1...20, using: &random))
        }
    }

    private static func push(using random: inout SeededRandom) -> [UInt8] {
        let words = ["message", "message", "subscribe", "unsubscribe", "pmessage", ""]
        let channels = ["anchor", "room:a", "unknown", ""]
        var bytes = Array("*3\r\n".utf8)
        bytes += bulk(words.randomElement(using: &random)!)
        bytes += bulk(channels.randomElement(using: &random)!)
        return bytes + item(depth: 6, using: &random)
    }

    private static func item(depth: Int, using random: inout SeededRandom) -> [UInt8] {
        let numbers: [Int64] = [0, 1, -1, 2, 7, .max, .min, 1 << 31, 1 << 20]
        switch Int.random(in: 0..<(depth < 8 ? 7 : 5), using: &random) {
        case 0: return Array("+OK\r\n".utf8)
        case 1: return Array("-ERR x\r\n".utf8)
        case 2: return Array(":\(numbers.randomElement(using: &random)!)\r\n".utf8)
        case 3: return bulk(String(repeating: "x", count: Int.random(in: 0...40, using: &random)))
        case 4: return Array((Bool.random(using: &random) ? "$-1\r\n" : "*-1\r\n").utf8)
        case 5: return Array("*\(numbers.randomElement(using: &random)!)\r\n".utf8)
        default:
            let count = Int.random(in: 0...3, using: &random)
            return (0..<count).reduce(Array("*\(count)\r\n".utf8)) { bytes, _ in
                bytes + item(depth: depth + 1, using: &random)
            }
        }
    }

    private static func bulk(_ text: String) -> [UInt8] { Array("$\(text.utf8.count)\r\n\(text)\r\n".utf8) }

    private static func damage(_ bytes: inout [UInt8], using random: inout SeededRandom) {
        let place = Int.random(in: 0..<bytes.count, using: &random)
        switch Int.random(in: 0..<3, using: &random) {
        case 0: bytes[place] = UInt8.random(in: 0...255, using: &random)
        case 1: bytes.remove(at: place)
        default: bytes.insert(UInt8.random(in: 0x2A...0x3A, using: &random), at: place)
        }
    }
}
