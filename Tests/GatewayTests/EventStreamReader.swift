// An event stream as a client reads it (HTML Living Standard, section 9.2.6), written from the standard.

/// One event, and what the last event id was when it was handed out.
struct ReceivedEvent: Equatable {
    var name = "message"
    let data: String
    let id: String
}

/// Reads the bytes of a stream at once.
struct EventStreamReader {
    private(set) var events: [ReceivedEvent] = []
    private(set) var lastEventId = ""
    /// In milliseconds; nil without a `retry`.
    private(set) var retry: Int?
    /// What stood in comments.
    private(set) var comments: [String] = []
    private var name = ""
    private var data = ""
    private var id = ""

    init(_ bytes: [UInt8]) {
        var line: [UInt8] = []
        var index = 0
        while index < bytes.count {
            let byte = bytes[index]
            index += 1
            guard byte == 0x0A || byte == 0x0D else {
                line.append(byte)
                continue
            }
            if byte == 0x0D, index < bytes.count, bytes[index] == 0x0A { index += 1 }
            take(String(decoding: line, as: UTF8.self))
            line = []
        }
    }

    private mutating func take(_ line: String) {
        guard !line.isEmpty else { return dispatch() }
        guard let colon = line.firstIndex(of: ":") else { return field(line, "") }
        var value = line[line.index(after: colon)...]
        if value.first == " " { value = value.dropFirst() }
        if colon == line.startIndex {
            comments.append(String(value))
        } else {
            field(String(line[..<colon]), String(value))
        }
    }

    private mutating func field(_ field: String, _ value: String) {
        switch field {
        case "event": name = value
        case "data": data += value + "\n"
        case "id": if !value.contains("\0") { id = value }
        case "retry": if !value.isEmpty, value.allSatisfy(\.isNumber) { retry = Int(value) }
        default: break
        }
    }

    private mutating func dispatch() {
        lastEventId = id
        if !data.isEmpty {
            events.append(
                ReceivedEvent(name: name.isEmpty ? "message" : name, data: String(data.dropLast()), id: id))
        }
        (name, data) = ("", "")
    }
}
