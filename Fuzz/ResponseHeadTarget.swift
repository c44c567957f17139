// Answer heads, as load test and tests read them, with the client's check of a 101. Single thread.

enum ResponseHeadTarget {
    private static let headLimit = 8192
    /// Of the key that is made from 16 zero bytes.
    private static let acceptValue = "ICX+Yqv66kxgM0FcWaLWlFLwTAI="

    private enum Outcome: Equatable {
        case incomplete
        case failed(HttpHeadError)
        case complete(statusCode: Int, headBytes: Int, fieldCount: Int, contentLengthBytes: Int?)

        init(_ result: HttpHeadResult<HttpResponseHead>) {
            switch result {
            case .incomplete: self = .incomplete
            case .failed(let error): self = .failed(error)
            case .complete(let head):
                self = .complete(
                    statusCode: head.statusCode, headBytes: head.headBytes, fieldCount: head.fields.count,
                    contentLengthBytes: head.contentLengthBytes)
            }
        }
    }

    static func run(_ input: [UInt8], _ random: inout SeededRandom) {
        for limit in [headLimit, Int.random(in: 0...input.count + 1, using: &random)] {
            let whole = withExactCopy(input) {
                HttpResponseHead.parse(UnsafeRawBufferPointer($0), maximumBytes: limit)
            }
            for cuts in cuttings(of: input.count, &random) {
                let outcome = parse(input, limit, cuts: cuts)
                require(outcome == Outcome(whole), "cut at \(cuts), limit \(limit): \(outcome)")
            }
            if case .complete(let head) = whole { check(head, input, limit) }
        }
    }

    private static func parse(_ input: [UInt8], _ limit: Int, cuts: [Int]) -> Outcome {
        var scanner = HttpHeadScanner()
        for end in cuts {
            let outcome = withExactCopy(input[..<end]) { bytes in
                Outcome(
                    HttpResponseHead.parse(
                        UnsafeRawBufferPointer(bytes), maximumBytes: limit, scanner: &scanner))
            }
            if outcome != .incomplete { return outcome }
        }
        return .incomplete
    }

    private static func check(_ head: HttpResponseHead, _ input: [UInt8], _ limit: Int) {
        require(
            head.headBytes <= min(limit, input.count), "a head of \(head.headBytes) bytes is over its limit")
        guard let plain = PlainHead(input[..<head.headBytes]) else {
            fatalError("does not hold: another reader takes it for a head")
        }
        require(head.fields.count == plain.fields.count, "\(plain.fields.count) fields")
        require(!plain.startLine.contains { ($0 < 0x20 && $0 != 0x09) || $0 == 0x7F }, "a reason is text")
        let parts = plain.startLine.split(separator: 0x20, maxSplits: 2, omittingEmptySubsequences: false)
            .map { String(decoding: $0, as: UTF8.self) }
        require(parts[0].hasPrefix("HTTP/1."), "\(parts[0]) is HTTP/1")
        require(parts[1].utf8.count == 3 && Int(parts[1]) == head.statusCode, "\(parts[1]) is the status")
        require((100...599).contains(head.statusCode), "a status of a class")

        let lengths = plain.texts("content-length")
        let isPlain =
            lengths.count == 1 && !lengths[0].isEmpty
            && lengths[0].utf8.allSatisfy { (48...57).contains($0) }
        require(
            head.contentLengthBytes == (isPlain ? Int(lengths[0]) : nil), "a single, plain length or none")

        let nonce = [UInt8](repeating: 0, count: ClientHandshake.nonceBytes)
        let handshake = nonce.withUnsafeBytes { ClientHandshake(nonce: $0) }
        let isOpen = (try? handshake.verify(head)) != nil
        let expected =
            head.statusCode == 101 && plain.items("upgrade").contains("websocket")
            && plain.items("connection").contains("upgrade")
            && plain.texts("sec-websocket-accept") == [acceptValue]
            && plain.values("sec-websocket-extensions").isEmpty
            && plain.values("sec-websocket-protocol").isEmpty
        require(isOpen == expected, "opens the connection: \(expected)")
    }
}
