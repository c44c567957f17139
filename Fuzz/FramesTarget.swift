// The frame decoder in both roles, with and without compression: cuts must not matter, limits and the order
// of events must hold, and what was understood, written out again or compressed, is understood the same.
// Single thread.

enum FramesTarget {
    /// An event with its bytes; neighbouring message bytes are joined, so that cuts do not show.
    private enum Seen: Equatable {
        case start(FrameDecoder.MessageKind)
        case bytes([UInt8])
        case end
        case ping([UInt8])
        case pong([UInt8])
        case close(UInt16?, [UInt8])
        case failure(UInt16)
    }

    /// Shared, as on a thread of the gateway.
    private nonisolated(unsafe) static let inflater = Inflater()
    private nonisolated(unsafe) static let deflater = Deflater()

    static func run(_ input: [UInt8], _ random: inout SeededRandom) {
        for role in [FrameDecoder.Role.server, .client] {
            for limit in [1 << 16, Int.random(in: 0...200, using: &random)] {
                for inflater in [nil, inflater] {
                    check(input, role, limit, inflater, &random)
                }
            }
        }
        checkCompression(input, &random)
    }

    private static func check(
        _ input: [UInt8], _ role: FrameDecoder.Role, _ limit: Int, _ inflater: Inflater?,
        _ random: inout SeededRandom
    ) {
        let whole = decode(input, role, limit, inflater, cuts: [input.count])
        check(whole, limit)
        for cuts in cuttings(of: input.count, &random).dropFirst() {
            let pieces = decode(input, role, limit, inflater, cuts: cuts)
            require(isSame(whole, pieces), "cut at \(cuts), \(role): \(pieces), not \(whole)")
        }
        let again = encode(whole, role, &random)
        let complete = whole.last.map(isFailure) == true ? Array(whole.dropLast()) : whole
        let decoded = decode(again, role, limit, inflater, cuts: [again.count])
        require(decoded == complete, "written out again, \(role): \(decoded), not \(complete)")
    }

    /// The input as the payload of a compressed message in two frames.
    private static func checkCompression(_ input: [UInt8], _ random: inout SeededRandom) {
        let compressed = input.withUnsafeBytes { bytes in deflater.deflate(bytes) { Array($0) } }
        guard let compressed else { return }
        require(compressed.count < input.count, "smaller, or not compressed")
        let half = Int.random(in: 0...compressed.count, using: &random)
        var wire: [UInt8] = []
        compressed[..<half].withUnsafeBytes {
            FrameEncoder.append(.binary, payload: $0, isFinal: false, isCompressed: true, to: &wire)
        }
        compressed[half...].withUnsafeBytes { FrameEncoder.append(.continuation, payload: $0, to: &wire) }
        let seen = decode(wire, .client, input.count, inflater, cuts: [wire.count])
        require(seen == [.start(.binary), .bytes(input), .end], "inflated again: \(seen)")
    }

    /// Events of `wire` in pieces that end at `cuts`, each in memory of its own.
    private static func decode(
        _ wire: [UInt8], _ role: FrameDecoder.Role, _ limit: Int, _ inflater: Inflater?, cuts: [Int]
    ) -> [Seen] {
        var decoder = FrameDecoder(role, maximumMessageBytes: limit, inflater: inflater)
        var seen: [Seen] = []
        var start = 0
        for end in cuts {
            withExactCopy(wire[start..<end]) { bytes in
                var rest = bytes
                while let event = decoder.next(&rest) {
                    require(
                        !decoder.isFinished || isLast(event), "nothing but the last event finishes a decoder"
                    )
                    append(event, to: &seen)
                }
                require(rest.isEmpty, "all of the input is taken")
            }
            start = end
        }
        require(
            decoder.isFinished == seen.contains(where: isEnding), "finished after the last event, not before"
        )
        return seen
    }

    private static func isLast(_ event: FrameDecoder.Event) -> Bool {
        switch event {
        case .close, .failure: true
        default: false
        }
    }

