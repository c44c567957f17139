// An opted-in client that follows its rooms' histories as any client has to.
import Foundation
import Testing

/// Keeps a position for each room: a `resume` frame sets it, a durable notice moves it.
final class Follower {
    struct Told: Equatable {
        let room: String
        let isLost: Bool
    }

    /// What has come, in order.
    enum Step: Equatable {
        case resume([Told])
        case notice(room: String, text: String)
        case plain(String)
    }

    let rooms: [String]
    private(set) var positions: [String: String] = [:]
    private(set) var steps: [Step] = []
    private(set) var client: Client
    /// Whether its connections ask for compressed messages.
    private let compression: Bool

    /// Opens a connection; the first frame has to be a `resume` with all rooms in their order.
    init(
        _ node: GatewayNode, _ rooms: [String], positions: [String: String] = [:], compression: Bool = false
    ) async throws {
        self.rooms = rooms
        self.positions = positions
        self.compression = compression
        client = try await Follower.open(node, rooms, positions, compression)
        try await readFirst()
    }

    /// Comes back, perhaps to another node, with the positions that it has.
    func comeBack(to node: GatewayNode) async throws {
        client = try await Follower.open(node, rooms, positions, compression)
        try await readFirst()
    }

    private static func open(
        _ node: GatewayNode, _ rooms: [String], _ positions: [String: String], _ compression: Bool
    ) async throws -> Client {
        let since = rooms.map { positions[$0] ?? "" }.joined(separator: ",")
        let names = rooms.map(\.percentEncoded).joined(separator: ",")
        let query = "token=\(try await node.token())&roomIds=\(names)&since=\(since)"
        guard case .open(let client) = try await node.handshake(query, compression: compression) else {
            throw HarnessError("\(node.id) refused the handshake")
        }
        return client
    }

    private func readFirst() async throws {
        try await read()
        guard case .resume(let told)? = steps.last, told.map(\.room) == rooms else {
            throw HarnessError("resume does not come first: \(String(describing: steps.last))")
        }
    }

    func close() async throws { _ = try await client.close() }

    /// Reads one message; false if the connection is closed.
    @discardableResult
    func read() async throws -> Bool {
        guard case .text(let text) = try await client.next() else { return false }
        guard let json = JSON(parsing: text) else { throw HarnessError("not JSON: \(text)") }
        if json["type"] == "resume", let entries = json["data"]["rooms"].array {
            for entry in entries { positions[entry["room"].string ?? ""] = entry["since"].string }
            steps.append(
                .resume(
                    entries.map { Told(room: $0["room"].string ?? "", isLost: $0["lost"].bool ?? true) }))
        } else if let id = json["id"].string, let room = json["room"].string {
            let epoch = (positions[room] ?? "").prefix { $0 != "." }
            positions[room] = "\(epoch).\(id)"
            steps.append(.notice(room: room, text: json["data"].string ?? ""))
        } else {
            steps.append(.plain(text))
        }
        return true
    }

    /// Reads until the last notice of a room is this one.
    func read(upTo text: String, in room: String) async throws {
        while !steps.contains(.notice(room: room, text: text)) {
            guard try await read() else { throw HarnessError("closed before \(text): \(steps.suffix(3))") }
        }
    }

    /// The durable notices of a room, in the order in which they came.
    func notices(of room: String) -> [String] {
        steps.compactMap { if case .notice(room, let text) = $0 { text } else { nil } }
    }

    /// How often the client was told that notices may be missing in a room.
    func lossCount(of room: String) -> Int {
        steps.count {
            if case .resume(let told) = $0 { told.contains(Told(room: room, isLost: true)) } else { false }
        }
    }
}

extension RedisServer {
    /// Publishes durably; returns the id.
    @discardableResult
    func publishDurably(room: String, _ text: String, limit: Int = 1000) async throws -> String {
        let notice = #"{"type":"notice","data":"\#(text)"}"#
        let reply = try await command(
            "FCALL", "roomcast_publish", "1", .string("room:\(room)"), .string(notice), .string("\(limit)"))
        guard let id = reply[0].string else { throw HarnessError("not published: \(reply)") }
        return id
    }
}
