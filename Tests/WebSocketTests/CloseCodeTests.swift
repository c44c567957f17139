import Bytes
import TestSupport
import Testing

@testable import WebSocket

private func payload(_ reason: String) -> [UInt8] {
    var output: [UInt8] = []
    ClosePayload.append(.goingAway, reason: reason, to: &output)
    return output
}

@Suite struct CloseCodeTests {
    @Test func namedCodesHaveTheirNumbers() {
        let named: [CloseCode] = [
            .normal, .goingAway, .protocolError, .invalidPayload, .messageTooBig,
            .tryAgainLater,
            .heartbeatTimeout, .replaced, .tokenRevoked,
        ]
        #expect(named.map(\.rawValue) == [1000, 1001, 1002, 1007, 1009, 1013, 4000, 4001, 4003])
        #expect(named.filter(\.isLegalOnWire) == named)
    }

    @Test func onlyRegisteredAndApplicationCodesAreLegal() {
        let legal = (UInt16.min...UInt16.max).filter { CloseCode(rawValue: $0).isLegalOnWire }
        #expect(legal == Array(1000...1003) + Array(1007...1014) + Array(3000...4999))
    }

    @Test func reasonIsCutAtTheEndOfACharacter() {
        #expect(payload("") == [0x03, 0xE9])
        let longest = String(repeating: "a", count: 123)
        #expect(payload(longest) == [0x03, 0xE9] + Array(longest.utf8))
        #expect(payload(longest + "a") == [0x03, 0xE9] + Array(longest.utf8))
        for character in ["é", "间", "😀"] {
            for padding in 0...4 {
                let reason =
                    String(repeating: "x", count: padding) + String(repeating: character, count: 130)
                let kept = Array(payload(reason).dropFirst(2))
                #expect(withRaw(kept, Utf8Validator.isValid))
                #expect(kept.count <= 123 && kept.count > 123 - character.utf8.count)
                #expect(reason.utf8.starts(with: kept))
            }
        }
    }

    @Test func reasonOfForeignStorageIsCutTheSame() {
        let slice = String(("房间" + String(repeating: "房", count: 60)).dropFirst(1))
        #expect(payload(slice).count == 2 + 123)
    }

    @Test func decodesWhatItEncodes() {
        withRaw(payload("节点")) { bytes in
            guard case .valid(let code, let reason) = ClosePayload.decode(bytes) else {
                Issue.record("refused")
                return
            }
            #expect(code == .goingAway)
            #expect(text(Array(reason)) == "节点")
        }
    }

    @Test func refusesALoneByteIllegalCodesAndBadReasons() {
        func failure(_ bytes: [UInt8]) -> CloseCode? {
            withRaw(bytes) { if case .failure(let code) = ClosePayload.decode($0) { code } else { nil } }
        }
        #expect(failure([]) == nil)
        #expect(failure([0x03]) == .protocolError)
        for code: UInt16 in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
            #expect(failure([UInt8(code >> 8), UInt8(code & 0xFF)]) == .protocolError, "\(code)")
        }
        for code: UInt16 in [1000, 1003, 1007, 1014, 3000, 3999, 4000, 4999] {
            #expect(failure([UInt8(code >> 8), UInt8(code & 0xFF)]) == nil, "\(code)")
        }
        #expect(failure([0x03, 0xE8, 0xC3]) == .invalidPayload)
        #expect(failure([0x03, 0xE8, 0xED, 0xA0, 0x80]) == .invalidPayload)
    }
}
