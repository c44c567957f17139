// What a node reports about itself in Redis: the hash `node:<id>`, which the node writes every two seconds
// and the console and the publisher read. Pure value, any thread.

/// One report of one node. Counters count from the node's start. Rates are made from two reports of the same
/// start by the difference of their `uptimeMilliseconds`, so that no two machines' clocks are compared.
package struct NodeReport: Equatable, Sendable {
    /// Upper bounds of `publishToFlush` in seconds, ascending: from a message that leaves in the turn in
    /// which it came, to one that waited for seconds behind an overloaded worker. What is above them all is
    /// the last number.
    package static let publishToFlushBounds: [Double] = [
        0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5,
    ]
    /// The time from one report to the next.
    package static let interval = Duration.seconds(2)
    /// The key's life: a node counts as gone after four reports in a row have failed.
    package static let lifeSeconds: Int64 = 10
    /// The most rooms that each worker reports, the largest ones.
    package static let topRoomCount = 50

    private static let maximumNameBytes = 64
    /// `topRoomCount` rooms of the longest ids and counts.
    private static let maximumFieldBytes = topRoomCount * (RoomId.maximumBytes + 22)
    /// The most workers that a reader takes from a report.
    package static let maximumWorkerCount = 1_024
    private static let maximumCloseReasonCount = 64
    private static let maximumBoundCount = 64

    package var id: String
    /// `host:port` for clients, as the node has bound it; where that is every address of its machine, the
    /// one by which it reaches Redis, or its host name.
    package var address = ""
    package var version = ""
    /// Unix time in milliseconds by the node's clock: to show, and to distinguish two starts of a node.
    package var startedAt: Int64 = 0
    /// Milliseconds since the start by a clock that never goes back.
    package var uptimeMilliseconds: Int64 = 0
    package var workers = 0
    package var isReady = false
    package var isDraining = false
    /// Of clients, of either transport.
    package var connections: UInt64 = 0
    /// How many of them are event streams.
    package var eventStreams: UInt64 = 0
    /// How many take compressed notices.
    package var compressed: UInt64 = 0
    package var connectionsLimit: UInt64 = 0
    /// Rooms with a client on the node.
    package var rooms: UInt64 = 0
    /// Messages that came from Redis.
    package var received: UInt64 = 0
    /// Messages handed to clients.
    package var delivered: UInt64 = 0
    package var writtenBytes: UInt64 = 0
    /// Bytes queued for clients that read slowly.
    package var queueBytes: UInt64 = 0
    package var tokensIssued: UInt64 = 0
    package var handshakes: UInt64 = 0
    /// Handshakes refused.
    package var rejected: UInt64 = 0
    /// Connections that have ended, by close code (`peer`: the client closed; `lost`: without a Close
    /// frame).
    package var closes: [Closes] = []
    /// How many messages took at most each of `publishToFlushBounds` from Redis to the last client's write,
    /// cumulative, and all of them at the end: one number more than there are bounds.
    package var publishToFlush: [UInt64] = []
    /// Connections to Redis that were lost.
    package var redisReconnects: UInt64 = 0
    /// Resident memory.
    package var memoryBytes: UInt64 = 0
    /// By worker: its largest rooms, largest first. A room may be in several workers.
    package var workerRooms: [Int: [RoomMembers]] = [:]

    /// The connections that ended for one reason.
    package struct Closes: Equatable, Sendable {
        package let reason: String
        package let count: UInt64

        package init(reason: String, count: UInt64) {
            self.reason = reason
            self.count = count
        }
    }

    package init(id: String) {
        self.id = id
    }

    /// The node's largest rooms with members summed over the workers, largest first. A room that is large on
    /// one worker but not among the largest of another is counted too low; `RoomListMessage` is exact.
    package var topRooms: [RoomMembers] {
        RoomMembers.merged(workerRooms.values.joined())
    }

    /// Whether a node can have this id: 1 to 64 characters of `A-Z a-z 0-9 . _ -`.
    package static func isNodeId(_ bytes: some Collection<UInt8>) -> Bool {
        (1...64).contains(bytes.count) && bytes.allSatisfy(isNodeIdByte)
    }

    /// Whether a node's id can have this character.
    package static func isNodeIdByte(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x2E, 0x5F: true
        default: false
        }
    }

    // MARK: The hash

    /// The field in which a worker reports its largest rooms.
    package static func roomsField(worker: Int) -> String { "rooms:\(worker)" }

    /// The fields and values that the node's first worker writes: all but the rooms.
    package var fields: [(name: String, value: String)] {
        [
            ("address", address), ("version", version), ("startedAt", "\(startedAt)"),
            ("uptime", "\(uptimeMilliseconds)"), ("workers", "\(workers)"), ("ready", isReady ? "1" : "0"),
            ("draining", isDraining ? "1" : "0"), ("connections", "\(connections)"),
            ("eventStreams", "\(eventStreams)"), ("compressed", "\(compressed)"),
            ("connectionsLimit", "\(connectionsLimit)"),
            ("rooms", "\(rooms)"), ("received", "\(received)"),
            ("delivered", "\(delivered)"), ("writtenBytes", "\(writtenBytes)"),
            ("queueBytes", "\(queueBytes)"),
            ("tokensIssued", "\(tokensIssued)"), ("handshakes", "\(handshakes)"),
            ("rejected", "\(rejected)"),
            ("closes", closes.map { "\($0.reason)=\($0.count)" }.joined(separator: ",")),
            ("publishToFlush", publishToFlush.map { "\($0)" }.joined(separator: ",")),
            ("redisReconnects", "\(redisReconnects)"), ("memory", "\(memoryBytes)"),
        ]
    }

    /// Reads a reply of HGETALL: names and values in turn. What is missing or has another form is zero or
    /// empty, so that nodes of several versions can be looked at together.
    ///
    /// - Returns: nil if the hash is not that of a running node: it is gone, or only a worker's rooms are
    ///   left of it.
    /// - Complexity: O(bytes).
    package init?(id: String, hash: [[UInt8]]) {
        self.init(id: id)
        var texts: [String: String] = [:]
        for index in stride(from: 0, to: hash.count - 1, by: 2) {
            // No field that a node writes has as many bytes: what has more is not worth its memory.
            guard hash[index].count <= Self.maximumNameBytes, hash[index + 1].count <= Self.maximumFieldBytes
            else {
                continue
            }
            let name = String(decoding: hash[index], as: UTF8.self)
            if name.hasPrefix("rooms:"), let worker = Int(name.dropFirst("rooms:".count)) {
                guard workerRooms.count < Self.maximumWorkerCount else { continue }
                workerRooms[worker] = Array(RoomMembers.decode(hash[index + 1]).prefix(Self.topRoomCount))
            } else {
                texts[name] = String(decoding: hash[index + 1], as: UTF8.self)
            }
        }
        guard let uptime = texts["uptime"].flatMap({ Int64($0) }), uptime >= 0 else { return nil }
        uptimeMilliseconds = uptime
        func number(_ name: String) -> UInt64 { texts[name].flatMap { UInt64($0) } ?? 0 }
        address = texts["address"] ?? ""
        version = texts["version"] ?? ""
        startedAt = texts["startedAt"].flatMap { Int64($0) } ?? 0
        workers = texts["workers"].flatMap { Int($0) } ?? 0
        isReady = texts["ready"] == "1"
        isDraining = texts["draining"] == "1"
        connections = number("connections")
        eventStreams = number("eventStreams")
        compressed = number("compressed")
        connectionsLimit = number("connectionsLimit")
        rooms = number("rooms")
        received = number("received")
        delivered = number("delivered")
        writtenBytes = number("writtenBytes")
        queueBytes = number("queueBytes")
        tokensIssued = number("tokensIssued")
        handshakes = number("handshakes")
        rejected = number("rejected")
        redisReconnects = number("redisReconnects")
        memoryBytes = number("memory")
        closes = (texts["closes"] ?? "").split(separator: ",").prefix(Self.maximumCloseReasonCount)
            .compactMap { Closes(text: $0) }
        publishToFlush = NodeReport.numbers(texts["publishToFlush"] ?? "")
    }

    /// All or nothing: with a number left out the others would stand at wrong bounds.
    private static func numbers(_ text: String) -> [UInt64] {
        let parts = text.split(separator: ",", omittingEmptySubsequences: false)
        let numbers = parts.compactMap { UInt64($0) }
        return numbers.count == parts.count && numbers.count <= maximumBoundCount ? numbers : []
    }
}

extension NodeReport.Closes {
    /// Reads `1001=3`.
    fileprivate init?(text: Substring) {
        guard let mark = text.firstIndex(of: "="), mark > text.startIndex,
            let count = UInt64(text[text.index(after: mark)...])
        else { return nil }
        self.init(reason: String(text[..<mark]), count: count)
    }
}
