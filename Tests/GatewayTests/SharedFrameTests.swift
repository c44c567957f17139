import EventLoop
import Testing

@testable import Gateway

@Suite struct SharedFrameTests {
    private let now = MonotonicInstant(nanoseconds: 77)

    private func text(_ payload: [UInt8], sequence: UInt64 = 0) -> SharedFrame {
        payload.withUnsafeBytes { SharedFrame.text($0, receivedAt: now, sequence: sequence) }
    }

    /// RFC 6455 5.2: 0x81 is fin and text; the length takes 7 bits, or 126 and 16 bits, or 127 and 64 bits.
    @Test(arguments: [
        (0, [0x81, 0]), (1, [0x81, 1]), (125, [0x81, 125]), (126, [0x81, 126, 0, 126]),
        (65535, [0x81, 126, 0xFF, 0xFF]), (65536, [0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
    ] as [(Int, [UInt8])])
    func textFrameIsHeaderAndPayload(count: Int, header: [UInt8]) {
        let payload = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 7) }
        let frame = text(payload, sequence: 9)
        #expect(Array(frame.bytes) == header + payload)
        #expect(frame.byteCount == header.count + count)
        #expect(frame.sequence == 9)
        #expect(frame.receivedAt == now)
    }

    @Test func joinedFramesStandEndToEnd() {
        let frames = [text([1, 2], sequence: 4), text([], sequence: 5), text([3], sequence: 6)]
        let joined = SharedFrame.joined(ContiguousArray(frames))
        #expect(Array(joined.bytes) == [0x81, 2, 1, 2, 0x81, 0, 0x81, 1, 3])
        #expect(joined.sequence == 4)
        #expect(joined.receivedAt == now)
    }

    @Test func oneFrameIsJoinedWithoutACopy() {
        let frame = text([1])
        #expect(SharedFrame.joined([frame]) === frame)
    }

    @Test func rawBytesAreKeptAsTheyAre() {
        let frame = SharedFrame.raw([9, 8, 7])
        #expect(Array(frame.bytes) == [9, 8, 7])
        #expect(frame.byteCount == 3)
        #expect(SharedFrame.raw([]).byteCount == 0)
    }
}