    private static func append(_ event: FrameDecoder.Event, to seen: inout [Seen]) {
        switch event {
        case .messageStart(let kind): seen.append(.start(kind))
        case .messageBytes(let bytes):
            require(!bytes.isEmpty, "message bytes are never empty")
            if case .bytes(let before) = seen.last {
                seen[seen.count - 1] = .bytes(before + bytes)
            } else {
                seen.append(.bytes(Array(bytes)))
            }
        case .messageEnd: seen.append(.end)
        case .ping(let bytes): seen.append(.ping(Array(bytes)))
        case .pong(let bytes): seen.append(.pong(Array(bytes)))
        case .close(let code, let reason): seen.append(.close(code?.rawValue, Array(reason)))
        case .failure(let code): seen.append(.failure(code.rawValue))
        }
    }

    private static func isFailure(_ event: Seen) -> Bool { if case .failure = event { true } else { false } }

    private static func isEnding(_ event: Seen) -> Bool {
        if case .close = event { true } else { isFailure(event) }
    }

    /// Text that fails takes the rest of its piece along: how much of it was handed out before depends on
    /// the cuts.
    private static func isSame(_ whole: [Seen], _ pieces: [Seen]) -> Bool {
        guard whole.last == .failure(CloseCode.invalidPayload.rawValue), pieces.last == whole.last else {
            return whole == pieces
        }
        var (short, long) = (whole.dropLast(), pieces.dropLast())
        guard case .bytes(let more) = long.last else { return short == long }
        long.removeLast()
        guard case .bytes(let less) = short.last, short.dropLast() == long else { return short == long }
        short.removeLast()
        return more.starts(with: less)
    }

    /// The grammar of events: messages that begin and end, within the limit, of text that is text; one
    /// ending.
    private static func check(_ seen: [Seen], _ limit: Int) {
        var kind: FrameDecoder.MessageKind?
        var message: [UInt8] = []
        for (index, event) in seen.enumerated() {
            require(!isEnding(event) || index == seen.count - 1, "nothing comes after the end")
            switch event {
            case .start(let started):
                require(kind == nil, "a message begins when none is open")
                (kind, message) = (started, [])
            case .bytes(let bytes):
                require(kind != nil, "bytes belong to a message")
                message += bytes
                require(message.count <= limit, "\(message.count) bytes are within the limit of \(limit)")
            case .end:
                require(kind != nil, "only an open message ends")
                require(kind != .text || String(validating: message, as: UTF8.self) != nil, "text is UTF-8")
                kind = nil
            case .ping(let bytes), .pong(let bytes):
                require(bytes.count <= FrameHeader.maximumControlPayloadBytes, "a control frame is short")
            case .close(let code, let reason):
                require(code.map { CloseCode(rawValue: $0).isLegalOnWire } ?? reason.isEmpty, "a legal code")
                require(reason.count <= ClosePayload.maximumReasonBytes, "a short reason")
                require(String(validating: reason, as: UTF8.self) != nil, "a reason is UTF-8")
            case .failure(let code):
                require([1002, 1007, 1009].contains(code), "a failure of the peer, not \(code)")
            }
        }
    }

    /// The frames that say the same; a message becomes as many as it has stretches of bytes.
    private static func encode(_ seen: [Seen], _ role: FrameDecoder.Role, _ random: inout SeededRandom)
        -> [UInt8]
    {
        var output: [UInt8] = []
        var opcode = Opcode.continuation
        func append(_ opcode: Opcode, _ payload: [UInt8], isFinal: Bool = true) {
            let key = MaskingKey(networkOrder: UInt32.random(in: 0...UInt32.max, using: &random))
            payload.withUnsafeBytes {
                FrameEncoder.append(
                    opcode, payload: $0, isFinal: isFinal, maskingKey: role == .server ? key : nil,
                    to: &output)
            }
        }
        for event in seen {
            switch event {
            case .start(let kind):
                opcode = kind == .text ? .text : .binary
                append(opcode, [], isFinal: false)
            case .bytes(let bytes): append(.continuation, bytes, isFinal: false)
            case .end: append(.continuation, [])
            case .ping(let bytes): append(.ping, bytes)
            case .pong(let bytes): append(.pong, bytes)
            case .close(let code, let reason):
                append(.close, (code.map { [UInt8($0 >> 8), UInt8($0 & 0xFF)] } ?? []) + reason)
            case .failure: break
            }
        }
        return output
    }
}
