// The shape of what Redis sends, found by its headers alone: payloads are skipped. Pure value.
//
//     +text\r\n   -text\r\n   :number\r\n   $length\r\n bytes \r\n   *count\r\n items        $-1 and *-1 are nil

/// What a server has sent that no Redis sends, or that was not asked for.
enum RespViolation: Error, Equatable {
    /// No RESP2 type begins with this byte.
    case unknownKind(UInt8)
    /// A length, count or number that is not a number, or is out of its range.
    case number
    /// A line or a string that does not end as it must.
    case lineEnd
    case tooDeep, tooManyElements, tooManyBytes
    /// A reply too many, or a push without a subscription.
    case unasked
    /// On a subscribed connection: anything but a message or a confirmation.
    case shape

    var reason: String {
        switch self {
        case .unknownKind(let byte): "protocol error: unknown type \(byte)"
        case .number: "protocol error: a number is malformed"
        case .lineEnd: "protocol error: a line does not end"
        case .tooDeep: "protocol error: a reply nests too deep"
        case .tooManyElements: "protocol error: a reply has too many elements"
        case .tooManyBytes: "protocol error: a reply is too long"
        case .unasked: "protocol error: a reply without a question"
        case .shape: "protocol error: a push of an unknown form"
        }
    }
}

/// Finds the ends of replies in a stream that may be cut anywhere. It is never more lenient than hiredis'
/// reader, so that both see the same replies: what passes here neither trips an assert of hiredis nor makes
/// it allocate for elements or bytes that are only announced.
struct RespScanner {
    /// hiredis takes one level more.
    static let maximumDepth = 7
    /// `+` and `-` lines, which Redis keeps below some hundred bytes.
    static let maximumLineBytes = 64 << 10

    /// The outer form of a reply.
    struct Shape {
        /// Room for the longest word that is looked for.
        static let maximumWordBytes = 16

        /// The type byte.
        fileprivate(set) var kind: UInt8 = 0
        /// Of an array; -1 for nil.
        fileprivate(set) var elementCount = 0
        /// The type bytes of the first three elements; zero for nil, and where there are fewer.
        fileprivate(set) var elementKinds = InlineArray<3, UInt8>(repeating: 0)
        /// The last integer.
        fileprivate(set) var number: Int64 = 0
        fileprivate var word = InlineArray<16, UInt8>(repeating: 0)
        fileprivate var wordBytes = 0

        /// Whether the first element is this string.
        func begins(with text: StaticString) -> Bool {
            guard elementKinds[0] == .bulk, wordBytes == text.utf8CodeUnitCount else { return false }
            for index in 0..<wordBytes where word[index] != text.utf8Start[index] { return false }
            return true
        }
    }

    private enum Step { case kind, number, numberEnd, line, lineEnd, bytes, bytesReturn, bytesEnd }

    /// Bytes of all strings and lines of one reply.
    var maximumBytes = 0
    /// Elements of all arrays of one reply.
    var maximumElementCount = 0

    /// The reply that was found last.
    private(set) var shape = Shape()
    private var step = Step.kind
    private var itemKind: UInt8 = 0
    private var isNegative = false
    private var digitCount = 0
    private var magnitude: UInt64 = 0
    private var missingBytes = 0
    private var isWord = false
    /// Elements still to come of the arrays that are open, the outermost first.
    private var missingElements = InlineArray<7, Int>(repeating: 0)
    private var depth = 0
    private var replyBytes = 0
    private var replyElements = 0

    var isBetweenReplies: Bool { depth == 0 && step == .kind }

    /// Scans to the end of the present reply, or of the bytes.
    ///
    /// - Parameter index: where to begin; behind what was looked at when this returns.
    /// - Returns: whether a reply is complete, which `shape` describes.
    /// - Complexity: O(bytes of headers and lines).
    mutating func scan(_ bytes: UnsafeRawBufferPointer, from index: inout Int) throws(RespViolation) -> Bool
    {
        while index < bytes.count {
            let byte = bytes[index]
            switch step {
            case .kind:
                index += 1
                try begin(byte)
            case .number:
                index += 1
                try takeDigit(byte)
            case .numberEnd:
                index += 1
                guard byte == .lineFeed else { throw .lineEnd }
                if try endNumber() { return true }
            case .line:
                index += 1
                try takeText(byte)
            case .lineEnd, .bytesEnd:
                index += 1
                guard byte == .lineFeed else { throw .lineEnd }
                if endItem() { return true }
            case .bytes: skipBytes(bytes, &index)
            case .bytesReturn:
                index += 1
                guard byte == .carriageReturn else { throw .lineEnd }
                step = .bytesEnd
            }
        }
        return false
    }

