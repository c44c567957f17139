// The Redis side of the registry: scripts, because each of these must be one step for everybody who looks.

/// A Lua script that Redis keeps and calls by its digest.
enum RegistryScript: Int, CaseIterable {
    case issue, renew, attach, confirm

    var source: String {
        switch self {
        case .issue: RegistryScript.issueSource
        case .renew: RegistryScript.renewSource
        case .attach: RegistryScript.attachSource
        case .confirm: RegistryScript.confirmSource
        }
    }

    /// Writes a new record. ARGV: ttl, then fields and values.
    private static let issueSource = """
        redis.call('HSET', KEYS[1], 'ttl', unpack(ARGV))
        return redis.call('EXPIRE', KEYS[1], ARGV[1])
        """

    /// Renews a record by the TTL that stands in it, so that nodes with different settings agree: 1, or 0 if there
    /// is no such token. ARGV: ttl for a record without one.
    private static let renewSource = """
        return redis.call('EXPIRE', KEYS[1], redis.call('HGET', KEYS[1], 'ttl') or ARGV[1])
        """

    /// Writes a connection into a token's record, renews it, and tells the node of the connection before that it is
    /// replaced: exactly one connection of a token is the last. Returns nil if there is no such token; 0 if it is
    /// bound to rooms and another one is asked for; 1 if Redis' access rules refuse one of the rooms (Redis 7 tells; to
    /// find out by SUBSCRIBE costs the node a gap); or what the record says of the token in one text, which
    /// `ClientRecord` describes. With a number nothing is written and nobody is told.
    /// ARGV: node, ip, rooms, connectedAt, connection, ttl for a record without one, control channel prefix, token,
    /// room channel prefix.
    private static let attachSource = """
        if redis.call('EXISTS', KEYS[1]) == 0 then return false end
        local r = redis.call('HMGET', KEYS[1], 'ttl', 'isLogin', 'userId', 'deviceId', 'issuedAt', 'node',
            'connection', 'allowedRooms')
        if r[8] then
            for room in string.gmatch(ARGV[3], '[^,]+') do
                if not string.find(',' .. r[8] .. ',', ',' .. room .. ',', 1, true) then return 0 end
            end
        end
        if redis.acl_check_cmd then
            for room in string.gmatch(ARGV[3], '[^,]+') do
                if not redis.acl_check_cmd('SUBSCRIBE', ARGV[9] .. room) then return 1 end
            end
        end
        redis.call('HSET', KEYS[1], 'node', ARGV[1], 'ip', ARGV[2], 'rooms', ARGV[3], 'connectedAt', ARGV[4],
            'connection', ARGV[5], 'ttl', r[1] or ARGV[6])
        redis.call('EXPIRE', KEYS[1], r[1] or ARGV[6])
        if r[6] and r[7] then
            redis.call('PUBLISH', ARGV[7] .. r[6], 'replaced ' .. ARGV[8] .. ' ' .. r[7])
        end
        local allowed = r[8] or ''
        return (r[1] or ARGV[6]) .. ' ' .. (r[2] or '') .. ' ' .. (r[5] or '') .. ' ' .. #allowed .. ' ' .. allowed
            .. ((r[2] == 'true' and r[3] or r[4]) or '')
        """

    /// Confirms a live connection after its node was away from Redis: 1 it is renewed, 2 its record was missing and
    /// is written again, 3 a newer connection has the token, 0 the record is missing and may not be written.
    /// ARGV: connection, connectedAt, ttl, 1 if a missing record is to be written, then fields and values.
    private static let confirmSource = """
        local r = redis.call('HMGET', KEYS[1], 'connection', 'connectedAt', 'ttl')
        if redis.call('EXISTS', KEYS[1]) == 0 then
            if ARGV[4] ~= '1' then return 0 end
            redis.call('HSET', KEYS[1], unpack(ARGV, 5))
            redis.call('EXPIRE', KEYS[1], ARGV[3])
            return 2
        end
        if r[1] and r[1] ~= ARGV[1] and (tonumber(r[2]) or 0) >= tonumber(ARGV[2]) then return 3 end
        redis.call('HSET', KEYS[1], unpack(ARGV, 5))
        redis.call('EXPIRE', KEYS[1], r[3] or ARGV[3])
        return 1
        """
}
