// Which of the bytes that Redis sends hiredis gets to see. Pure value.

import EventLoop

/// Watches the stream of one connection. Before a subscription each reply answers a command; behind it come
/// confirmations, each of which was asked for, messages, and errors. The answers to a batch are taken out of
/// the stream and counted here, without a reply object for each.
///
/// hiredis 0.14 asserts the shape of what comes on a subscribed connection, and ends it for every error. So
/// whatever it could not take is found here and ends the connection, and errors on a subscribed connection
/// are taken out of the stream: they concern one channel, not the others.
struct ReplyGate {
    /// What stands behind the bytes that may pass.
    enum Finding: Equatable {
        case nothing
        /// The next answers to a batch: `numbers`.
        case numbers
        /// The next answer to a batch is an error, or (nil) something else that is no number.
        case refusal(String?)
        /// An error that answers no command but a subscription, or is the server's last word.
        case error(String)
        case violation(RespViolation)
    }

    struct Verdict: Equatable {
        /// How many bytes from the first one are for hiredis.
        let passedBytes: Int
        let finding: Finding
        /// How many bytes are dealt with: the rest is to be looked at anew.
        let consumedBytes: Int
    }

    /// Replies to commands; the largest that are asked for, reports of nodes, have some kilobytes.
    static let maximumReplyBytes = 64 << 20
    static let maximumReplyElementCount = 1 << 20
    /// Redis' own limit of a payload (proto-max-bulk-len), and what comes with it.
    static let maximumPushBytes = 512 << 20 + 64 << 10
    private static let pushElementCount = 3

    private enum Awaited {
        /// A reply that hiredis reads.
        case reply
        /// So many answers to a batch.
        case numbers(Int)
    }

    private var scanner = RespScanner()
    /// What has been asked for and has not come, the oldest first.
    private var awaited = Fifo<Awaited>()
    private var awaitedConfirmationCount = 0
    private var isSubscribed = false
    /// The line of an error that is not yet complete.
    private var errorLine: [UInt8]?

    /// Replies and pushes that have passed whole.
    private(set) var passedCount = 0
    /// Answers to a batch that the latest look has found.
    private(set) var numbers: [Int64] = []

    /// A command was sent that has one reply.
    mutating func commandSent() { awaited.append(.reply) }

    /// So many commands were sent whose answers are numbers.
    mutating func batchSent(count: Int) { awaited.append(.numbers(count)) }

    /// A subscription, or the end of one, was sent for one channel. No command follows.
    mutating func subscriptionSent() {
        isSubscribed = true
        awaitedConfirmationCount += 1
    }

    /// Looks at what was received.
    ///
    /// - Complexity: O(bytes of headers).
    mutating func look(at bytes: UnsafeRawBufferPointer) -> Verdict {
        var index = 0
        // Where the present reply begins, as far as it is in these bytes.
        var start = 0
        do throws(RespViolation) {
            while index < bytes.count {
                start = index
                if case .numbers(let missingCount)? = awaited.first {
                    guard index == 0 else { break }
                    return try lookAtNumbers(bytes, missingCount)
                }
                guard errorLine != nil || (scanner.isBetweenReplies && awaited.isEmpty) else {
                    try look(at: bytes, from: &index)
                    continue
                }
                if errorLine == nil, isSubscribed { skipMessages(bytes, &index) }
                start = index
                guard index < bytes.count else { break }
                guard errorLine != nil || bytes[index] == .error else {
                    try look(at: bytes, from: &index)
                    continue
                }
                let text = try takeError(bytes, &index)
                return Verdict(
                    passedBytes: start, finding: text.map { .error($0) } ?? .nothing, consumedBytes: index)
            }
        } catch {
            return Verdict(passedBytes: start, finding: .violation(error), consumedBytes: bytes.count)
        }
        return Verdict(passedBytes: index, finding: .nothing, consumedBytes: index)
    }

    /// Finds answers to the batch that is the oldest command, from the first byte on.
    private mutating func lookAtNumbers(
        _ bytes: UnsafeRawBufferPointer, _ missingCount: Int
    ) throws(RespViolation) -> Verdict {
        numbers.removeAll(keepingCapacity: true)
        var index = 0
        if scanner.isBetweenReplies, errorLine == nil {
            takeNumbers(bytes, &index, missingCount)
            guard numbers.isEmpty else {
                return found(.numbers, numbers.count, of: missingCount, consumedBytes: index)
            }
            scanner.maximumBytes = ReplyGate.maximumReplyBytes
            scanner.maximumElementCount = ReplyGate.maximumReplyElementCount
        }
        if errorLine != nil || (scanner.isBetweenReplies && bytes[0] == .error) {
            guard let text = try takeError(bytes, &index) else {
                return Verdict(passedBytes: 0, finding: .nothing, consumedBytes: index)
            }
            return found(.refusal(text), 1, of: missingCount, consumedBytes: index)
        }
        guard try scanner.scan(bytes, from: &index) else {
            return Verdict(passedBytes: 0, finding: .nothing, consumedBytes: index)
        }
        guard scanner.shape.kind == .integer else {
            return found(.refusal(nil), 1, of: missingCount, consumedBytes: index)
        }
        numbers.append(scanner.shape.number)
        return found(.numbers, 1, of: missingCount, consumedBytes: index)
    }

    private mutating func found(
        _ finding: Finding, _ count: Int, of missingCount: Int, consumedBytes: Int
    ) -> Verdict {
        if count < missingCount { awaited[0] = .numbers(missingCount - count) } else { awaited.takeFirst() }
        return Verdict(passedBytes: 0, finding: finding, consumedBytes: consumedBytes)
    }

