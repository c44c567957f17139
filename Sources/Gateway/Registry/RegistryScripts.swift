// The Redis side of the registry: scripts, because each of these must be one step for all other clients.

/// A Lua script that Redis keeps and calls by its digest.
///
/// What is read of a record is checked in the script: a key of another program under the same name is no
/// record, a `ttl` that is no life is left out, and an order is a whole number below 2⁵³, up to which Lua's
/// numbers are exact. A script that stops after its first write is not rolled back, so whatever can be
/// refused by itself comes first.
enum RegistryScript: Int, CaseIterable {
    case issue, renew, attach, confirm, probe, report, leave

    var source: String {
        switch self {
        case .issue: RegistryScript.issueSource
        case .renew: RegistryScript.renewSource
        case .attach: RegistryScript.lifeSource + RegistryScript.attachSource
        case .confirm: RegistryScript.lifeSource + RegistryScript.confirmSource
        case .probe: RegistryScript.probeSource
        case .report: RegistryScript.reportSource
        case .leave: RegistryScript.leaveSource
        }
    }

    /// The life that a record's `ttl` stands for. Heartbeats, of which there are the most, have it in place.
    private static let lifeSource = """
        local function life(ttl, default)
            local isLife = ttl and #ttl <= 7 and string.find(ttl, '^[1-9]%d*$')
            return isLife and tonumber(ttl) <= \(Limits.recordLifeSeconds) and ttl or default
        end

        """

    /// Writes a new record. ARGV: its first life, its ttl, then fields and values.
    private static let issueSource = """
        redis.call('HSET', KEYS[1], 'ttl', unpack(ARGV, 2))
        return redis.call('EXPIRE', KEYS[1], ARGV[1])
        """

    /// Renews a record by the TTL that stands in it, so that nodes with different settings agree: 1, or 0 if
    /// there is no such token. A missing one is renewed in vain, so that a Redis that refuses writes says so
    /// rather than that the token is unknown. Nearly all records have this node's ttl, and need no look at it.
    /// ARGV: ttl for a record without one.
    private static let renewSource = """
        local r = redis.pcall('HMGET', KEYS[1], 'isLogin', 'ttl')
        if r[1] then
            local ttl = r[2]
            if ttl ~= ARGV[1] then
                local isLife = ttl and #ttl <= 7 and string.find(ttl, '^[1-9]%d*$')
                if not isLife or tonumber(ttl) > \(Limits.recordLifeSeconds) then ttl = ARGV[1] end
            end
            return redis.call('EXPIRE', KEYS[1], ttl)
        end
        if r.err then
            if string.find(r.err, 'WRONGTYPE', 1, true) then return 0 end
            return r
        end
        if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
        return redis.call('EXPIRE', KEYS[1], ARGV[1])
        """

    /// Gives a connection its place in the order of the token's connections and renews the record. The order
    /// is Redis' time in microseconds, or one more than the last if that is more: no node's clock is in it.
    ///
    /// A record that names no connection gets this one at once. Otherwise the connection before stays as
    /// it is, without notice, until the new one is complete: then `confirm` writes it.
    ///
    /// Returns nil if there is no such token; 0 if it is bound to rooms and another one is asked for; 1 if
    /// Redis' access rules refuse one of the rooms (Redis 7 says so; to find out by SUBSCRIBE costs a node a
    /// gap); or what the record says of the token in one text, which `Registration` describes. With a number
    /// nothing is written. ARGV: node, ip, rooms, connectedAt, connection, ttl for a record without one,
    /// room channel prefix.
    private static let attachSource = """
        local r = redis.pcall('HMGET', KEYS[1], 'isLogin', 'ttl', 'userId', 'deviceId', 'issuedAt', 'node',
            'connection', 'allowedRooms', 'order', 'allotted')
        if r.err then
            if string.find(r.err, 'WRONGTYPE', 1, true) then return false end
            return r
        end
        if not r[1] then return false end
        if r[8] then
            for room in string.gmatch(ARGV[3], '[^,]+') do
                if not string.find(',' .. r[8] .. ',', ',' .. room .. ',', 1, true) then return 0 end
            end
        end
        if redis.acl_check_cmd then
            for room in string.gmatch(ARGV[3], '[^,]+') do
                if not redis.acl_check_cmd('SUBSCRIBE', ARGV[7] .. room) then return 1 end
            end
        end
        local order = 0
        for i = 9, 10 do
            local n = tonumber(r[i] or 0)
            if n and n > order and n < 9007199254740991 then order = math.floor(n) end
        end
        order = order + 1
        local now = redis.pcall('TIME')
        if not now.err then order = math.max(order, now[1] * 1000000 + now[2]) end
        order = string.format('%.0f', order)
        local seconds = life(r[2], ARGV[6])
        local isPending = r[6] and r[7]
        if isPending then
            redis.call('HSET', KEYS[1], 'allotted', order)
        else
            redis.call('HSET', KEYS[1], 'node', ARGV[1], 'ip', ARGV[2], 'rooms', ARGV[3], 'connectedAt', ARGV[4],
                'connection', ARGV[5], 'ttl', seconds, 'order', order)
        end
        redis.call('EXPIRE', KEYS[1], seconds)
        local allowed = r[8] or ''
        return seconds .. ' ' .. r[1] .. ' ' .. (r[5] or '') .. ' ' .. order .. ' ' .. (isPending and 1 or 0) .. ' '
            .. #allowed .. ' ' .. allowed .. ((r[1] == 'true' and r[3] or r[4]) or '')
        """

