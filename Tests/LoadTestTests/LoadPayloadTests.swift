import Foundation
import JSON
import Testing

@testable import LoadTest

struct LoadPayloadTests {
    private static let stamp = LoadStamp(
        run: 0xdead_beef, room: 7, sequence: 0x0123_4567, sentAt: 0x0fed_cba9_8765_4321)
    /// Around the frame length's boundaries, and each remainder of the checksum's eight-byte steps.
    static let sizes =
        Array(LoadPayload.minimumBytes...LoadPayload.minimumBytes + 9) + [
            125, 126, 127, 128, 512, 65535, 65536,
        ]

    private func decode(_ bytes: [UInt8], _ payload: LoadPayload) -> LoadStamp? {
        bytes.withUnsafeBytes { payload.decode($0) }
    }

    @Test(arguments: sizes) func whatIsBuiltIsRead(size: Int) {
        let payload = LoadPayload(bytes: size)
        let bytes = payload.encode(Self.stamp)
        #expect(bytes.count == size)
        #expect(decode(bytes, payload) == Self.stamp)
    }

    @Test func extremeFieldsAreRead() {
        let payload = LoadPayload(bytes: 128)
        for stamp in [
            LoadStamp(run: 0, room: 0, sequence: 0, sentAt: 0),
            LoadStamp(run: .max, room: .max, sequence: .max, sentAt: .max),
        ] {
            #expect(decode(payload.encode(stamp), payload) == stamp)
        }
    }

    @Test(arguments: [LoadPayload.minimumBytes, 128, 512]) func itIsANotice(size: Int) throws {
        let bytes = LoadPayload(bytes: size).encode(Self.stamp)
        #expect(bytes.withUnsafeBytes { PayloadCheck($0) } == .valid)
        let object = try JSONSerialization.jsonObject(with: Data(bytes)) as? [String: Any]
        #expect(object?["type"] as? String == "notice")
        #expect((object?["data"] as? [String: String])?["pad"]?.count == size - LoadPayload.minimumBytes)
    }

    @Test(arguments: [LoadPayload.minimumBytes, LoadPayload.minimumBytes + 5, 128])
    func anyOtherByteIsCorrupt(size: Int) {
        let payload = LoadPayload(bytes: size)
        let bytes = payload.encode(Self.stamp)
        for index in bytes.indices {
            for bit in [UInt8(1), 0x20, 0x80] {
                var changed = bytes
                changed[index] ^= bit
                #expect(decode(changed, payload) == nil, "byte \(index), bit \(bit)")
            }
        }
    }

    @Test func anyOtherLengthIsCorrupt() {
        let payload = LoadPayload(bytes: 128)
        let bytes = payload.encode(Self.stamp)
        #expect(decode(Array(bytes.dropLast()), payload) == nil)
        #expect(decode(bytes + [0x7D], payload) == nil)
        #expect(decode([], payload) == nil)
        #expect(decode(LoadPayload(bytes: 129).encode(Self.stamp), payload) == nil)
    }

    @Test func swappedOrShiftedPartsAreCorrupt() {
        let payload = LoadPayload(bytes: 512)
        let bytes = payload.encode(Self.stamp)
        var swapped = bytes
        for offset in 0..<8 { swapped.swapAt(103 + offset, 111 + offset) }
        #expect(swapped != bytes)
        #expect(decode(swapped, payload) == nil)
        #expect(decode(Array(bytes[1...] + bytes[..<1]), payload) == nil)
    }

    @Test func theTailOfAnotherMessageIsCorrupt() {
        let payload = LoadPayload(bytes: 512)
        let bytes = payload.encode(Self.stamp)
        var next = Self.stamp
        next.sequence += 1
        let other = payload.encode(next)
        // Cut inside the fields: behind them the two are alike.
        #expect(decode(Array(bytes[..<60] + other[60...]), payload) == nil)
    }
}