    private mutating func look(at bytes: UnsafeRawBufferPointer, from index: inout Int) throws(RespViolation)
    {
        let isReply = !awaited.isEmpty
        if scanner.isBetweenReplies {
            guard isReply || isSubscribed else { throw .unasked }
            guard isReply || bytes[index] == .array else { throw .shape }
            scanner.maximumBytes = isReply ? ReplyGate.maximumReplyBytes : ReplyGate.maximumPushBytes
            scanner.maximumElementCount =
                isReply ? ReplyGate.maximumReplyElementCount : ReplyGate.pushElementCount
        }
        guard try scanner.scan(bytes, from: &index) else { return }
        if isReply {
            awaited.takeFirst()
        } else {
            try checkPush(scanner.shape)
        }
        passedCount += 1
    }

    /// An anchor stays subscribed, so no confirmation reports zero subscriptions, where hiredis would take
    /// the connection for an ordinary one.
    private mutating func checkPush(_ shape: RespScanner.Shape) throws(RespViolation) {
        guard shape.elementCount == ReplyGate.pushElementCount, shape.elementKinds[1] == .bulk else {
            throw .shape
        }
        if shape.begins(with: "message") {
            guard shape.elementKinds[2] == .bulk else { throw .shape }
        } else if shape.begins(with: "subscribe") || shape.begins(with: "unsubscribe") {
            guard shape.elementKinds[2] == .integer, shape.number > 0 else { throw .shape }
            guard awaitedConfirmationCount > 0 else { throw .unasked }
            awaitedConfirmationCount -= 1
        } else {
            throw .shape
        }
    }

    /// Collects an error's line; returns its text when it is complete.
    private mutating func takeError(
        _ bytes: UnsafeRawBufferPointer, _ index: inout Int
    ) throws(RespViolation) -> String? {
        var line = errorLine ?? []
        errorLine = nil
        while index < bytes.count {
            let byte = bytes[index]
            index += 1
            guard byte == .lineFeed else {
                guard line.last != .carriageReturn else { throw .lineEnd }
                guard line.count <= RespScanner.maximumLineBytes else { throw .tooManyBytes }
                line.append(byte)
                continue
            }
            guard line.last == .carriageReturn else { throw .lineEnd }
            awaitedConfirmationCount = max(0, awaitedConfirmationCount - 1)
            return String(decoding: line.dropFirst().dropLast(), as: UTF8.self)
        }
        errorLine = line
        return nil
    }

    // MARK: The road

    /// Skips messages that are there whole, which is nearly all that ever comes: the same rules, in fewer
    /// steps.
    private mutating func skipMessages(_ bytes: UnsafeRawBufferPointer, _ index: inout Int) {
        while ReplyGate.isMessage(bytes, index) {
            var next = index + ReplyGate.messageStartBytes
            guard ReplyGate.skipString(bytes, &next, maximumBytes: ReplyGate.maximumPushBytes),
                next < bytes.count, bytes[next] == .bulk
            else { return }
            next += 1
            guard ReplyGate.skipString(bytes, &next, maximumBytes: ReplyGate.maximumPushBytes) else {
                return
            }
            index = next
            passedCount += 1
        }
    }

    /// Takes numbers that are there whole and are not negative, which is nearly all that ever comes to a
    /// batch.
    private mutating func takeNumbers(
        _ bytes: UnsafeRawBufferPointer, _ index: inout Int, _ maximumCount: Int
    ) {
        while numbers.count < maximumCount, index < bytes.count, bytes[index] == .integer {
            let start = index + 1
            var next = start
            var number: Int64 = 0
            // None of so few digits is beyond all numbers.
            while next < bytes.count, next - start < 18, (0x30...0x39).contains(bytes[next]) {
                number = number * 10 + Int64(bytes[next] - 0x30)
                next += 1
            }
            guard next > start, next - start == 1 || bytes[start] != 0x30, bytes.count - next >= 2,
                bytes[next] == .carriageReturn, bytes[next + 1] == .lineFeed
            else { return }
            numbers.append(number)
            index = next + 2
        }
    }

    private static let messageStartBytes = 18

    /// `*3\r\n$7\r\nmessage\r\n$`, as two words of the machine and two bytes.
    private static func isMessage(_ bytes: UnsafeRawBufferPointer, _ index: Int) -> Bool {
        guard bytes.count - index >= messageStartBytes else { return false }
        return bytes.loadUnaligned(fromByteOffset: index, as: UInt64.self) == 0x0A0D_3724_0A0D_332A
            && bytes.loadUnaligned(fromByteOffset: index + 8, as: UInt64.self) == 0x0D65_6761_7373_656D
            && bytes[index + 16] == .lineFeed && bytes[index + 17] == .bulk
    }

    /// Skips `length\r\n bytes \r\n` if it is there whole.
    private static func skipString(
        _ bytes: UnsafeRawBufferPointer, _ index: inout Int, maximumBytes: Int
    ) -> Bool {
        let start = index
        var length = 0
        while index < bytes.count, (0x30...0x39).contains(bytes[index]) {
            length = length * 10 + Int(bytes[index] - 0x30)
            // Ten digits are beyond every limit; none of fewer overflows.
            guard index - start < 9 else { return false }
            index += 1
        }
        // Zeros in front are left to the scanner, which has words for them.
        guard index > start, index - start == 1 || bytes[start] != 0x30 else { return false }
        guard bytes.count - index >= length + 4, bytes[index] == .carriageReturn,
            bytes[index + 1] == .lineFeed,
            bytes[index + 2 + length] == .carriageReturn, bytes[index + 3 + length] == .lineFeed
        else { return false }
        index += length + 4
        return length <= maximumBytes
    }
}
