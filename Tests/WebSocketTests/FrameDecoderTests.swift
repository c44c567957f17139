import TestSupport
import Testing

@testable import WebSocket

/// An event with its bytes copied; neighbouring message bytes are joined, so that cuts do not show.
private enum Seen: Equatable {
    case start(FrameDecoder.MessageKind)
    case bytes([UInt8])
    case end
    case ping([UInt8])
    case pong([UInt8])
    case close(UInt16?, String)
    case failure(UInt16)
}

private let mask = MaskingKey(networkOrder: 0x37FA_213D)

/// Feeds `wire` in pieces that end at `cuts`; every piece lies in memory of its own.
private func decode(
    _ wire: [UInt8], _ role: FrameDecoder.Role = .server, limit: Int = 1 << 20, cuts: [Int] = [],
    decoder given: FrameDecoder? = nil
) -> [Seen] {
    var decoder = given ?? FrameDecoder(role, maximumMessageBytes: limit)
    var seen: [Seen] = []
    let ends = cuts + [wire.count]
    for (start, end) in zip([0] + cuts, ends) {
        var piece = Array(wire[start..<end])
        piece.withUnsafeMutableBytes { bytes in
            var input = bytes
            while let event = decoder.next(&input) { append(event, to: &seen) }
            #expect(input.isEmpty)
        }
    }
    return seen
}

private func append(_ event: FrameDecoder.Event, to seen: inout [Seen]) {
    switch event {
    case .messageStart(let kind): seen.append(.start(kind))
    case .messageBytes(let bytes):
        #expect(!bytes.isEmpty)
        if case .bytes(let before) = seen.last {
            seen[seen.count - 1] = .bytes(before + bytes)
        } else {
            seen.append(.bytes(Array(bytes)))
        }
    case .messageEnd: seen.append(.end)
    case .ping(let bytes): seen.append(.ping(Array(bytes)))
    case .pong(let bytes): seen.append(.pong(Array(bytes)))
    case .close(let code, let reason): seen.append(.close(code?.rawValue, text(Array(reason))))
    case .failure(let code): seen.append(.failure(code.rawValue))
    }
}

private func frame(
    _ opcode: Opcode, _ payload: [UInt8], isFinal: Bool = true, role: FrameDecoder.Role = .server
) -> [UInt8] {
    var output: [UInt8] = []
    withRaw(payload) {
        FrameEncoder.append(
            opcode, payload: $0, isFinal: isFinal, maskingKey: role == .server ? mask : nil, to: &output)
    }
    return output
}

private func utf8(_ text: String) -> [UInt8] { Array(text.utf8) }

@Suite struct FrameDecoderTests {
    @Test func decodesTheExamplesOfTheStandard() {
        let unmaskedHello: [UInt8] = [0x81, 0x05, 0x48, 0x65, 0x6C, 0x6C, 0x6F]
        #expect(decode(unmaskedHello, .client) == [.start(.text), .bytes(utf8("Hello")), .end])
        let maskedHello: [UInt8] = [0x81, 0x85, 0x37, 0xFA, 0x21, 0x3D, 0x7F, 0x9F, 0x4D, 0x51, 0x58]
        #expect(decode(maskedHello) == [.start(.text), .bytes(utf8("Hello")), .end])
        let fragments: [UInt8] = [0x01, 0x03, 0x48, 0x65, 0x6C, 0x80, 0x02, 0x6C, 0x6F]
        #expect(decode(fragments, .client) == [.start(.text), .bytes(utf8("Hello")), .end])
        #expect(decode([0x89, 0x05] + utf8("Hello"), .client) == [.ping(utf8("Hello"))])
        let maskedPong: [UInt8] = [0x8A, 0x85, 0x37, 0xFA, 0x21, 0x3D, 0x7F, 0x9F, 0x4D, 0x51, 0x58]
        #expect(decode(maskedPong) == [.pong(utf8("Hello"))])
    }