    /// Makes a live connection's record true: after its handshake if the record named another one, and after
    /// its node was away from Redis. 1 it is renewed, 2 its record was missing and is written again, 3 a
    /// later connection has the token, 0 the record is missing and may not be written. The node of an
    /// earlier connection hears that this is replaced: exactly one connection of a token is the last.
    /// ARGV: connection, order, ttl, 1 if a missing record is to be written, control channel prefix, token,
    /// then fields and values.
    private static let confirmSource = """
        local r = redis.pcall('HMGET', KEYS[1], 'isLogin', 'connection', 'order', 'ttl', 'node')
        if r.err then
            if string.find(r.err, 'WRONGTYPE', 1, true) then return 0 end
            return r
        end
        if not r[1] then
            if ARGV[4] ~= '1' or redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
            redis.call('HSET', KEYS[1], unpack(ARGV, 7))
            redis.call('EXPIRE', KEYS[1], ARGV[3])
            return 2
        end
        local isOther = r[2] and r[2] ~= ARGV[1]
        if isOther then
            local order = tonumber(r[3] or 0)
            if order and order < 9007199254740991 and order >= tonumber(ARGV[2]) then return 3 end
        end
        redis.call('HSET', KEYS[1], unpack(ARGV, 7))
        redis.call('EXPIRE', KEYS[1], life(r[4], ARGV[3]))
        if isOther and r[5] then
            redis.call('PUBLISH', ARGV[5] .. r[5], 'replaced ' .. ARGV[6] .. ' ' .. r[2])
        end
        return 1
        """

    /// What a heartbeat and its check need of Redis, on the key of a token that was never issued: fails when
    /// they would. ARGV: a life.
    private static let probeSource = """
        redis.call('PTTL', KEYS[1])
        redis.call('HMGET', KEYS[1], 'isLogin', 'ttl')
        return redis.call('EXPIRE', KEYS[1], ARGV[1])
        """

    /// Writes a part of a node's report, and lets it live on only if that was taken: 1; 2 if what was there
    /// is of another start of a node with this id; 0, and nothing written, if the key belongs to something
    /// else. ARGV: life, run of the node (empty: of a worker that leaves it as it is), then fields and values.
    private static let reportSource = """
        local r = redis.call('HMGET', KEYS[1], 'run', 'uptime', 'rooms:0', 'rooms:1')
        if not (r[1] or r[2] or r[3] or r[4]) and redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
        redis.call('HSET', KEYS[1], unpack(ARGV, 3))
        redis.call('EXPIRE', KEYS[1], ARGV[1])
        if ARGV[2] == '' then return 1 end
        redis.call('HSET', KEYS[1], 'run', ARGV[2])
        if r[1] and r[1] ~= ARGV[2] then return 2 end
        return 1
        """

    /// Deletes a node's report: 1, or 0 if what is there is not of this start of the node. ARGV: run of the
    /// node.
    private static let leaveSource = """
        if redis.call('HMGET', KEYS[1], 'run')[1] ~= ARGV[1] then return 0 end
        return redis.call('DEL', KEYS[1])
        """
}
