import TestSupport
import Testing

@testable import LoadTest

@Suite struct EventStreamReaderTests {
    private enum Seen: Equatable {
        case notice(String)
        case close(String)
        case stray
    }

    private func read(_ stream: String, cuts: [Int] = [], maximumBytes: Int = 100) -> [Seen] {
        var reader = EventStreamReader(maximumBytes: maximumBytes)
        var seen: [Seen] = []
        let bytes = Array(stream.utf8)
        for (start, end) in zip([0] + cuts, cuts + [bytes.count]) {
            withRaw(Array(bytes[start..<end])) { piece in
                reader.read(piece) { event in
                    switch event {
                    case .notice(let data): seen.append(.notice(String(decoding: data, as: UTF8.self)))
                    case .close(let data): seen.append(.close(String(decoding: data, as: UTF8.self)))
                    case .stray: seen.append(.stray)
                    }
                }
            }
        }
        return seen
    }

    @Test func eventsAreTheSameHoweverTheyAreCut() {
        let stream =
            "retry: 5\n\n:\n\ndata: 1\n\nid: k.1-1\ndata: {\"a\":\ndata: 2}\n\nid: k.1-2\n\n"
            + "retry: 9\nevent: close\ndata: {\"code\":4001}\n\n"
        let expected: [Seen] = [.notice("1"), .notice("{\"a\":\n2}"), .close("{\"code\":4001}")]
        #expect(read(stream) == expected)
        for cut in 1..<stream.utf8.count { #expect(read(stream, cuts: [cut]) == expected, "\(cut)") }
        #expect(read(stream, cuts: Array(1..<stream.utf8.count)) == expected)
    }

    @Test func whatNoGatewaySendsIsNoticed() {
        #expect(read("event: other\ndata: 1\n\n") == [.stray])
        #expect(read("nonsense\n") == [.stray])
        #expect(read(String(repeating: "x", count: 101)) == [.stray])
        #expect(read("data: 1\n") == [], "not yet an event")
    }
}
