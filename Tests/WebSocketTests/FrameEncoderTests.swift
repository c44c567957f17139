import TestSupport
import Testing

@testable import WebSocket

@Suite struct FrameEncoderTests {
    @Test func appendsBehindWhatIsThere() {
        var output: [UInt8] = [1, 2]
        withRaw("Hello") { FrameEncoder.append(.text, payload: $0, to: &output) }
        #expect(output == [1, 2, 0x81, 5] + Array("Hello".utf8))
    }

    @Test func masksThePayloadOnly() {
        var output: [UInt8] = []
        let key = MaskingKey(networkOrder: 0x37FA_213D)
        withRaw("Hello") { FrameEncoder.append(.text, payload: $0, maskingKey: key, to: &output) }
        #expect(output == [0x81, 0x85, 0x37, 0xFA, 0x21, 0x3D, 0x7F, 0x9F, 0x4D, 0x51, 0x58])
    }

    @Test func closeHasCodeAndReasonOrNothing() {
        var output: [UInt8] = []
        FrameEncoder.appendClose(.heartbeatTimeout, reason: "beat", to: &output)
        #expect(output == [0x88, 6, 0x0F, 0xA0] + Array("beat".utf8))
        output = []
        FrameEncoder.appendClose(nil, to: &output)
        #expect(output == [0x88, 0])
    }
}
