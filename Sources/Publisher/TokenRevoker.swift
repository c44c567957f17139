// Revocation in Redis: records are deleted, and the nodes of their connections are told. Main thread.
//
//     SCAN → HGET userId, all of a page in one write → a script for each that matches
//
// In a cluster the walk leads through each master, and begins again when records may have gone round it meanwhile.

import Redis
import RedisSchema

/// Deletes records of tokens and has their connections closed.
struct TokenRevoker {
    /// A token whose record was deleted.
    struct Revoked: Equatable {
        let token: Token
        let connection: ConnectionEnd
    }

    /// What became of the connection of a revoked token.
    enum ConnectionEnd: Equatable {
        /// The token has never connected, or its node runs no more.
        case none
        /// This node was told to close it.
        case closed(node: String)
        /// This node could not be told: it finds out when it checks the next heartbeat.
        case left(node: String)

        /// - Parameter runs: whether its node runs; nil as far as those say who received the message.
        init(_ revocation: Revocation, runs: Bool?) {
            guard let node = revocation.node else {
                self = .none
                return
            }
            self =
                revocation.refusal != nil
                ? .left(node: node)
                : runs ?? (revocation.receiverCount > 0) ? .closed(node: node) : .none
        }
    }

    /// One step of SCAN. It and the lookups of its records keep Redis from others for about a millisecond;
    /// with 1000 it is four, and the walk is no faster.
    static let pageCount = 250

    /// Walks through a cluster at most, and the pause between two: slots that move take a moment each.
    private static let maximumWalkCount = 20
    private static let pause = Duration.milliseconds(250)

    /// How a walk through all records has ended.
    enum Ending {
        case complete, interrupted
        /// Slots of the cluster kept moving from master to master, and records with them.
        case restless
    }

    private let redis: RedisSession
    private let keys: Keys
    private let channels: Channels
    /// Records that were looked at.
    private(set) var recordCount = 0
    /// All that were revoked so far, also when a call has thrown.
    private(set) var revoked: [Revoked] = []

    init(redis: RedisSession, prefix: String) {
        self.redis = redis
        keys = Keys(prefix: prefix)
        channels = Channels(prefix: prefix)
    }

    /// Revokes these tokens; those without a record are passed over.
    mutating func revoke(_ tokens: [Token]) throws(RedisSessionError) {
        var found: [(token: Token, revocation: Revocation)] = []
        var failure: RedisSessionError?
        do throws(RedisSessionError) {
            try redis.call(tokens.map { Revocation.command($0, keys: keys, channels: channels) }) {
                reply, index in
                if let revocation = Revocation(reply) { found.append((tokens[index], revocation)) }
            }
        } catch {
            failure = error
        }
        // These are gone, whatever became of the others.
        var running: Set<String>?
        if failure == nil, redis.isCluster {
            do throws(RedisSessionError) {
                running = try runningNodes(Set(found.compactMap(\.revocation.node)))
            } catch {
                failure = error
            }
        }
        revoked += found.map { token, revocation in
            let runs = running.map { running in revocation.node.map(running.contains) ?? false }
            return Revoked(
                token: token,
                connection: ConnectionEnd(revocation, runs: redis.isCluster ? runs ?? true : nil))
        }
        if let failure { throw failure }
        if let refusal = found.lazy.compactMap(\.revocation.refusal).first {
            throw .refused("PUBLISH: \(refusal)")
        }
    }

    /// Those of these nodes that have a report. In a cluster PUBLISH counts the nodes at one server only.
    ///
    /// - Returns: nil without the right to see reports.
    private func runningNodes(_ nodes: Set<String>) throws(RedisSessionError) -> Set<String>? {
        let nodes = Array(nodes)
        var running: Set<String> = []
        do throws(RedisSessionError) {
            try redis.call(nodes.map { RedisCommand([[UInt8]("EXISTS"), keys.node($0)]) }) { reply, index in
                if reply.integer == 1 { running.insert(nodes[index]) }
            }
        } catch {
            if case .refused = error { return nil }
            throw error
        }
        return running
    }

    /// Revokes one token.
    mutating func revoke(_ token: Token) throws(RedisSessionError) {
        recordCount = 1
        try revoke([token])
    }

    /// Looks through all records and revokes those with this identity.
    ///
    /// - Parameters:
    ///   - field: `userId` or `deviceId`.
    ///   - onPage: called after each page; returns whether to go on.
    /// - Complexity: O(keys in Redis); two pages are in memory at a time.
    mutating func revokeAll(
        _ field: ClientField, _ identity: Identity, onPage: (TokenRevoker) -> Bool
    ) throws(RedisSessionError) -> Ending {
        guard redis.isCluster else {
            return try walk(at: nil, field, identity, onPage: onPage) ? .complete : .interrupted
        }
        for count in 0..<Self.maximumWalkCount {
            if count > 0 { _ = Interruption.wait(forReadable: -1, timeout: Self.pause) }
            if Interruption.requested != nil { return .interrupted }
            let before = try redis.slotPlacement()
            recordCount = revoked.count
            for master in before.mastersInOrder {
                guard try walk(at: master, field, identity, onPage: onPage) else { return .interrupted }
            }
            if before.isOrderly, try redis.slotPlacement() == before { return .complete }
        }
        return .restless
    }

    /// Looks through the records of a master.
    ///
    /// - Returns: whether it came to the end.
    private mutating func walk(
        at master: RedisURL.Address?, _ field: ClientField, _ identity: Identity,
        onPage: (TokenRevoker) -> Bool
    ) throws(RedisSessionError) -> Bool {
        var page: Page?
        try redis.call([scan(from: [UInt8]("0"))], at: master) { [keys] reply, _ in page = Page(reply, keys)
        }
        while let present = page {
            let tokens = present.tokens
            var matching: [Token] = []
            var next: Page?
            var commands = tokens.map {
                RedisCommand([[UInt8]("HGET"), keys.client($0), [UInt8](field.rawValue)])
            }
            // The next page comes with what this one is looked through by.
            if let cursor = present.nextCursor { commands.append(scan(from: cursor)) }
            try redis.call(commands, at: master) { [keys] reply, index in
                if index == tokens.count {
                    next = Page(reply, keys)
                } else if let found = reply.bytes, found.elementsEqual(identity.bytes) {
                    matching.append(tokens[index])
                }
            }
            guard present.nextCursor == nil || next != nil else { break }
            page = next
            recordCount += tokens.count
            try revoke(matching)
            if page == nil { return true }
            guard onPage(self) else { return false }
        }
        throw .refused("SCAN: an answer of another form")
    }

    /// What one SCAN has brought.
    private struct Page {
        let tokens: [Token]
        /// nil at the end.
        let nextCursor: [UInt8]?

        init?(_ reply: RedisReply, _ keys: Keys) {
            guard reply.count == 2, let cursor = reply[0].bytes else { return nil }
            let found = reply[1]
            tokens = (0..<found.count).compactMap { index in
                found[index].bytes.flatMap { keys.token(ofClient: Array($0)) }
            }
            nextCursor = cursor.elementsEqual("0".utf8) ? nil : Array(cursor)
        }
    }

    private func scan(from cursor: [UInt8]) -> RedisCommand {
        RedisCommand([
            [UInt8]("SCAN"), cursor, [UInt8]("MATCH"), keys.clientPattern, [UInt8]("COUNT"),
            [UInt8](Int64(Self.pageCount)), [UInt8]("TYPE"), [UInt8]("hash"),
        ])
    }
}
