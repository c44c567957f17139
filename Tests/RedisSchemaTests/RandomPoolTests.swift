import Testing

@testable import RedisSchema

@Suite struct RandomPoolTests {
    /// Ten pools' worth: none is given out twice, and every bit is set about half of the time.
    @Test func wordsAreFreshAndEven() {
        var pool = RandomPool()
        let words = (0..<320).map { _ in pool.next() }
        #expect(Set(words).count == words.count)
        for bit in 0..<64 {
            let setCount = words.count { $0 >> UInt64(bit) & 1 == 1 }
            // 320 throws of a coin: outside 95...225 once in 10^12.
            #expect((95...225).contains(setCount), "bit \(bit)")
        }
    }

    @Test func poolsDiffer() {
        var (first, second) = (RandomPool(), RandomPool())
        #expect(first.next() != second.next())
    }
}
