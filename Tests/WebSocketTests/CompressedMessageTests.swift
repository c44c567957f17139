import TestSupport
import Testing

@testable import WebSocket

/// An event with its bytes copied; neighbouring message bytes are joined.
private enum Seen: Equatable {
    case start(FrameDecoder.MessageKind)
    case bytes([UInt8])
    case end
    case ping([UInt8])
    case failure(UInt16)
}

private let hello = Array("Hello".utf8)
private let helloEvents: [Seen] = [.start(.text), .bytes(hello), .end]
/// The examples of RFC 7692 section 7.2.3, as the payload of one message.
private let deflatedHello: [UInt8] = [0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00]

/// Each frame unmasked, as a client gets it.
private func frame(
    _ opcode: Opcode, _ payload: [UInt8], isFinal: Bool = true, isCompressed: Bool = false
) -> [UInt8] {
    var output: [UInt8] = []
    withRaw(payload) {
        FrameEncoder.append(
            opcode, payload: $0, isFinal: isFinal, isCompressed: isCompressed, to: &output)
    }
    return output
}

private func text(_ payload: [UInt8]) -> [UInt8] { frame(.text, payload, isCompressed: true) }

/// A connection's decoder and what it has made of its input.
private struct Reader {
    private var decoder: FrameDecoder
    private(set) var seen: [Seen] = []
    private(set) var largestPiece = 0

    init(_ inflater: Inflater? = Inflater(), limit: Int = 1 << 16, role: FrameDecoder.Role = .client) {
        decoder = FrameDecoder(role, maximumMessageBytes: limit, inflater: inflater)
    }

    var isIdle: Bool { decoder.isIdle }

    mutating func read(_ bytes: some Sequence<UInt8>) {
        var piece = Array(bytes)
        piece.withUnsafeMutableBytes { bytes in
            var input = bytes
            while let event = decoder.next(&input) { add(event) }
            #expect(input.isEmpty)
        }
    }

    private mutating func add(_ event: FrameDecoder.Event) {
        switch event {
        case .messageStart(let kind): seen.append(.start(kind))
        case .messageBytes(let bytes):
            #expect(!bytes.isEmpty)
            largestPiece = max(largestPiece, bytes.count)
            if case .bytes(let before) = seen.last {
                seen[seen.count - 1] = .bytes(before + bytes)
            } else {
                seen.append(.bytes(Array(bytes)))
            }
        case .messageEnd: seen.append(.end)
        case .ping(let bytes): seen.append(.ping(Array(bytes)))
        case .failure(let code): seen.append(.failure(code.rawValue))
        case .pong, .close: Issue.record("neither is sent here")
        }
    }
}

/// What comes of bytes that come at once, and the same of bytes that come one by one.
private func decode(
    _ wire: [UInt8], limit: Int = 1 << 16, sourceLocation: SourceLocation = #_sourceLocation
) -> [Seen] {
    var whole = Reader(limit: limit)
    whole.read(wire)
    if wire.count < 1_000 {
        var pieces = Reader(limit: limit)
        for byte in wire { pieces.read([byte]) }
        #expect(pieces.seen == whole.seen, sourceLocation: sourceLocation)
    }
    return whole.seen
}

private func deflated(_ message: [UInt8]) throws -> [UInt8] {
    let deflater = Deflater()
    return try #require(withRaw(message) { bytes in deflater.deflate(bytes) { Array($0) } })
}

/// Letters in an order that no window finds again.
private func noise(_ count: Int, seed: UInt64 = 1) -> [UInt8] {
    var random = SeededRandom(seed: seed)
    return (0..<count).map { _ in UInt8.random(in: 0x61...0x7A, using: &random) }
}

@Suite(.enabled(if: PermessageDeflate.isBuiltIn, "built without the package trait Compression"))
struct CompressedMessageTests {
    @Test func examplesOfTheStandardAreInflated() {
        #expect(decode(text(deflatedHello)) == helloEvents)
        #expect(text(deflatedHello).first == 0xC1)
        let fragments =
            frame(.text, Array(deflatedHello[..<3]), isFinal: false, isCompressed: true)
            + frame(.continuation, Array(deflatedHello[3...]))
        #expect(decode(fragments) == helloEvents)
        let stored: [UInt8] = [0x00, 0x05, 0x00, 0xFA, 0xFF, 0x48, 0x65, 0x6C, 0x6C, 0x6F, 0x00]
        #expect(decode(text(stored)) == helloEvents)
        let final: [UInt8] = [0xF3, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00, 0x00]
        #expect(decode(text(final)) == helloEvents)
        let twoBlocks: [UInt8] = [
            0xF2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xFF, 0xFF, 0xCA, 0xC9, 0xC9, 0x07, 0x00,
        ]
        #expect(decode(text(twoBlocks)) == helloEvents)
        #expect(decode(text([0x00])) == [.start(.text), .end], "an empty message")
    }

