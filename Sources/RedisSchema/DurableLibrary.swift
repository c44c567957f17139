// The function library for Redis that publishes durable notices, and how it gets there. Pure values, and
// commands for whatever connection there is.
//
//     FCALL_RO roomcast1_version 0 → ours or higher: there
//                                  → lower: FUNCTION LOAD REPLACE → there
//                                  → no such function: FUNCTION LOAD → there, also when it "already exists"

import Redis

/// The library `roomcast1`: stores a notice in its room's stream and publishes it, in one step.
///
/// An incompatible interface gets another library and other names of functions, so that nodes and publishers
/// of two releases can share a Redis.
package enum DurableLibrary {
    /// Raised with every change of `source`: nodes replace a library of a lower version, never one of a
    /// higher.
    package static let version: Int64 = 1

    /// What `FUNCTION LOAD` takes.
    package static let source = """
        #!lua name=roomcast1
        \(comment)
        redis.register_function('roomcast_publish', function(KEYS, ARGV)
        \(body)
        end)
        redis.register_function{
          function_name = 'roomcast1_version', callback = function() return \(version) end, flags = {'no-writes'}
        }

        """

    /// One script for `EVAL` of the same effect.
    package static let script = """
        #!lua
        \(comment)
        \(body)

        """

    private static let comment = """
        -- Publishes a notice durably: keeps it in the stream room:<id> and publishes it to the channel of the same name,
        -- in one step. Needs Redis 7. An installation's prefix stands in front of every room: and once:.
        -- KEYS[1]  room:<id>
        -- KEYS[2]  once:{room:<id>}:<key>, or absent: a publish whose key is known stores and publishes nothing
        -- ARGV[1]  the notice, a JSON object of at most 65536 bytes, from {" to }
        -- ARGV[2]  how many notices the room keeps, about; default 1000
        -- ARGV[3]  for how many ms after the last notice the room keeps them, at least 600000; default 3600000
        -- ARGV[4]  for how many ms the once key is known, 10000 to 3600000; default 300000
        -- Returns {id, nodes}: the notice's id, and how many subscribers heard it. nodes is -1 when the once key is
        -- known; id is that of the first time.
        """

    private static let body = #"""
          local key, notice = KEYS[1], ARGV[1]
          local room = key and string.match(key, 'room:(.+)$')
          local limit, age, once = tonumber(ARGV[2] or 1000), tonumber(ARGV[3] or 3600000), tonumber(ARGV[4] or 300000)
          if not room or #KEYS > 2 then return redis.error_reply('ERR roomcast: the keys are room:<id> and at most one more') end
          if not notice or string.sub(notice, 1, 2) ~= '{"' or string.sub(notice, -1) ~= '}' then
            return redis.error_reply('ERR roomcast: a durable notice is a JSON object, from {" to }')
          end
          if #notice > 65536 then return redis.error_reply('ERR roomcast: a durable notice has at most 65536 bytes') end
          -- Written so that nan is refused, too: it compares false with everything.
          if not (limit and limit >= 1 and limit <= 1e9 and age and age >= 600000 and age <= 1e13) then
            return redis.error_reply('ERR roomcast: 1 to 1000000000 notices are kept, for 600000 to 10000000000000 ms')
          end
          if not (once and once >= 10000 and once <= 3600000) then
            return redis.error_reply('ERR roomcast: a once key lives for 10000 to 3600000 ms')
          end
          -- A user who may write the key and not publish to the channel would leave a notice that no one hears of.
          if not redis.acl_check_cmd('PUBLISH', key, '') then
            return redis.error_reply('NOPERM roomcast: this user may not publish to ' .. key)
          end
          if KEYS[2] then
            local known = redis.call('GET', KEYS[2])
            if known then return {known, -1} end
          end
          -- <ms>-<n>: n counts the room's notices without a hole. ms never goes back, and gives an n that is used again,
          -- after Redis has lost the end of its data, another id.
          local time = redis.call('TIME')
          local ms, n = time[1] * 1000 + math.floor(time[2] / 1000), 1
          local last = redis.call('XREVRANGE', key, '+', '-', 'COUNT', 1)[1]
          if last then
            local lastMs, lastN = string.match(last[1], '^(%d+)-(%d+)$')
            ms, n = math.max(ms, tonumber(lastMs)), lastN + 1
          end
          local id = string.format('%.0f-%.0f', ms, n)
          local frame = '{"id":"' .. id .. '","room":"' .. string.gsub(room, '["\\]', '\\%0') .. '",' .. string.sub(notice, 2)
          redis.call('XADD', key, 'MAXLEN', '~', math.floor(limit), id, 'd', frame)
          if redis.call('PTTL', key) < age then redis.call('PEXPIRE', key, math.floor(age * 1.25)) end
          if KEYS[2] then redis.call('SET', KEYS[2], id, 'PX', math.floor(once)) end
          return {id, redis.call('PUBLISH', key, frame)}
        """#

    // MARK: Loading

    /// What to do about the library, from the reply to `versionCommand`.
    package enum Step: Equatable, Sendable {
        /// The server has it, in our version or a higher one.
        case present
        /// The server has none, or with `replacing` a lower version: send `loadCommand(replacing:)`.
        case load(replacing: Bool)

        /// - Parameter reply: to `versionCommand`.
        /// - Throws: `RedisFailure` for any other failure than a missing function.
        package init(_ reply: Result<RedisReply, RedisFailure>) throws(RedisFailure) {
            switch reply {
            case .success(let reply):
                self = reply.integer ?? 0 >= version ? .present : .load(replacing: true)
            case .failure(.refused(let message)) where isMissing(message): self = .load(replacing: false)
            case .failure(let failure): throw failure
            }
        }
    }

    /// Whether a refusal says that the library is not loaded.
    package static func isMissing(_ message: String) -> Bool { message.contains("Function not found") }

    /// Whether a refusal of `versionCommand`, or of the function, says that the server has no functions: Redis 6, or
    /// a service that hides them.
    package static func hasNoFunctions(_ message: String) -> Bool { message.contains("unknown command") }

    /// A refusal of `script`, in words that say what to do: before Redis 7 `#!lua` was no Lua.
    static func explained(_ message: String) -> String {
        guard message.contains("Error compiling script") else { return message }
        return "durable notices need Redis 7 or Valkey; this server says: \(message)"
    }

    /// Asks for the version of the library that is loaded.
    package static var versionCommand: RedisCommand {
        RedisCommand(["FCALL_RO", "roomcast1_version", "0"].map { [UInt8]($0) })
    }

    package static func loadCommand(replacing: Bool) -> RedisCommand {
        RedisCommand((["FUNCTION", "LOAD"] + (replacing ? ["REPLACE"] : []) + [source]).map { [UInt8]($0) })
    }

    /// Makes sure that the server has the library: a few commands, the text only if it has to be loaded.
    ///
    /// - Parameters:
    ///   - send: sends a command and calls back once.
    ///   - onDone: called once, perhaps before this returns; with the failure if the library may not be there.
    package static func load(
        send: @escaping ClusterReader.Send, onDone: @escaping (RedisFailure?) -> Void
    ) {
        send(versionCommand) { reply in
            do throws(RedisFailure) {
                guard case .load(let replacing) = try Step(reply) else { return onDone(nil) }
                send(loadCommand(replacing: replacing)) { onDone(failure(ofLoad: $0)) }
            } catch { onDone(error) }
        }
    }

    /// Two that find it missing at the same time both load it.
    private static func failure(ofLoad reply: Result<RedisReply, RedisFailure>) -> RedisFailure? {
        switch reply {
        case .success: nil
        case .failure(.refused(let message)) where message.contains("already exists"): nil
        case .failure(let failure): failure
        }
    }
}
