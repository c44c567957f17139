import Bytes
import Testing

@Suite struct BackwardTextTests {
    private func text(_ write: (inout BackwardText) -> Void) -> String {
        var text = BackwardText()
        write(&text)
        var bytes = [UInt8](">".utf8)
        text.append(to: &bytes)
        #expect(bytes.count == text.byteCount + 1)
        return String(decoding: bytes, as: UTF8.self)
    }

    @Test(arguments: [Int64.min, -10, -9, -1, 0, 1, 9, 10, 99, 100, .max])
    func numberIsDecimal(number: Int64) {
        #expect(text { $0.prepend(decimal: number) } == ">\(number)")
        var bytes: [UInt8] = []
        bytes.append(decimal: Int(clamping: number.magnitude))
        #expect(String(decoding: bytes, as: UTF8.self) == String(Int(clamping: number.magnitude)))
    }

    @Test func whatComesLaterStandsInFront() {
        let line = text {
            $0.prepend(UInt8(ascii: "\n"))
            $0.prepend(decimal: .min)
            $0.prepend(UInt8(ascii: "$"))
        }
        #expect(line == ">$-9223372036854775808\n")
        #expect(text { _ in } == ">")
    }
}
