import TestSupport
import Testing

@testable import Bytes

@Suite struct Utf8ValidatorTests {
    static let valid: [[UInt8]] = [
        [], [0x00], [0x7F], [0xC2, 0x80], [0xDF, 0xBF], [0xE0, 0xA0, 0x80], [0xE1, 0x80, 0x80],
        [0xEC, 0xBF, 0xBF],
        [0xED, 0x80, 0x80], [0xED, 0x9F, 0xBF], [0xEE, 0x80, 0x80], [0xEF, 0xBF, 0xBF],
        [0xF0, 0x90, 0x80, 0x80],
        [0xF1, 0x80, 0x80, 0x80], [0xF3, 0xBF, 0xBF, 0xBF], [0xF4, 0x8F, 0xBF, 0xBF],
        Array("κόσμε, 房间, €, 😀, plain ASCII that fills more than a word".utf8),
    ]

    /// Each with the index of the byte that settles it.
    static let invalid: [([UInt8], Int)] = [
        ([0x80], 0), ([0xBF], 0), ([0xC0, 0x80], 0), ([0xC1, 0xBF], 0), ([0xF5, 0x80, 0x80, 0x80], 0),
        ([0xFE], 0),
        ([0xFF], 0), ([0xC2, 0x41], 1), ([0xC2, 0xC2], 1), ([0xE0, 0x80, 0x80], 1), ([0xE0, 0x9F, 0xBF], 1),
        ([0xED, 0xA0, 0x80], 1), ([0xED, 0xBF, 0xBF], 1), ([0xE1, 0x80, 0x41], 2),
        ([0xF0, 0x80, 0x80, 0x80], 1),
        ([0xF0, 0x8F, 0xBF, 0xBF], 1), ([0xF4, 0x90, 0x80, 0x80], 1), ([0xF1, 0x80, 0x80, 0x20], 3),
        ([0xF1, 0x80, 0xC0, 0x80], 2), ([0x41, 0x80], 1),
    ]

    static let cutOff: [[UInt8]] = [
        [0xC2], [0xE0], [0xE0, 0xA0], [0xED, 0x9F], [0xF0], [0xF0, 0x90], [0xF0, 0x90, 0x80],
        [0xF4, 0x8F, 0xBF],
    ]

    /// In front of a sample, so that it falls on every place of a word.
    static let paddings = (0...9).map { [UInt8](repeating: 0x61, count: $0) }

    @Test func validTextIsAcceptedAtEverySplit() {
        for sample in Utf8ValidatorTests.valid {
            for padding in Utf8ValidatorTests.paddings {
                let bytes = padding + sample + padding
                #expect(withRaw(bytes, Utf8Validator.isValid), "\(sample)")
                for cut in 0...bytes.count {
                    var validator = Utf8Validator()
                    #expect(
                        withRaw(Array(bytes[..<cut])) { validator.accept($0) }, "\(sample) cut at \(cut)")
                    #expect(
                        withRaw(Array(bytes[cut...])) { validator.accept($0) }, "\(sample) cut at \(cut)")
                    #expect(validator.isAtBoundary)
                }
            }
        }
    }

    @Test func invalidTextFailsAtTheByteThatSettlesIt() {
        for (sample, settled) in Utf8ValidatorTests.invalid {
            for padding in Utf8ValidatorTests.paddings {
                let bytes = padding + sample
                var validator = Utf8Validator()
                for (offset, byte) in bytes.enumerated() where offset <= padding.count + settled {
                    let isAccepted = withRaw([byte]) { validator.accept($0) }
                    #expect(isAccepted == (offset < padding.count + settled), "\(sample) at \(offset)")
                }
                #expect(!withRaw([0x61]) { validator.accept($0) }, "a failure is final")
                #expect(!validator.isAtBoundary)
                #expect(!withRaw(bytes + padding, Utf8Validator.isValid))
            }
        }
    }

    @Test func cutOffCharacterIsNoBoundary() {
        for sample in Utf8ValidatorTests.cutOff {
            for padding in Utf8ValidatorTests.paddings {
                var validator = Utf8Validator()
                #expect(withRaw(padding + sample) { validator.accept($0) })
                #expect(!validator.isAtBoundary)
                #expect(!withRaw(padding + sample, Utf8Validator.isValid))
                #expect(!withRaw(padding + sample + padding + [0x61], Utf8Validator.isValid))
            }
        }
    }

    @Test func agreesWithTheStandardLibraryOnEveryPairAndTriple() {
        for first in stride(from: UInt8(0x7E), through: 0xFE, by: 1) {
            for second: UInt8 in [0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xFF] {
                for third: UInt8 in [0x41, 0x80, 0xBF, 0xC2] {
                    for sample in [[first, second], [first, second, third], [first, second, third, 0x80]] {
                        let expected = String(validating: sample, as: UTF8.self) != nil
                        #expect(withRaw(sample, Utf8Validator.isValid) == expected, "\(sample)")
                    }
                }
            }
        }
    }

    @Test func randomTextWithOneChangedByteAgreesWithTheStandardLibrary() {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SeededRandom(seed: seed)
        for round in 0..<2000 {
            var bytes = Array(random.text(30).utf8)
            #expect(withRaw(bytes, Utf8Validator.isValid), "seed \(seed), round \(round)")
            bytes[Int.random(in: bytes.indices, using: &random)] = UInt8.random(in: 0...255, using: &random)
            let expected = String(validating: bytes, as: UTF8.self) != nil
            #expect(withRaw(bytes, Utf8Validator.isValid) == expected, "seed \(seed), round \(round)")
        }
    }
}
