// One notice to publish, from the command line or from a line of a file:
//
//     {"room":<string>,"type":<string, optional>,"data":<any JSON value>,"once":<string, optional, durable only>}

import Bytes
import JSON
import RedisSchema

/// A checked notice.
struct Notice: Equatable {
    /// The largest notice, and the longest line, that is taken: far above any useful push, and a bound for
    /// memory.
    static let maximumBytes = 1 << 20

    let room: RoomId
    /// The envelope, ready to publish.
    let payload: [UInt8]
    /// The key under which its room gets it once.
    let once: OnceKey?

    /// Why a text is no notice: the words that follow `line 7: `.
    struct Fault: Error, Equatable, CustomStringConvertible {
        let description: String
    }

    /// Reads a line of a file.
    ///
    /// Members other than those above are refused: a misspelt `type` would reach users as another kind of
    /// notice.
    /// - Parameters:
    ///   - defaultType: for a line without `type`.
    ///   - isDurable: whether the notice is to be kept, by a key if it has one.
    ///   - isCluster: whether it goes to a Redis Cluster.
    /// - Throws: `Fault`.
    init(line: [UInt8], defaultType: String, isDurable: Bool = false, isCluster: Bool = false) throws(Fault)
    {
        try Self.check(line)
        guard let object = JsonObject(validJson: line) else { throw Fault(description: "not a JSON object") }
        var values = InlineArray<4, Range<Int>?>(repeating: nil)
        for member in object.members {
            guard let index = Self.names.firstIndex(of: member.name) else {
                let name = Self.printable(String(decoding: member.name, as: UTF8.self))
                let expected = isDurable ? "room, type, data, once" : "room, type, data"
                throw Fault(description: "unknown member \"\(name)\", expected \(expected)")
            }
            guard values[index] == nil else {
                let name = String(decoding: member.name, as: UTF8.self)
                throw Fault(description: "member \"\(name)\" stands twice")
            }
            values[index] = member.value
        }
        guard let roomRange = values[0] else { throw Fault(description: "member \"room\" is missing") }
        guard let dataRange = values[2] else { throw Fault(description: "member \"data\" is missing") }
        let roomValue = line[roomRange]
        guard let room = JsonObject.text(ofString: roomValue).flatMap({ RoomId($0) }) else {
            throw Fault(description: "\"room\" is not a string of \(Self.roomForm)")
        }
        var type = defaultType
        if let typeRange = values[1] {
            guard let text = JsonObject.text(ofString: line[typeRange]) else {
                throw Fault(description: "\"type\" is not a string")
            }
            type = String(decoding: text, as: UTF8.self)
        }
        self.room = room
        payload = NoticeEnvelope.bytes(type: type, data: line[dataRange])
        once = try values[3].map { range throws(Fault) in try Self.once(line[range], isDurable) }
        if isDurable { try Self.checkDurable(payload) }
        if isDurable, isCluster, room.hasBrace { throw Fault(description: DurableNotice.braceFault) }
    }

    /// A notice of the command line.
    init(room: RoomId, payload: [UInt8]) {
        self.room = room
        self.payload = payload
        once = nil
    }

    private static let names = ["room", "type", "data", "once"].map { Array($0.utf8) }

    private static func once(_ json: ArraySlice<UInt8>, _ isDurable: Bool) throws(Fault) -> OnceKey {
        guard isDurable else { throw Fault(description: "member \"once\" is for --durable only") }
        guard let key = JsonObject.text(ofString: json).flatMap({ OnceKey($0) }) else {
            throw Fault(description: "\"once\" is not a string of \(OnceKey.form)")
        }
        return key
    }

    /// - Throws: `Fault` when the notice is too large to be kept.
    static func checkDurable(_ payload: [UInt8]) throws(Fault) {
        guard payload.count <= DurableNotice.maximumBytes else {
            throw Fault(
                description: "\(payload.count) bytes with its type, a durable notice has at most "
                    + "\(DurableNotice.maximumBytes)")
        }
    }

    /// The form of a room id, for messages.
    static let roomForm = "1 to \(RoomId.maximumBytes) bytes of UTF-8 without control characters and commas"

    /// The envelope for data given on the command line; blanks round it are dropped.
    ///
    /// - Throws: `Fault` when the data is not one JSON value.
    static func payload(type: String, data: [UInt8]) throws(Fault) -> [UInt8] {
        try check(data)
        let isBlank = { (byte: UInt8) in byte == 0x20 || byte == 0x09 || byte == 0x0A || byte == 0x0D }
        let trimmed = data.drop(while: isBlank).reversed().drop(while: isBlank).reversed()
        let payload = NoticeEnvelope.bytes(type: type, data: Array(trimmed))
        // The envelope nests the data one level deeper, and gateways check the whole.
        try check(payload)
        return payload
    }

    private static func check(_ json: [UInt8]) throws(Fault) {
        switch json.withUnsafeBytes({ PayloadCheck($0) }) {
        case .valid: return
        case .notUtf8: throw Fault(description: "not UTF-8")
        case .notJson:
            throw Fault(
                description: "not JSON (one value, nested at most \(JsonValidator.maximumDepth) deep)")
        }
    }

    /// A member's name as an error line shows it: clipped, on one line.
    private static func printable(_ name: String) -> String {
        let scalars = name.unicodeScalars.prefix(40).map {
            $0.value < 0x20 || $0.value == 0x7F ? "?" : String($0)
        }
        return scalars.joined()
    }
}