    private mutating func begin(_ kind: UInt8) throws(RespViolation) {
        if depth == 0 {
            shape = Shape()
            shape.kind = kind
            replyBytes = 0
            replyElements = 0
        }
        itemKind = kind
        noteElement(kind)
        switch kind {
        case .status, .error: step = .line
        case .integer, .bulk, .array:
            isNegative = false
            digitCount = 0
            magnitude = 0
            step = .number
        default: throw .unknownKind(kind)
        }
    }

    /// The place of the present item among the elements of the outermost array, if it is one of the first
    /// three.
    private var position: Int? {
        guard depth == 1 else { return nil }
        let position = shape.elementCount - missingElements[0]
        return position < 3 ? position : nil
    }

    private mutating func noteElement(_ kind: UInt8) {
        if let position { shape.elementKinds[position] = kind }
    }

    /// Strict, as hiredis is: no sign but a minus, no zeros in front.
    private mutating func takeDigit(_ byte: UInt8) throws(RespViolation) {
        switch byte {
        case 0x30...0x39:
            guard digitCount == 0 || magnitude > 0, !(isNegative && digitCount == 0 && byte == 0x30) else {
                throw .number
            }
            let (product, isTooMuch) = magnitude.multipliedReportingOverflow(by: 10)
            let (sum, isMore) = product.addingReportingOverflow(UInt64(byte - 0x30))
            guard !isTooMuch, !isMore else { throw .number }
            magnitude = sum
            digitCount += 1
        case .minus where digitCount == 0 && !isNegative: isNegative = true
        case .carriageReturn where digitCount > 0: step = .numberEnd
        default: throw .number
        }
    }

    private mutating func endNumber() throws(RespViolation) -> Bool {
        guard magnitude <= (isNegative ? UInt64(Int64.max) + 1 : UInt64(Int64.max)) else { throw .number }
        let number = isNegative ? Int64(truncatingIfNeeded: 0 &- magnitude) : Int64(magnitude)
        guard itemKind != .integer else {
            shape.number = number
            return endItem()
        }
        guard number >= 0 else {
            guard number == -1 else { throw .number }
            noteElement(0)
            if depth == 0 { shape.elementCount = -1 }
            return endItem()
        }
        if itemKind == .bulk {
            try count(bytes: number)
            missingBytes = Int(number)
            isWord = position == 0 && missingBytes <= Shape.maximumWordBytes
            step = missingBytes > 0 ? .bytes : .bytesReturn
            return false
        }
        return try beginArray(count: number)
    }

    private mutating func beginArray(count: Int64) throws(RespViolation) -> Bool {
        guard count <= maximumElementCount - replyElements else { throw .tooManyElements }
        guard depth < RespScanner.maximumDepth else { throw .tooDeep }
        if depth == 0 { shape.elementCount = Int(count) }
        guard count > 0 else { return endItem() }
        replyElements += Int(count)
        missingElements[depth] = Int(count)
        depth += 1
        step = .kind
        return false
    }

    private mutating func count(bytes: Int64) throws(RespViolation) {
        guard bytes <= maximumBytes - replyBytes else { throw .tooManyBytes }
        replyBytes += Int(bytes)
    }

    private mutating func takeText(_ byte: UInt8) throws(RespViolation) {
        switch byte {
        case .carriageReturn: step = .lineEnd
        case .lineFeed: throw .lineEnd
        default:
            digitCount += 1
            guard digitCount <= RespScanner.maximumLineBytes else { throw .tooManyBytes }
            try count(bytes: 1)
        }
    }

    private mutating func skipBytes(_ bytes: UnsafeRawBufferPointer, _ index: inout Int) {
        let count = min(missingBytes, bytes.count - index)
        if isWord {
            for offset in 0..<count {
                shape.word[shape.wordBytes] = bytes[index + offset]
                shape.wordBytes += 1
            }
        }
        index += count
        missingBytes -= count
        if missingBytes == 0 { step = .bytesReturn }
    }

    /// Closes the item and every array that it completes; returns whether the reply is complete.
    private mutating func endItem() -> Bool {
        step = .kind
        digitCount = 0
        while depth > 0 {
            missingElements[depth - 1] -= 1
            if missingElements[depth - 1] > 0 { return false }
            depth -= 1
        }
        return true
    }
}

extension UInt8 {
    static let status = UInt8(ascii: "+")
    static let error = UInt8(ascii: "-")
    static let integer = UInt8(ascii: ":")
    static let bulk = UInt8(ascii: "$")
    static let array = UInt8(ascii: "*")
    static let carriageReturn = UInt8(ascii: "\r")
    static let lineFeed = UInt8(ascii: "\n")
    fileprivate static let minus = UInt8(ascii: "-")
}