    @Test func blocksBehindALastOneBelongToTheMessage() {
        let final: [UInt8] = [0xF3, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00]
        #expect(decode(text(final)) == helloEvents, "a message may end with its last block")
        #expect(decode(text(final + deflatedHello)) == [.start(.text), .bytes(hello + hello), .end])
    }

    /// Each message is read from a state of its own: what refers to the one before it does not inflate.
    @Test func contextTakeoverIsRefused() {
        let second: [UInt8] = [0xF2, 0x00, 0x11, 0x00, 0x00]
        #expect(decode(text(deflatedHello) + text(second)) == helloEvents + [.start(.text), .failure(1007)])
    }

    @Test func plainMessagesAndControlFramesComeBetween() {
        var wire =
            frame(.text, hello)
            + frame(.text, Array(deflatedHello[..<2]), isFinal: false, isCompressed: true)
        wire += frame(.ping, hello) + frame(.continuation, [], isFinal: false)
        wire += frame(.continuation, Array(deflatedHello[2...])) + frame(.binary, [0xFF])
        #expect(
            decode(wire) == helloEvents + [.start(.text), .ping(hello), .bytes(hello), .end]
                + [.start(.binary), .bytes([0xFF]), .end])
    }

    /// One inflater for two connections whose messages come in turns, byte by byte.
    @Test func connectionsShareAnInflater() throws {
        let inflater = Inflater()
        let payloads = [noise(40_000, seed: 1), noise(30_000, seed: 2)]
        let wires = try payloads.map { frame(.binary, try deflated($0), isCompressed: true) }
        var readers = payloads.map { _ in Reader(inflater) }
        for offset in 0..<wires.map(\.count).max()! {
            for index in wires.indices where offset < wires[index].count {
                readers[index].read([wires[index][offset]])
            }
        }
        for index in wires.indices {
            #expect(readers[index].seen == [.start(.binary), .bytes(payloads[index]), .end])
            #expect(readers[index].isIdle)
            #expect(readers[index].largestPiece <= Inflater.pieceBytes)
        }
    }

    // MARK: Limits

    @Test(arguments: [0, 1, 125, 16_384, 65_535, 65_536])
    func limitIsThatOfWhatComesOut(count: Int) throws {
        let fits = try deflated([UInt8](repeating: 0x61, count: max(count, 64)))
        let limit = max(count, 64)
        #expect(decode(text(fits), limit: limit).last == .end)
        let over = try deflated([UInt8](repeating: 0x61, count: limit + 1))
        #expect(decode(text(over), limit: limit).last == .failure(1009))
    }

    /// A thousand times as much as came in: no more comes out than the limit.
    @Test func bombIsCutAtTheLimit() throws {
        let bomb = try deflated([UInt8](repeating: 0, count: 60 << 20))
        #expect(bomb.count < 65_536)
        var reader = Reader(limit: 65_536)
        reader.read(text(bomb))
        #expect(reader.seen.last == .failure(1009))
        guard case .bytes(let bytes) = reader.seen.dropLast().last else {
            Issue.record("nothing came out")
            return
        }
        #expect(bytes.count <= 65_536)
        #expect(reader.largestPiece <= Inflater.pieceBytes)
    }

    /// What cannot be compressed grows a little, and passes; what announces more is refused before it comes.
    @Test func wireHasALimitToo() {
        var random = SeededRandom(seed: 3)
        let payload = random.bytes(65_536)
        var stored: [UInt8] = []
        for start in stride(from: 0, to: payload.count, by: 8) {
            stored += [0x00, 0x08, 0x00, 0xF7, 0xFF] + payload[start..<start + 8]
        }
        #expect(stored.count > 73_792)
        #expect(decode(frame(.binary, stored, isCompressed: true)) == [.failure(1009)])
        var sensible: [UInt8] = []
        for start in stride(from: 0, to: payload.count, by: 1_024) {
            sensible += [0x00, 0x00, 0x04, 0xFF, 0xFB] + payload[start..<start + 1_024]
        }
        let wire = frame(.binary, sensible + [0x00], isCompressed: true)
        #expect(decode(wire) == [.start(.binary), .bytes(payload), .end])
        // Over all frames of a message.
        var fragments = frame(.binary, Array(stored[..<70_000]), isFinal: false, isCompressed: true)
        fragments += frame(.continuation, Array(stored[70_000...]))
        #expect(decode(fragments) == [.start(.binary), .failure(1009)])
    }

    // MARK: What is wrong

    @Test(arguments: [
        [], [0x07], [0xFF, 0xFF], Array(deflatedHello[..<4]), Array(deflatedHello.dropLast(2)),
        [0x00, 0x05, 0x00, 0xFA, 0xFF, 0x48],
        [0x00, 0x05, 0x00, 0xFA, 0xFE, 0x48, 0x65, 0x6C, 0x6C, 0x6F, 0x00],
        // The tail that a sender leaves out, left in.
        [0xF3],
    ])
    func whatDoesNotInflateIs1007(payload: [UInt8]) {
        let seen = decode(text(payload))
        #expect(seen.last == .failure(1007), "\(payload): \(seen)")
    }

    @Test func inflatedTextIsUtf8() throws {
        let valid = Array(String(repeating: "房间", count: 9_000).utf8)
        #expect(decode(text(try deflated(valid))) == [.start(.text), .bytes(valid), .end])
        for broken in [valid.dropLast(), [0xFF] + valid[...], valid[..<6_000] + [0x20] + valid[6_001...]] {
            let payload = try deflated(Array(broken))
            #expect(decode(text(payload)).last == .failure(1007))
            #expect(decode(frame(.binary, payload, isCompressed: true)).last == .end)
        }
    }

    @Test func bitBelongsToTheFirstFrameOfAMessage() {
        var continuation = frame(.continuation, Array(deflatedHello[3...]))
        continuation[0] |= 0x40
        let start = frame(.text, Array(deflatedHello[..<3]), isFinal: false, isCompressed: true)
        #expect(decode(start + continuation) == [.start(.text), .failure(1002)])
        for opcode in [Opcode.ping, .pong, .close] {
            var control = frame(opcode, [])
            control[0] |= 0x40
            #expect(decode(control) == [.failure(1002)], "\(opcode)")
        }
        for bits: UInt8 in [0x10, 0x20, 0x30, 0x50, 0x60, 0x70] {
            var other = frame(.text, deflatedHello)
            other[0] |= bits
            #expect(decode(other) == [.failure(1002)])
        }
        var without = Reader(nil)
        without.read(text(deflatedHello))
        #expect(without.seen == [.failure(1002)], "not negotiated")
    }

    @Test func randomBytesNeverTrapAndEndInAtMostOneFailure() {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SeededRandom(seed: seed)
        for round in 0..<2_000 {
            var payload = random.bytes(Int.random(in: 0...60, using: &random))
            if round.isMultiple(of: 2), payload.count > 8 {
                payload.replaceSubrange(0..<4, with: deflatedHello[..<4])
            }
            let seen = decode(text(payload) + text(deflatedHello))
            #expect(seen.count { if case .failure = $0 { true } else { false } } <= 1, "seed \(seed)")
            if seen.last == .end {
                #expect(seen.suffix(3) == helloEvents[...], "seed \(seed), round \(round)")
            }
        }
    }

    // MARK: Compressing

    @Test func messagesAreSmallerOrNotCompressed() throws {
        let deflater = Deflater()
        var random = SeededRandom(seed: 5)
        for count in [0, 1, 2, 10, 64, 255, 256, 4_096, 65_536, 1 << 20] {
            let incompressible = random.bytes(count)
            #expect(withRaw(incompressible) { bytes in deflater.deflate(bytes) { $0.count } } == nil)
            guard count >= 64 else { continue }
            let letters = noise(count)
            let compressed = try #require(
                withRaw(letters) { bytes in deflater.deflate(bytes) { Array($0) } })
            #expect(compressed.count < count)
            var reader = Reader(limit: 1 << 20)
            reader.read(frame(.binary, compressed, isCompressed: true))
            #expect(reader.seen == [.start(.binary), .bytes(letters), .end])
        }
    }

    /// The same message gives the same frame, whatever came before it.
    @Test func messagesStandForThemselves() throws {
        let deflater = Deflater()
        let message = noise(500)
        let first = withRaw(message) { bytes in deflater.deflate(bytes) { Array($0) } }
        _ = withRaw(noise(70_000, seed: 9)) { bytes in deflater.deflate(bytes) { $0.count } }
        #expect(withRaw(message) { bytes in deflater.deflate(bytes) { Array($0) } } == first)
        let payload = try #require(first)
        #expect(decode(frame(.binary, payload, isCompressed: true)).last == .end)
    }
}
