import TestSupport
import Testing

@testable import Bytes

@Suite struct WordTests {
    @Test func firstOffsetAgreesWithAPlainSearchAtEveryPlace() {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SeededRandom(seed: seed)
        for round in 0..<2000 {
            let samples: [UInt8] = [0x09, 0x0A, 0x0B, 0x8A, 0x00, 0xFF]
            let bytes: [UInt8] = (0..<Int.random(in: 0...40, using: &random)).map { _ in
                samples[Int.random(in: samples.indices, using: &random)]
            }
            let start = Int.random(in: 0...bytes.count, using: &random)
            let expected = bytes[start...].firstIndex(of: 0x0A)
            let found = withRaw(bytes) { Word.firstOffset(of: 0x0A, in: $0, from: start) }
            #expect(found == expected, "seed \(seed), round \(round)")
        }
    }

    @Test func lowestMarkIsExactForEveryPairOfNeighbours() {
        for first in UInt8.min...UInt8.max {
            for second in UInt8.min...UInt8.max {
                let word = UInt64(second) << 8 | UInt64(first) | 0x6161_6161_6161_0000
                let below = Word.marks(below: 0x20, in: word)
                let expected = first < 0x20 ? 0 : second < 0x20 ? 1 : nil
                #expect((below == 0 ? nil : Word.firstIndex(below)) == expected, "\(first), \(second)")
            }
        }
    }
}
