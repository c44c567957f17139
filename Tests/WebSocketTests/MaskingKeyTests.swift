import Testing

@testable import WebSocket

@Suite struct MaskingKeyTests {
    private func masked(_ bytes: [UInt8], _ key: inout MaskingKey) -> [UInt8] {
        var bytes = bytes
        bytes.withUnsafeMutableBytes { key.apply(to: $0) }
        return bytes
    }

    @Test func masksTheExampleOfTheStandard() {
        var key = MaskingKey(networkOrder: 0x37FA_213D)
        #expect(masked(Array("Hello".utf8), &key) == [0x7F, 0x9F, 0x4D, 0x51, 0x58])
    }

    @Test func agreesWithTheDefinitionAtEveryLengthAndSplit() {
        let octets: [UInt8] = [0x12, 0xAB, 0x00, 0xFE]
        let plain = (0..<40).map { UInt8($0 * 5) }
        for length in 0...plain.count {
            let expected = (0..<length).map { plain[$0] ^ octets[$0 % 4] }
            for cut in 0...length {
                var key = MaskingKey(networkOrder: 0x12AB_00FE)
                let first = masked(Array(plain[..<cut]), &key)
                let second = masked(Array(plain[cut..<length]), &key)
                #expect(first + second == expected, "\(length) bytes cut at \(cut)")
            }
        }
    }

    @Test func rotatesByTheBytesSeen() {
        var key = MaskingKey(networkOrder: 0x0102_0304)
        _ = masked([0, 0, 0], &key)
        #expect(key.networkOrder == 0x0401_0203)
        _ = masked([UInt8](repeating: 0, count: 9), &key)
        #expect(key.networkOrder == 0x0102_0304)
    }
}
