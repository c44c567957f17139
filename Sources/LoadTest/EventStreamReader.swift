// Takes an event stream apart (HTML Living Standard, section 9.2.6), as far as gateways use it: lines end with a
// line feed. Belongs to its connection.

import Bytes

/// The events of one stream, from any pieces of its bytes.
struct EventStreamReader {
    enum Event {
        /// The data of an unnamed event, without the line feed at its end; valid until the call returns.
        case notice(UnsafeRawBufferPointer)
        /// The data of an event named `close`.
        case close(UnsafeRawBufferPointer)
        /// What no server of ours sends: another name, or a line that is too long.
        case stray
    }

    private let maximumBytes: Int
    /// The beginning of a line that is not there whole.
    private var line: [UInt8] = []
    private var data: [UInt8] = []
    private var hasData = false
    private var name: [UInt8] = []

    /// - Parameter maximumBytes: the longest line, and the longest data of an event.
    init(maximumBytes: Int) { self.maximumBytes = maximumBytes }

    /// Hands out the events that are complete.
    mutating func read(_ bytes: UnsafeRawBufferPointer, _ onEvent: (Event) -> Void) {
        var start = 0
        while let end = Word.firstOffset(of: Ascii.lineFeed, in: bytes, from: start) {
            if line.isEmpty {
                take(bytes.part(start..<end), onEvent)
            } else {
                line.append(contentsOf: bytes.part(start..<end))
                let whole = line
                line.removeAll(keepingCapacity: true)
                whole.withUnsafeBytes { take($0, onEvent) }
            }
            start = end + 1
        }
        guard line.count + bytes.count - start <= maximumBytes else { return onEvent(.stray) }
        line.append(contentsOf: bytes.part(start..<bytes.count))
    }

    private mutating func take(_ line: UnsafeRawBufferPointer, _ onEvent: (Event) -> Void) {
        if line.isEmpty { return dispatch(onEvent) }
        guard let colon = line.firstIndex(of: Ascii.colon) else { return onEvent(.stray) }
        var value = line.part(colon + 1..<line.count)
        if value.first == Ascii.space { value = value.part(1..<value.count) }
        switch line.part(0..<colon) {
        case let field where field.equals(("data" as StaticString).rawBytes):
            guard data.count + value.count < maximumBytes else { return onEvent(.stray) }
            if hasData { data.append(Ascii.lineFeed) }
            data.append(contentsOf: value)
            hasData = true
        case let field where field.equals(("event" as StaticString).rawBytes): name = Array(value)
        // A comment, an id or a time: nothing that is checked here.
        default: break
        }
    }

    private mutating func dispatch(_ onEvent: (Event) -> Void) {
        if hasData {
            data.withUnsafeBytes { data in
                onEvent(
                    name.isEmpty ? .notice(data) : name.elementsEqual("close".utf8) ? .close(data) : .stray)
            }
        }
        data.removeAll(keepingCapacity: true)
        hasData = false
        name = []
    }
}
