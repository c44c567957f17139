import Testing

@testable import WebSocket

private func encode(_ header: FrameHeader) -> [UInt8] {
    var output = [UInt8](repeating: 0xEE, count: FrameHeader.maximumBytes)
    let count = output.withUnsafeMutableBytes { header.encode(into: $0) }
    #expect(count == header.encodedBytes)
    #expect(
        output[count...] == [UInt8](repeating: 0xEE, count: output.count - count)[...],
        "writes behind its end")
    return Array(output[..<count])
}

@Suite struct FrameHeaderTests {
    @Test func lengthTakesTheSmallestOfThreeForms() {
        #expect(encode(FrameHeader(.text, payloadBytes: 0)) == [0x81, 0])
        #expect(encode(FrameHeader(.text, payloadBytes: 125)) == [0x81, 125])
        #expect(encode(FrameHeader(.text, payloadBytes: 126)) == [0x81, 126, 0, 126])
        #expect(encode(FrameHeader(.text, payloadBytes: 127)) == [0x81, 126, 0, 127])
        #expect(encode(FrameHeader(.binary, payloadBytes: 65_535)) == [0x82, 126, 0xFF, 0xFF])
        #expect(encode(FrameHeader(.binary, payloadBytes: 65_536)) == [0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0])
        #expect(
            encode(FrameHeader(.binary, payloadBytes: Int.max))
                == [0x82, 127, 0x7F] + [UInt8](repeating: 0xFF, count: 7))
    }

    @Test func maskFollowsTheLength() {
        let key = MaskingKey(networkOrder: 0x0A0B_0C0D)
        #expect(
            encode(FrameHeader(.ping, payloadBytes: 3, maskingKey: key)) == [0x89, 0x83, 10, 11, 12, 13])
        #expect(
            encode(FrameHeader(.text, payloadBytes: 300, maskingKey: key))
                == [0x81, 0xFE, 0x01, 0x2C, 10, 11, 12, 13])
        let longest = FrameHeader(.text, payloadBytes: 70_000, maskingKey: key)
        #expect(longest.encodedBytes == FrameHeader.maximumBytes)
        #expect(encode(longest).suffix(4) == [10, 11, 12, 13])
    }

    @Test func fragmentsCarryNoFin() {
        #expect(encode(FrameHeader(.text, payloadBytes: 1, isFinal: false)) == [0x01, 1])
        #expect(encode(FrameHeader(.continuation, payloadBytes: 1, isFinal: false)) == [0x00, 1])
        #expect(encode(FrameHeader(.continuation, payloadBytes: 1)) == [0x80, 1])
    }

    @Test func threeOpcodesAreControl() {
        let control = (UInt8(0)...15).compactMap(Opcode.init).filter(\.isControl)
        #expect(control == [.close, .ping, .pong])
    }
}
