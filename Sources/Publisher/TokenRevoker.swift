// Revocation in Redis: records are deleted, and the nodes of their connections are told. Main thread.
//
//     SCAN → HGET userId, all of a page in one write → MULTI HGET node, DEL, EXEC of those that match → PUBLISH

import RedisSchema
import Redis

/// Why a revocation could not go on.
enum RevocationError: Error, Equatable, CustomStringConvertible {
    case redis(RedisPipelineError)
    /// Redis answered a command with an error.
    case refused(command: String, answer: String)

    var description: String {
        switch self {
        case .redis(let error): error.description
        case .refused(let command, let answer): "Redis refused \(command): \(answer)"
        }
    }
}

/// Deletes records of tokens and has their connections closed.
struct TokenRevoker {
    /// A token whose record was deleted.
    struct Revoked: Equatable {
        let token: Token
        fileprivate(set) var connection: Connection
    }

    /// What became of the connection of a revoked token.
    enum Connection: Equatable {
        /// The token has never connected, or its node runs no more.
        case none
        /// This node was told to close it.
        case closed(node: String)
        /// Nobody knows whether this node was told; otherwise it finds out when it checks the next heartbeat.
        case left(node: String)
    }

    /// One step of SCAN. It and the lookups of its records keep Redis from others for about a millisecond; with 1000
    /// it is four, and the walk is no faster.
    static let pageCount = 250

    private let redis: RedisPipeline
    private let keys: Keys
    private let channels: Channels
    /// Records that were looked at.
    private(set) var recordCount = 0
    /// All that were revoked so far, also when a call has thrown.
    private(set) var revoked: [Revoked] = []

    init(redis: RedisPipeline, prefix: String) {
        self.redis = redis
        keys = Keys(prefix: prefix)
        channels = Channels(prefix: prefix)
    }

    /// Revokes these tokens; those without a record are passed over.
    ///
    /// The node is read in the step that deletes the record: a connection that begins later finds no record, and one
    /// that began before is the one that the node is told of.
    mutating func revoke(_ tokens: [Token]) throws(RevocationError) {
        for token in tokens {
            try send("MULTI")
            try send("HGET", keys.client(token), [UInt8](ClientField.node.rawValue))
            try send("DEL", keys.client(token))
            try send("EXEC")
        }
        var told: [(index: Int, node: String)] = []
        for token in tokens {
            for command in ["MULTI", "HGET", "DEL"] { _ = try reply(to: command) }
            guard case .array(let results) = try reply(to: "EXEC"), results.count == 2, results[1] == .integer(1)
            else { continue }
            revoked.append(Revoked(token: token, connection: .none))
            guard case .bytes(let bytes) = results[0] else { continue }
            let node = String(decoding: bytes, as: UTF8.self)
            // The record is gone, whatever becomes of the message.
            revoked[revoked.count - 1].connection = .left(node: node)
            told.append((revoked.count - 1, node))
            try send("PUBLISH", channels.gateway(node), RevocationMessage.bytes(token))
        }
        for (index, node) in told {
            guard case .integer(let receiverCount) = try reply(to: "PUBLISH") else { continue }
            revoked[index].connection = receiverCount > 0 ? .closed(node: node) : .none
        }
    }

    /// Revokes one token.
    mutating func revoke(_ token: Token) throws(RevocationError) {
        recordCount = 1
        try revoke([token])
    }

    /// Looks through all records and revokes those with this identity.
    ///
    /// - Parameters:
    ///   - field: `userId` or `deviceId`.
    ///   - onPage: called after each page; returns whether to go on.
    /// - Returns: whether it came to the end.
    /// - Complexity: O(keys in Redis); two pages are in memory at a time.
    mutating func revokeAll(
        _ field: ClientField, _ identity: Identity, onPage: (TokenRevoker) -> Bool
    ) throws(RevocationError) -> Bool {
        try sendScan(from: [UInt8]("0"))
        var page: Page? = try readPage()
        while let present = page {
            for token in present.tokens { try send("HGET", keys.client(token), [UInt8](field.rawValue)) }
            // The next page is on its way while this one is worked on.
            if let cursor = present.nextCursor { try sendScan(from: cursor) }
            var matching: [Token] = []
            for token in present.tokens {
                let found = try reply(to: "HGET")
                if found == .bytes(identity.bytes) { matching.append(token) }
            }
            page = present.nextCursor == nil ? nil : try readPage()
            recordCount += present.tokens.count
            try revoke(matching)
            guard onPage(self) || page == nil else { return false }
        }
        return true
    }

    /// What one SCAN has brought.
    private struct Page {
        let tokens: [Token]
        /// nil at the end.
        let nextCursor: [UInt8]?
    }

    private func sendScan(from cursor: [UInt8]) throws(RevocationError) {
        try send(
            "SCAN", cursor, [UInt8]("MATCH"), keys.clientPattern, [UInt8]("COUNT"), [UInt8](Int64(Self.pageCount)),
            [UInt8]("TYPE"), [UInt8]("hash"))
    }

    private func readPage() throws(RevocationError) -> Page {
        guard case .array(let parts) = try reply(to: "SCAN"), parts.count == 2, case .bytes(let cursor) = parts[0],
            case .array(let found) = parts[1]
        else { throw .refused(command: "SCAN", answer: "an answer that is none") }
        let tokens = found.compactMap { key -> Token? in
            if case .bytes(let name) = key { keys.token(ofClient: name) } else { nil }
        }
        return Page(tokens: tokens, nextCursor: cursor == [UInt8]("0") ? nil : cursor)
    }

    private func send(_ command: String, _ arguments: [UInt8]...) throws(RevocationError) {
        do { try redis.append([[UInt8](command)] + arguments) } catch { throw .redis(error) }
    }

    private func reply(to command: String) throws(RevocationError) -> RedisPipeline.Reply {
        let reply: RedisPipeline.Reply
        do { reply = try redis.nextReply() } catch { throw .redis(error) }
        if case .refused(let answer) = reply { throw .refused(command: command, answer: answer) }
        return reply
    }
}
