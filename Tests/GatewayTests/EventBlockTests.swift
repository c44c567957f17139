import RedisSchema
import TestSupport
import Testing

@testable import Gateway

@Suite struct EventBlockTests {
    private let room = RoomId("lobby")!
    private let position = HistoryPosition(Array("k3f9x2ab.1795969278590-57".utf8))!

    private func text(_ bytes: SharedBytes) -> String { String(decoding: bytes.bytes, as: UTF8.self) }

    private func reader(_ bytes: SharedBytes) -> EventStreamReader { EventStreamReader(Array(bytes.bytes)) }

    private func event(_ payload: String, behind positions: [HistoryPosition?] = []) -> SharedBytes {
        Array(payload.utf8).withUnsafeBytes { EventBlock.event($0, behind: positions) }
    }

    @Test(arguments: [
        ("{}", "data: {}\n\n"),
        ("{\n}", "data: {\ndata: }\n\n"),
        ("{\r}", "data: {\ndata: }\n\n"),
        ("{\r\n}", "data: {\ndata: }\n\n"),
        ("{\n\r}", "data: {\ndata: \ndata: }\n\n"),
        ("{\n\n}", "data: {\ndata: \ndata: }\n\n"),
        ("\n{}\r\n", "data: \ndata: {}\ndata: \n\n"),
        ("{}\r", "data: {}\ndata: \n\n"),
        (" {}", "data:  {}\n\n"),
        (#"{"text":"a\nb"}"#, #"data: {"text":"a\nb"}"# + "\n\n"),
    ])
    func linesOfAPayloadBecomeLinesOfTheEvent(payload: String, expected: String) {
        #expect(text(event(payload)) == expected)
    }

    /// Whatever stands where: a reader gets the payload with line feeds for its breaks, and as many bytes are
    /// counted as there are.
    @Test(arguments: SeededRandom.seeds)
    func everyPayloadComesWhole(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        for _ in 0..<2_000 {
            let pieces = [
                "\n", "\r", "\r\n", "x", ":", " ", "data: ", "é", String(repeating: "y", count: 9),
            ]
            let payload = (0..<Int.random(in: 1...12, using: &random)).map { _ in
                pieces.randomElement(using: &random)!
            }.joined()
            let bytes = event(payload)
            let reader = reader(bytes)
            let scalars = payload.unicodeScalars.map { $0 }
            var expected = ""
            for (index, scalar) in scalars.enumerated() {
                if scalar == "\n", index > 0, scalars[index - 1] == "\r" { continue }
                expected.unicodeScalars.append(scalar == "\r" ? "\n" : scalar)
            }
            #expect(reader.events == [ReceivedEvent(data: expected, id: "")], "seed \(seed)")
            let counted = Array(payload.utf8).withUnsafeBytes { EventBlock.byteCount(of: $0) }
            #expect(bytes.byteCount == counted)
        }
    }

    @Test func idIsThePositionBehindTheEvent() {
        #expect(
            text(event("{}", behind: [position])) == "id: k3f9x2ab.1795969278590-57\ndata: {}\n\n")
        #expect(
            text(event("{}", behind: [nil, position])) == "id: ,k3f9x2ab.1795969278590-57\ndata: {}\n\n")
        #expect(text(event("{}", behind: [nil])) == "data: {}\n\n")
    }

    @Test func positionAloneIsNoEvent() {
        let reader = reader(EventBlock.position([position, nil]))
        #expect(reader.events.isEmpty)
        #expect(reader.lastEventId == "k3f9x2ab.1795969278590-57,")
    }

    @Test func keepAliveIsAComment() {
        let reader = EventStreamReader(Array(EventBlock.keepAlive.bytes))
        #expect(reader.events.isEmpty && reader.comments == [""])
    }

    @Test func goodbyeSaysCodeAndReason() {
        for reason in CloseReason.allCases {
            guard let code = reason.code else { continue }
            let reader = reader(EventBlock.close(reason))
            let data = #"{"code":\#(code.rawValue),"reason":"\#(reason.text)"}"#
            #expect(reader.events == [ReceivedEvent(name: "close", data: data, id: "")])
            switch reason {
            case .goingAway: #expect((500...2_500).contains(reader.retry ?? 0))
            case .replaced, .revoked: #expect(reader.retry == 2_147_483_647)
            default: #expect(reader.retry == nil)
            }
        }
    }

    /// A drain, and the death of a node, do not bring all clients back at once.
    @Test func reconnectionsAreSpread() {
        let goodbyes = (0..<100).map { _ in
            reader(EventBlock.close(.goingAway)).retry
        }
        let openings = (0..<100).map { _ in EventStreamReader(EventBlock.opening).retry }
        for retries in [goodbyes, openings] {
            #expect(Set(retries).count > 50)
            #expect(retries.allSatisfy { $0.map { (500...2_500).contains($0) } ?? false })
        }
    }

    // MARK: The encoding of a message

    private func durable(_ text: String) -> Message {
        Array(text.utf8).withUnsafeBytes {
            Message(
                room: room, order: 1, receivedAt: .now, isDurable: true, position: position, payload: $0)
        }
    }

    @Test(arguments: [0, 1, 125, 126, 65_535, 65_536])
    func messageGivesItsPayloadBack(byteCount: Int) {
        let payload = [UInt8](repeating: 0x31, count: byteCount)
        #expect(message(payload).withPayload { Array($0) } == payload)
    }

    @Test func eventOfAMessageIsMadeOnceAndHasItsPosition() {
        let message = durable(#"{"id":"1795969278590-57"}"#)
        let event = message.encoded(as: .event)
        #expect(message.encoded(as: .event) === event)
        #expect(
            text(event) == "id: \(position)\n" + #"data: {"id":"1795969278590-57"}"# + "\n\n")
        #expect(message.encoded(as: .webSocketText).byteCount == 2 + 25)
    }

    /// What is added to a backlog is subtracted from it, whatever was encoded meanwhile.
    @Test func memoryOfAMessageIsTheSameForItsLife() {
        let payload = Array("{\n\n}".utf8)
        for mayBeEvent in [false, true] {
            let message = payload.withUnsafeBytes {
                Message(room: room, order: 1, receivedAt: .now, mayBeEvent: mayBeEvent, payload: $0)
            }
            let before = message.memoryBytes
            let frames = [Encoding.webSocketText, .event].map { message.encoded(as: $0).memoryBytes }
            #expect(message.memoryBytes == before)
            #expect(before == (mayBeEvent ? frames.reduce(0, +) : frames[0]))
        }
    }
}
