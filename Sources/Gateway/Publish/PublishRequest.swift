// The body of POST /api/publish. Pure.
//
//     {"room":"lobby" | "rooms":["lobby","user-42"], "type":"notice", "data":{},
//      "durable":true, "once":"order-4711", "historyLimit":1000, "historyAgeMs":3600000}

import JSON
import RedisSchema

/// A checked request: one notice to one or many rooms.
struct PublishRequest {
    /// What makes the notice durable.
    struct Durability: Equatable {
        let once: OnceKey?
        let bounds: HistoryBounds
    }

    /// Each once, in the order of the request.
    let rooms: [RoomId]
    /// What clients receive, ready to publish.
    let payload: [UInt8]
    /// nil if the notice is of the moment.
    let durability: Durability?

    private static let names = [
        "room", "rooms", "type", "data", "durable", "once", "historyLimit", "historyAgeMs",
    ]

    /// Unknown members are refused: with a misspelt `durable` the notice would be of the moment.
    ///
    /// - Parameter isCluster: whether the notice goes to a Redis Cluster.
    /// - Throws: `ParameterFault`.
    init(_ body: [UInt8], isCluster: Bool = false) throws(ParameterFault) {
        guard body.withUnsafeBytes({ PayloadCheck($0) }) == .valid, let object = JsonObject(validJson: body)
        else { throw ParameterFault("the body is not a JSON object") }
        let members = try Members(body, object, names: Self.names)
        rooms = try Self.rooms(members)
        guard let data = members["data"] else { throw ParameterFault("data is missing") }
        let type = try members.text("type", "a string") { String(decoding: $0, as: UTF8.self) }
        payload = NoticeEnvelope.bytes(type: type ?? NoticeEnvelope.defaultType, data: data)
        durability = try Self.durability(members)
        guard durability == nil || payload.count <= DurableNotice.maximumBytes else {
            throw ParameterFault("a durable notice has at most \(DurableNotice.maximumBytes) bytes")
        }
        if isCluster, durability != nil, rooms.contains(where: \.hasBrace) {
            throw ParameterFault(DurableNotice.braceFault)
        }
    }

    private static func rooms(_ members: Members) throws(ParameterFault) -> [RoomId] {
        let form = "1 to \(RoomId.maximumBytes) bytes of UTF-8 without control characters and commas"
        guard let list = members["rooms"] else {
            guard let room = try members.text("room", form, { RoomId($0) }) else {
                throw ParameterFault("room or rooms is missing")
            }
            return [room]
        }
        guard members["room"] == nil else { throw ParameterFault("room and rooms exclude each other") }
        guard let items = JsonObject.items(ofArray: list),
            (1...Limits.publishRoomCount).contains(items.count)
        else { throw ParameterFault("rooms is not an array of 1 to \(Limits.publishRoomCount) rooms") }
        var rooms: [RoomId] = []
        var seen: Set<RoomId> = []
        for item in items {
            guard let room = JsonObject.text(ofString: item).flatMap({ RoomId($0) }) else {
                throw ParameterFault("an item of rooms is not a string of \(form)")
            }
            if seen.insert(room).inserted { rooms.append(room) }
        }
        return rooms
    }

    private static func durability(_ members: Members) throws(ParameterFault) -> Durability? {
        let once = try members.text("once", OnceKey.form) { OnceKey($0) }
        let limit = try members.number("historyLimit", HistoryBounds.limits)
        let ages = HistoryBounds.ages
        let age = try members.number(
            "historyAgeMs", Int(ages.lowerBound.wholeMilliseconds)...Int(ages.upperBound.wholeMilliseconds))
        guard try members.flag("durable") else {
            guard once == nil, limit == nil, age == nil else {
                throw ParameterFault("once, historyLimit and historyAgeMs are for durable notices only")
            }
            return nil
        }
        return Durability(
            once: once,
            bounds: HistoryBounds(
                limit: limit ?? HistoryBounds.defaultLimit,
                age: age.map { .milliseconds($0) } ?? HistoryBounds.defaultAge))
    }
}

/// The members of a body by their names, each of which stands there once at most.
private struct Members {
    private var values: [String: ArraySlice<UInt8>] = [:]

    init(_ json: [UInt8], _ object: JsonObject, names: [String]) throws(ParameterFault) {
        for member in object.members {
            let name = String(decoding: member.name, as: UTF8.self)
            guard names.contains(name) else {
                throw ParameterFault("a member is none of \(names.joined(separator: ", "))")
            }
            guard values.updateValue(json[member.value], forKey: name) == nil else {
                throw ParameterFault("\(name) stands twice")
            }
        }
    }

    subscript(name: String) -> ArraySlice<UInt8>? { values[name] }

    func text<Value>(
        _ name: String, _ form: String, _ read: ([UInt8]) -> Value?
    ) throws(ParameterFault) -> Value? {
        guard let json = values[name] else { return nil }
        guard let value = JsonObject.text(ofString: json).flatMap(read) else {
            throw ParameterFault("\(name) is not a string of the form: \(form)")
        }
        return value
    }

    func number(_ name: String, _ range: ClosedRange<Int>) throws(ParameterFault) -> Int? {
        guard let json = values[name] else { return nil }
        guard let value = Int(String(decoding: json, as: UTF8.self)), range.contains(value) else {
            throw ParameterFault(
                "\(name) is not a whole number from \(range.lowerBound) to \(range.upperBound)")
        }
        return value
    }

    func flag(_ name: String) throws(ParameterFault) -> Bool {
        guard let json = values[name] else { return false }
        switch String(decoding: json, as: UTF8.self) {
        case "true": return true
        case "false": return false
        default: throw ParameterFault("\(name) is neither true nor false")
        }
    }
}
