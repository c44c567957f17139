import EventLoop
import RedisSchema
import Testing

@testable import Gateway

@Suite struct SharedBytesTests {
    /// RFC 6455 5.2: 0x81 is fin and text; the length takes 7 bits, or 126 and 16 bits, or 127 and 64 bits.
    @Test(
        arguments: [
            (0, [0x81, 0]), (1, [0x81, 1]), (125, [0x81, 125]), (126, [0x81, 126, 0, 126]),
            (65535, [0x81, 126, 0xFF, 0xFF]), (65536, [0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] as [(Int, [UInt8])])
    func messageIsEncodedAsHeaderAndPayload(count: Int, header: [UInt8]) {
        let payload = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 7) }
        let message = message(payload, order: 9)
        let frame = message.encoded(as: .webSocketText)
        #expect(Array(frame.bytes) == header + payload)
        #expect(frame.byteCount == header.count + count)
        #expect(message.encoded(as: .webSocketText) === frame, "made once")
        #expect(message.memoryBytes == frame.memoryBytes)
    }

    @Test func joinedMessagesStandEndToEnd() {
        let messages = [message([1, 2], order: 4), message([], order: 5), message([3], order: 6)]
        let joined = SharedBytes.joining(ContiguousArray(messages), as: .webSocketText)
        #expect(Array(joined.bytes) == [0x81, 2, 1, 2, 0x81, 0, 0x81, 1, 3])
    }

    @Test func oneMessageIsJoinedWithoutACopy() {
        let message = message([1])
        #expect(SharedBytes.joining([message], as: .webSocketText) === message.encoded(as: .webSocketText))
    }

    @Test func otherBytesAreKeptAsTheyAre() {
        let bytes = SharedBytes.copying([9, 8, 7])
        #expect(Array(bytes.bytes) == [9, 8, 7])
        #expect(bytes.byteCount == 3)
        #expect(SharedBytes.copying([]).byteCount == 0)
    }
}
