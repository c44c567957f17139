// Published payloads and names: the UTF-8 verdict is held against Swift's own, the JSON verdict against a
// second reader, and cuts must not matter. Single thread.

enum PayloadTarget {
    static func run(_ input: [UInt8], _ random: inout SeededRandom) {
        let isText = String(validating: input, as: UTF8.self) != nil
        let depth = PlainJson.depth(input)
        checkText(input, isText, &random)
        checkJson(input, isText, depth)
        checkEnvelope(input, depth, &random)
        checkNames(input, isText)
    }

    private static func checkText(_ input: [UInt8], _ isText: Bool, _ random: inout SeededRandom) {
        let verdict = withExactCopy(input) { Utf8Validator.isValid(UnsafeRawBufferPointer($0)) }
        require(verdict == isText, "UTF-8: \(isText)")
        let failsAt = firstFault(input, cuts: Array(0...input.count))
        for cuts in cuttings(of: input.count, &random) {
            let fault = firstFault(input, cuts: cuts)
            require(fault.isWhole == isText, "cut at \(cuts), UTF-8: \(isText)")
            // The piece with the fault is refused, neither an earlier nor a later one.
            let expected = failsAt.end.flatMap { end in cuts.first { $0 >= end } }
            require(
                fault.end == expected, "cut at \(cuts), refused at \(fault.end ?? -1), not \(expected ?? -1)"
            )
        }
    }

    /// The end of the first piece that is refused, and whether the text is whole and none was.
    private static func firstFault(_ input: [UInt8], cuts: [Int]) -> (end: Int?, isWhole: Bool) {
        var validator = Utf8Validator()
        var fault: Int?
        var start = 0
        for end in cuts {
            let isAccepted = withExactCopy(input[start..<end]) {
                validator.accept(UnsafeRawBufferPointer($0))
            }
            if fault != nil, end > start { require(!isAccepted, "a refusal stands") }
            if !isAccepted, fault == nil {
                require(!validator.isAtBoundary, "a refused text is not whole")
                fault = end
            }
            start = end
        }
        return (fault, fault == nil && validator.isAtBoundary)
    }

    private static func isJson(_ bytes: [UInt8]) -> Bool {
        withExactCopy(bytes) { JsonValidator.isValid(UnsafeRawBufferPointer($0)) }
    }

    private static func checkJson(_ input: [UInt8], _ isText: Bool, _ depth: Int?) {
        require(isJson(input) == (depth != nil), "JSON: \(depth != nil)")
        let check = withExactCopy(input) { PayloadCheck(UnsafeRawBufferPointer($0)) }
        require(check == (!isText ? .notUtf8 : depth != nil ? .valid : .notJson), "\(check)")
        let blank = Array(" \t\r\n".utf8)
        require(isJson(blank + input + blank) == (depth != nil), "blanks around a value do not matter")
        // A string only: "1" and "1,2" are as valid within brackets as without, or more so.
        guard let depth else { return }
        require(isJson([0x5B] + input + [0x5D]) == (depth < JsonValidator.maximumDepth), "in an array")
    }

    /// The publisher's envelope is JSON exactly if what it carries is, whatever its type is called.
    private static func checkEnvelope(_ input: [UInt8], _ depth: Int?, _ random: inout SeededRandom) {
        let end = Int.random(in: 0...input.count, using: &random)
        let type = String(decoding: input[..<end], as: UTF8.self)
        let carried = NoticeEnvelope.bytes(type: type, data: Array("1".utf8))
        require(isJson(carried), "any text may be a type: \(type)")
        require(String(validating: carried, as: UTF8.self) != nil, "an envelope is text")
        guard let depth else { return }
        let envelope = NoticeEnvelope.bytes(type: type, data: input)
        require(isJson(envelope) == (depth < JsonValidator.maximumDepth), "an envelope round JSON is JSON")
    }

    private static func checkNames(_ input: [UInt8], _ isText: Bool) {
        let isName =
            isText && !input.isEmpty
            && String(decoding: input, as: UTF8.self).unicodeScalars.allSatisfy { scalar in
                scalar.value >= 0x20 && !(0x7F...0x9F).contains(scalar.value)
            }
        let isRoom = isName && input.count <= 128 && !input.contains(UInt8(ascii: ","))
        require((RoomId(input) != nil) == isRoom, "a room id: \(isRoom)")
        require((Identity(input) != nil) == (isName && input.count <= 256), "an identity: \(isName)")
        require(RoomId(input).map { $0.bytes == input } ?? true, "a room id keeps its bytes")
        let room = Channels(prefix: "p:").room(ofChannel: Array("p:room:".utf8) + input)
        require(room == RoomId(input), "the room of its channel")

        let alphabet = Set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".utf8)
        let token = Token(input)
        require(
            (token != nil) == (input.count == 24 && input.allSatisfy(alphabet.contains)),
            "the form of a token")
        require(token.map { $0.bytes == input } ?? true, "a token keeps its bytes")
        let position = HistoryPosition(input)
        require(position.map { Array("\($0)".utf8) == input } ?? true, "a position keeps its bytes")
        guard let room = RoomId(Array("lobby".utf8)),
            let id = input.withUnsafeBytes({ NoticeId(head: $0, room: room) })
        else { return }
        let head = Array(#"{"id":"\#(id)","room":"lobby","#.utf8)
        require(input.starts(with: head), "the head of a durable notice")
    }
}
