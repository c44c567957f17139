// A blocking, pipelined connection for command-line tools: commands are queued, then their replies are read
// in order. hiredis' synchronous interface; confined to the thread that made it.

import CHiredis
import EventLoop
import Glibc

/// Why a pipeline ended. None of the texts holds a password.
package enum RedisPipelineError: Error, Equatable, CustomStringConvertible {
    /// No connection: the address, and what the system or the resolver said.
    case unreachable(String)
    /// No master behind the sentinels: what each of them said, or what the server itself says it is.
    case noMaster(String)
    /// The server answered the login with an error: the command and the server's text.
    case loginRefused(command: String, answer: String)
    /// The connection broke, or no answer came in time: what was in flight may have been carried out or not.
    case lost(String)

    package var description: String {
        switch self {
        case .unreachable(let reason): "cannot reach Redis at \(reason)"
        case .noMaster(let reason): "cannot find the master of Redis: \(reason)"
        case .loginRefused(let command, let answer): "Redis refused \(command): \(answer)"
        case .lost(let reason): "lost Redis: \(reason)"
        }
    }
}

/// One connection to Redis.
package final class RedisPipeline {
    /// A reply, copied out of hiredis' memory.
    package enum Reply: Equatable, Sendable {
        case integer(Int64)
        /// A bulk string or a status line.
        case bytes([UInt8])
        /// The text of an error reply: `NOPERM this user has no permissions …`.
        case refused(String)
        case array([Reply])
        case null
    }

    /// Owned from `init` to `deinit`; `init` frees it itself where it throws.
    private let context: UnsafeMutablePointer<redisContext>
    private let timeout: Duration
    private var scanner = RespScanner()
    /// As much as hiredis itself would read at once.
    private let received = UnsafeMutableRawBufferPointer.allocate(byteCount: 16 << 10, alignment: 16)

    /// Redis' own limit of a string (proto-max-bulk-len).
    private static let maximumReplyBytes = 512 << 20
    private static let maximumReplyElementCount = 1 << 20

    /// Commands whose replies have not been read.
    package private(set) var pendingCount = 0

    /// Connects, logs in and selects the database. A host name is resolved first, which the timeout does not
    /// bound. Behind sentinels they are asked for the master, and a server that is none is not taken.
    ///
    /// Sets SIGPIPE to be ignored in the whole process: hiredis writes without MSG_NOSIGNAL, and a server
    /// that goes away would kill the program instead of failing the call.
    ///
    /// - Parameter timeout: the longest wait for the connection, and later for each reply; above zero.
    /// - Throws: `RedisPipelineError`.
    package convenience init(to url: RedisURL, timeout: Duration) throws(RedisPipelineError) {
        switch url.route {
        case .server(let address):
            try self.init(connectingTo: address, shown: "\(url)", timeout: timeout)
            try logIn(url)
        case .master(let sentinels):
            let master = try MasterSearch.master(of: sentinels, timeout: timeout)
            try self.init(connectingTo: master, shown: "\(master), the master of \(url)", timeout: timeout)
            try logIn(url)
            try checkRole(master)
        }
    }

    /// Connects, without logging in.
    ///
    /// - Parameter shown: the address in an error's text.
    init(
        connectingTo address: RedisURL.Address, shown: String, timeout: Duration
    ) throws(RedisPipelineError) {
        precondition(timeout > .zero, "A timeout of zero would wait for ever")
        signal(SIGPIPE, SIG_IGN)
        let opened =
            switch address {
            case .tcp(let host, let port): redisConnectWithTimeout(host, Int32(port), Self.timeval(timeout))
            case .unix(let path): redisConnectUnixWithTimeout(path, Self.timeval(timeout))
            }
        guard let opened else { throw .unreachable("\(shown): out of memory") }
        context = opened
        self.timeout = timeout
        scanner.maximumBytes = Self.maximumReplyBytes
        scanner.maximumElementCount = Self.maximumReplyElementCount
        guard opened.pointee.err == 0, redisSetTimeout(opened, Self.timeval(timeout)) == REDIS_OK else {
            // From here on deinit frees the context: every stored property is set.
            throw .unreachable("\(shown): \(errorText)")
        }
    }

    deinit {
        received.deallocate()
        redisFree(context)
    }

    /// Queues a command; it is sent with the next `nextReply`.
    ///
    /// - Throws: `lost` when memory runs out.
    /// - Complexity: O(bytes); they are copied.
    package func append(_ arguments: [[UInt8]]) throws(RedisPipelineError) {
        var command: [UInt8] = Array("*\(arguments.count)\r\n".utf8)
        command.reserveCapacity(arguments.reduce(32) { $0 + $1.count + 16 })
        for argument in arguments {
            command += "$\(argument.count)\r\n".utf8
            command += argument
            command += [0x0D, 0x0A]
        }
        let result = command.withUnsafeBytes { bytes in
            redisAppendFormattedCommand(context, bytes.bindMemory(to: CChar.self).baseAddress, bytes.count)
        }
        guard result == REDIS_OK else { throw .lost(errorText) }
        pendingCount += 1
    }

    /// Sends what is queued and waits for the reply to the oldest command without one.
    ///
    /// - Throws: `lost` when the connection breaks or the timeout passes; the pipeline is of no use after
    ///   that.
    package func nextReply() throws(RedisPipelineError) -> Reply {
        precondition(pendingCount > 0, "No command waits for a reply")
        while true {
            if let reply = try receivedReply() { return reply }
            try send()
            try receive()
        }
    }

    // MARK: Beside other descriptors

    /// The connection, to wait on together with others until it can be read. Not to be closed or read by the caller.
    package var descriptor: Int32 { context.pointee.fd }

    /// Sends what is queued, without waiting for replies.
    ///
    /// - Throws: `lost` when the connection breaks, or takes nothing for as long as the timeout.
    package func send() throws(RedisPipelineError) {
        var isDone: Int32 = 0
        while isDone == 0 {
            errno = 0
            guard redisBufferWrite(context, &isDone) == REDIS_OK else { throw .lost(lossText(errno)) }
        }
    }

    /// Takes what has come. To be called when `descriptor` can be read; waits otherwise.
    ///
    /// - Throws: `lost` when the connection breaks.
    package func receive() throws(RedisPipelineError) {
        // hiredis makes room for all that is announced, so it sees only what was looked at.
        switch Socket(descriptor: descriptor).read(into: received) {
        case .bytes(let count): try take(UnsafeRawBufferPointer(rebasing: received[..<count]))
        case .wouldBlock: throw .lost("no answer in time")
        case .endOfStream: throw .lost("Server closed the connection")
        case .failed(let code): throw .lost(SystemError.message(of: code))
        }
    }

    private func take(_ bytes: UnsafeRawBufferPointer) throws(RedisPipelineError) {
        var index = 0
        do throws(RespViolation) {
            while index < bytes.count { _ = try scanner.scan(bytes, from: &index) }
        } catch {
            throw .lost(error.reason)
        }
        let text = bytes.baseAddress?.assumingMemoryBound(to: CChar.self)
        guard redisReaderFeed(context.pointee.reader, text, bytes.count) == REDIS_OK else { throw .lost(errorText) }
    }

    /// The oldest of the replies, and of the messages of subscribed channels, that `receive` has taken whole.
    ///
    /// - Returns: nil when more has to come.
    /// - Throws: `lost` for bytes that are no reply.
    package func receivedReply() throws(RedisPipelineError) -> Reply? {
        var pointer: UnsafeMutableRawPointer?
        guard redisGetReplyFromReader(context, &pointer) == REDIS_OK else { throw .lost(errorText) }
        guard let pointer else { return nil }
        defer { freeReplyObject(pointer) }
        // A message answers no command.
        pendingCount = max(0, pendingCount - 1)
        return Self.copy(pointer.assumingMemoryBound(to: redisReply.self).pointee)
    }

    private func logIn(_ url: RedisURL) throws(RedisPipelineError) {
        if let arguments = url.authArguments { try call(["AUTH"] + arguments) }
        if url.database != 0 { try call(["SELECT", "\(url.database)"]) }
    }

    /// Sentinels may name a server that has just been demoted.
    private func checkRole(_ address: RedisURL.Address) throws(RedisPipelineError) {
        guard case .array(let parts) = try call(["ROLE"]), case .bytes(let role)? = parts.first else {
            throw .lost("unexpected answer to ROLE")
        }
        guard role == Array("master".utf8) else {
            throw .noMaster("\(address) is a \(String(decoding: role, as: UTF8.self))")
        }
    }

    /// One command of the login, and its reply.
    ///
    /// - Throws: `loginRefused` for an error reply.
    @discardableResult
    func call(_ arguments: [String]) throws(RedisPipelineError) -> Reply {
        try append(arguments.map { Array($0.utf8) })
        let reply = try nextReply()
        if case .refused(let answer) = reply { throw .loginRefused(command: arguments[0], answer: answer) }
        return reply
    }

    private static func copy(_ reply: redisReply) -> Reply {
        let text = UnsafeRawBufferPointer(start: reply.str, count: reply.str == nil ? 0 : Int(reply.len))
        return switch reply.type {
        case REDIS_REPLY_INTEGER: .integer(reply.integer)
        case REDIS_REPLY_STRING, REDIS_REPLY_STATUS: .bytes(Array(text))
        case REDIS_REPLY_ERROR: .refused(String(decoding: text, as: UTF8.self))
        case REDIS_REPLY_ARRAY:
            // hiredis ends a connection whose replies nest deeper than seven.
            .array((0..<Int(reply.elements)).map { reply.element[$0].map { copy($0.pointee) } ?? .null })
        default: .null
        }
    }

    /// A timeout shows as EAGAIN on a blocking socket.
    private func lossText(_ code: Int32) -> String {
        let isTimeout = Int(context.pointee.err) == Int(REDIS_ERR_IO) && code == EAGAIN
        return isTimeout ? "no answer in time" : errorText
    }

    /// hiredis' account of the failure; it writes a terminated text into the array.
    private var errorText: String {
        withUnsafeBytes(of: context.pointee.errstr) { bytes in
            let text = bytes.prefix { $0 != 0 }
            return text.isEmpty ? "unknown error" : String(decoding: text, as: UTF8.self)
        }
    }

    private static func timeval(_ duration: Duration) -> Glibc.timeval {
        let (seconds, attoseconds) = duration.components
        return Glibc.timeval(tv_sec: Int(seconds), tv_usec: Int(attoseconds / 1_000_000_000_000))
    }
}