    @Test(arguments: [0, 1, 7, 8, 9, 125, 126, 127, 65_535, 65_536, 65_537])
    func decodesPayloadsAtEveryLengthBoundary(length: Int) {
        var random = SeededRandom(seed: UInt64(length))
        let payload = random.bytes(length)
        let expected: [Seen] = [.start(.binary)] + (length == 0 ? [] : [.bytes(payload)]) + [.end]
        for role in [FrameDecoder.Role.server, .client] {
            let wire = frame(.binary, payload, role: role)
            #expect(decode(wire, role) == expected)
            for cut in [1, 2, 3, 4, 9, 10, 13, 14, wire.count / 2, wire.count - 1] where cut < wire.count {
                #expect(decode(wire, role, cuts: [cut]) == expected, "cut at \(cut)")
            }
        }
    }

    @Test func frameSplitAtEveryByteDecodesTheSame() {
        for role in [FrameDecoder.Role.server, .client] {
            var wire = frame(.text, utf8("房间 "), isFinal: false, role: role)
            wire += frame(.ping, utf8("are you there, 你好"), role: role)
            wire += frame(.continuation, [], isFinal: false, role: role)
            wire += frame(.pong, [], role: role)
            wire += frame(.continuation, utf8("😀 end"), role: role)
            wire += frame(.text, [], role: role)
            wire += frame(.binary, Array(0...200), role: role)
            wire += frame(.close, [0x03, 0xE8] + utf8("bye"), role: role)
            let whole = decode(wire, role)
            #expect(
                whole == [
                    .start(.text), .bytes(utf8("房间 ")), .ping(utf8("are you there, 你好")), .pong([]),
                    .bytes(utf8("😀 end")), .end, .start(.text), .end, .start(.binary),
                    .bytes(Array(0...200)), .end, .close(1000, "bye"),
                ])
            for cut in 1..<wire.count {
                #expect(decode(wire, role, cuts: [cut]) == whole, "cut at \(cut)")
            }
            #expect(decode(wire, role, cuts: Array(1..<wire.count)) == whole)
        }
    }

    @Test func randomMessagesSurviveRandomCuts() {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SeededRandom(seed: seed)
        for round in 0..<200 {
            var wire: [UInt8] = []
            var expected: [Seen] = []
            for _ in 0..<Int.random(in: 1...6, using: &random) {
                let isText = Bool.random(using: &random)
                let payload =
                    isText ? utf8(random.text(80)) : random.bytes(Int.random(in: 1...400, using: &random))
                let cut = Int.random(in: 0...payload.count, using: &random)
                wire += frame(isText ? .text : .binary, Array(payload[..<cut]), isFinal: false)
                let ping = random.bytes(Int.random(in: 0...125, using: &random))
                wire += frame(.ping, ping) + frame(.continuation, Array(payload[cut...]))
                expected.append(.start(isText ? .text : .binary))
                if cut > 0 { expected.append(.bytes(Array(payload[..<cut]))) }
                expected.append(.ping(ping))
                if cut < payload.count { expected.append(.bytes(Array(payload[cut...]))) }
                expected.append(.end)
            }
            let cuts = (0..<8).map { _ in Int.random(in: 0...wire.count, using: &random) }.sorted()
            #expect(decode(wire, cuts: cuts) == expected, "seed \(seed), round \(round)")
        }
    }

    @Test func randomBytesNeverTrapAndEndInAtMostOneFailure() {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SeededRandom(seed: seed)
        for round in 0..<2000 {
            var wire = random.bytes(60)
            wire[0] = [0x81, 0x82, 0x01, 0x88, 0x89, wire[0]].randomElement(using: &random) ?? 0x81
            let seen = decode(wire, limit: 100)
            let cuts = Array(1..<wire.count)
            let slow = decode(wire, limit: 100, cuts: cuts)
            let failures = seen.filter { if case .failure = $0 { true } else { false } }
            #expect(failures.count <= 1, "seed \(seed), round \(round)")
            #expect(slow.last == seen.last || seen.isEmpty, "seed \(seed), round \(round)")
        }
    }

    @Test func reservedBitsFail() {
        for bit: UInt8 in [0x10, 0x20, 0x40] {
            #expect(decode([0x81 | bit]) == [.failure(1002)])
        }
    }

    @Test func reservedOpcodesFailAtTheFirstByte() {
        for opcode: UInt8 in [3, 4, 5, 6, 7, 0xB, 0xC, 0xD, 0xE, 0xF] {
            #expect(decode([0x80 | opcode]) == [.failure(1002)])
        }
    }

    @Test func maskMustFitTheRole() {
        #expect(decode([0x81, 0x05], .server) == [.failure(1002)])
        #expect(decode([0x81, 0x85], .client) == [.failure(1002)])
        #expect(decode([0x88, 0x00], .server) == [.failure(1002)])
    }

    @Test func lengthMustBeMinimal() {
        #expect(decode([0x82, 126, 0, 125], .client) == [.failure(1002)])
        #expect(decode([0x82, 126, 0, 126], .client) == [.start(.binary)])
        #expect(decode([0x82, 127, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF], .client) == [.failure(1002)])
        #expect(decode([0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0], .client) == [.start(.binary)])
    }

    @Test func lengthWithTopBitFailsAtItsFirstByte() {
        #expect(decode([0x82, 127, 0x80], .client) == [.failure(1002)])
        #expect(decode([0x82, 127, 0x7F] + [UInt8](repeating: 0xFF, count: 7), .client) == [.failure(1009)])
    }

    @Test func controlFramesAreWholeAndShort() {
        for opcode: UInt8 in [8, 9, 10] {
            #expect(decode([opcode]) == [.failure(1002)], "fragmented")
            #expect(decode([0x80 | opcode, 0x80 | 126]) == [.failure(1002)], "over 125 bytes")
        }
        let longest = [UInt8](repeating: 0x61, count: 125)
        #expect(decode(frame(.ping, longest)) == [.ping(longest)])
    }

    @Test func fragmentsMustFollowEachOther() {
        #expect(decode([0x80]) == [.failure(1002)])
        #expect(decode([0x00]) == [.failure(1002)])
        let open = frame(.text, utf8("a"), isFinal: false)
        #expect(decode(open + [0x81]) == [.start(.text), .bytes(utf8("a")), .failure(1002)])
        #expect(decode(open + [0x02]) == [.start(.text), .bytes(utf8("a")), .failure(1002)])
        let closed = open + frame(.continuation, [])
        #expect(decode(closed + [0x80]) == [.start(.text), .bytes(utf8("a")), .end, .failure(1002)])
    }

    @Test(arguments: [0, 1, 125, 126, 65_535, 65_536])
    func messageLimitIsExactAndAnnouncedLengthSuffices(limit: Int) {
        let allowed = [UInt8](repeating: 0x61, count: limit)
        let within = decode(frame(.text, allowed), limit: limit)
        #expect(within == [.start(.text)] + (limit == 0 ? [] : [.bytes(allowed)]) + [.end])
        let over = frame(.text, allowed + [0x61])
        let lengthEnd = over.count - limit - 1 - 4
        #expect(decode(Array(over[..<lengthEnd]), limit: limit) == [.failure(1009)])
    }

    @Test func messageLimitCountsAllFragmentsButNotControlFrames() {
        let open =
            frame(.binary, [1, 2, 3], isFinal: false) + frame(.ping, [UInt8](repeating: 9, count: 50))
        let before: [Seen] = [.start(.binary), .bytes([1, 2, 3]), .ping([UInt8](repeating: 9, count: 50))]
        #expect(decode(open + frame(.continuation, [4]), limit: 4) == before + [.bytes([4]), .end])
        #expect(decode(open + frame(.continuation, [4, 5]), limit: 4) == before + [.failure(1009)])
        let twice = frame(.binary, [1, 2, 3, 4]) + frame(.binary, [5, 6, 7, 8])
        #expect(decode(twice, limit: 4).last == .end)
    }

    @Test func textFailsAtTheFirstImpossibleByte() {
        let valid = utf8("κόσμε")
        let announced = frame(.text, valid + [0xED, 0xA0, 0x80] + utf8("edited"))
        let surrogateStart = 2 + 4 + valid.count
        // The second byte makes it a surrogate; the rest of the frame has not come yet.
        #expect(decode(Array(announced[...surrogateStart])) == [.start(.text), .bytes(valid + [0xED])])
        #expect(decode(Array(announced[...(surrogateStart + 1)])) == [.start(.text), .failure(1007)])
        for cut in 1..<announced.count {
            #expect(decode(announced, cuts: [cut]).last == .failure(1007), "cut at \(cut)")
        }
    }

    @Test func textMayBeCutInsideCharactersButNotEndThere() {
        let euro = utf8("€")
        let halves = frame(.text, [euro[0]], isFinal: false) + frame(.continuation, [euro[1], euro[2]])
        #expect(decode(halves) == [.start(.text), .bytes(euro), .end])
        let cutOff = frame(.text, [euro[0], euro[1]])
        #expect(decode(cutOff) == [.start(.text), .bytes([euro[0], euro[1]]), .failure(1007)])
        let cutOffLate = frame(.text, [euro[0]], isFinal: false) + frame(.continuation, [])
        #expect(decode(cutOffLate).last == .failure(1007))
    }

    @Test func binaryIsNotCheckedForText() {
        #expect(decode(frame(.binary, [0xFF, 0xC0])) == [.start(.binary), .bytes([0xFF, 0xC0]), .end])
    }

    @Test func closePayloadIsChecked() {
        #expect(decode(frame(.close, [])) == [.close(nil, "")])
        #expect(decode(frame(.close, [0x03])) == [.failure(1002)])
        #expect(decode(frame(.close, [0x03, 0xED])) == [.failure(1002)])
        #expect(decode(frame(.close, [0x03, 0xE8, 0xFF])) == [.failure(1007)])
        #expect(decode(frame(.close, [0x0F, 0xA0] + utf8("心跳"))) == [.close(4000, "心跳")])
    }

    @Test func nothingComesAfterCloseOrFailure() {
        var decoder = FrameDecoder(.server, maximumMessageBytes: 100)
        var wire = frame(.close, []) + frame(.text, utf8("late"))
        wire.withUnsafeMutableBytes { bytes in
            var input = bytes
            guard case .close(nil, _) = decoder.next(&input) else {
                Issue.record("no close event")
                return
            }
            #expect(decoder.isFinished)
            #expect(decoder.next(&input) == nil && input.isEmpty)
        }
        #expect(decode([0xFF] + frame(.text, utf8("late"))) == [.failure(1002)])
    }

    @Test func isIdleOnlyBetweenMessages() {
        var decoder = FrameDecoder(.server, maximumMessageBytes: 100)
        let first = frame(.text, utf8("ab"), isFinal: false)
        let ping = frame(.ping, utf8("p"))
        let last = frame(.continuation, utf8("c"))
        let wire = first + ping + last + ping
        #expect(decoder.isIdle)
        for offset in wire.indices {
            var byte = [wire[offset]]
            byte.withUnsafeMutableBytes { bytes in
                var input = bytes
                while decoder.next(&input) != nil {}
            }
            let taken = offset + 1
            let messageEnd = first.count + ping.count + last.count
            #expect(decoder.isIdle == (taken == messageEnd || taken == wire.count), "after \(taken) bytes")
        }
    }

    @Test func copiedDecoderDoesNotDisturbItsOriginal() {
        var original = FrameDecoder(.client, maximumMessageBytes: 100)
        var begin: [UInt8] = [0x89, 4, 0x61, 0x62]
        begin.withUnsafeMutableBytes { bytes in
            var input = bytes
            #expect(original.next(&input) == nil)
        }
        #expect(decode([0x78, 0x79], .client, decoder: original) == [.ping(utf8("abxy"))])
        #expect(decode([0x63, 0x64], .client, decoder: original) == [.ping(utf8("abcd"))])
    }

    @Test func decoderStaysSmall() {
        #expect(MemoryLayout<FrameDecoder>.size <= 64)
    }
}
