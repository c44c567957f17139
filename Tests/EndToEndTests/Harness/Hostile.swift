// What hostile peers do (Support/hostile.py), and what a node then owns.
import Foundation
import Testing

extension RawConnection {
    /// Ends the connection by a reset instead of a FIN.
    func reset() async throws { try await driver.call("tcp_reset", ["id": .number(Double(id))]) }

    /// Sends byte by byte, each in a segment of its own; false when the peer has already gone.
    func dribble(_ bytes: [UInt8]) async throws -> Bool {
        let arguments: [String: JSON] = [
            "id": .number(Double(id)), "bytes": .string(Data(bytes).base64EncodedString()),
        ]
        return try await driver.call("dribble", arguments).bool ?? false
    }
}

/// What became of a connection that trickled.
struct Trickled: Sendable {
    /// Of the answer; 0 without one.
    let status: Int
    let after: Duration
    let isClosed: Bool
}

/// A connection that has sent what its peer would take, and has read nothing.
struct Flood: Sendable {
    let driver: Driver
    let id: Int
    /// How much the peer and the kernel between have taken.
    let takenBytes: Int
    let allBytes: Int

    /// Sends the rest and reads the answers: their statuses in order.
    func end(count: Int, within patience: Duration = .patience) async throws -> [Int] {
        let arguments: [String: JSON] = [
            "id": .number(Double(id)), "count": .number(Double(count)), "timeout": .number(patience.seconds),
        ]
        return (try await driver.call("flood_end", arguments).array ?? []).compactMap(\.int)
    }
}

extension Driver {
    /// Opens `count` connections that send `head`, then any letters, a byte in `interval`, until they are
    /// answered.
    func trickle(
        _ port: Int, _ head: String, count: Int, interval: Duration, within patience: Duration = .patience
    ) async throws -> [Trickled] {
        let reply = try await call(
            "trickle",
            [
                "port": .number(Double(port)), "head": .string(Data(head.utf8).base64EncodedString()),
                "count": .number(Double(count)), "interval": .number(interval.seconds),
                "timeout": .number(patience.seconds),
            ])
        return (reply.array ?? []).map {
            Trickled(
                status: $0["status"].int ?? 0, after: .seconds($0["after"].double ?? 0),
                isClosed: $0["closed"].bool ?? false)
        }
    }

    /// Sends `pieces` `repeats` times, reading nothing, until all is sent or nothing moves for `stall`.
    func flood(_ port: Int, _ pieces: [String], repeats: Int, stall: Duration) async throws -> Flood {
        let reply = try await call(
            "flood_begin",
            [
                "port": .number(Double(port)), "repeats": .number(Double(repeats)),
                "pieces": .array(pieces.map { .string(Data($0.utf8).base64EncodedString()) }),
                "stall": .number(stall.seconds),
            ])
        guard let id = reply["id"].int, let taken = reply["taken"].int, let all = reply["all"].int else {
            throw HarnessError("no flood: \(reply)")
        }
        return Flood(driver: self, id: id, takenBytes: taken, allBytes: all)
    }
}

extension GatewayNode {
    /// The most memory that the process has had resident, in bytes.
    var peakMemoryBytes: Int {
        get throws {
            let status = try String(contentsOfFile: "/proc/\(child.pid)/status", encoding: .utf8)
            let line = status.split(separator: "\n").first { $0.hasPrefix("VmHWM:") }
            guard
                let kibibytes = line?.split(whereSeparator: \.isWhitespace).dropFirst().first.flatMap({
                    Int($0)
                })
            else { throw HarnessError("no VmHWM in \(status)") }
            return kibibytes * 1024
        }
    }

    /// Waits until everybody has gone and left nothing behind: no client, connection, room, queue or
    /// descriptor.
    func expectNobody(descriptors: Int, sourceLocation: SourceLocation = #_sourceLocation) async throws {
        let names = [
            "roomcast_connections", "roomcast_http_connections", "roomcast_rooms", "roomcast_queue_bytes",
        ]
        for name in names {
            try await eventually("\(name) is 0", sourceLocation: sourceLocation) {
                try await self.metrics()[name] == 0
            }
        }
        try await eventually("the descriptors are given back", sourceLocation: sourceLocation) {
            try self.child.descriptorCount <= descriptors
        }
    }

    /// A token, a socket, a heartbeat and a message, as ever.
    func expectService(_ cluster: Cluster, sourceLocation: SourceLocation = #_sourceLocation) async throws {
        let room = cluster.room("service")
        let token = try await token()
        let client = try await connect(room, token: token)
        #expect(try await heartbeat(token).status == 200, sourceLocation: sourceLocation)
        try await cluster.redis.publish(room: room, "1")
        #expect(try await client.next() == .text("1"), sourceLocation: sourceLocation)
        _ = try await client.close()
    }
}
