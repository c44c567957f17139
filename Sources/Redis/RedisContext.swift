// One connection to Redis, from connect to end: hiredis' async context on our loop. Loop-confined.

import CHiredis
import EventLoop
import Glibc

/// Owns one `redisAsyncContext` and is its event adapter.
///
/// hiredis 0.14 aborts or crashes on several sequences; what keeps clear of them is gathered here:
/// the context is never freed inside its own connect or disconnect callback, an error is looked at before the
/// descriptor is used, and nothing is sent once the end has been reported.
final class RedisContext: SocketWatcher {
    /// nil once hiredis has freed the context, or is about to.
    private var context: UnsafeMutablePointer<redisAsyncContext>?
    private var isConnected = false
    private var hasEnded = false
    /// A write at the end of the turn is arranged.
    private var isWriteDue = false
    /// hiredis writes, or waits for the socket to take more: what it asks for then is to be told of that.
    private var isWriting = false
    private var closeReason: String?
    private let onConnect: () -> Void
    private let onEnd: (String) -> Void
    private var onPush: ((RedisReply) -> Void)?

    /// Starts to connect.
    ///
    /// - Parameters:
    ///   - address: a numeric address or a socket path: nothing is resolved here.
    ///   - onConnect: the connection stands; commands sent before wait for it.
    ///   - onEnd: called once, with the reason, whoever ended it. It must not call back into this object.
    /// - Throws: when the connection cannot even be tried.
    static func connect(
        to address: RedisURL.Address, on loop: EventLoop, onConnect: @escaping () -> Void,
        onEnd: @escaping (String) -> Void
    ) throws(RedisFailure) -> RedisContext {
        let created =
            switch address {
            case .tcp(let host, let port): redisAsyncConnect(host, Int32(port))
            case .unix(let path): redisAsyncConnectUnix(path)
            }
        guard let context = created else { throw .unavailable("out of memory") }
        // After some errors c.fd is 0, so err comes first.
        guard context.pointee.err == 0 else {
            let reason = message(of: context)
            redisAsyncFree(context)
            throw .unavailable(reason)
        }
        return RedisContext(context, loop: loop, onConnect: onConnect, onEnd: onEnd)
    }

    private init(
        _ context: UnsafeMutablePointer<redisAsyncContext>, loop: EventLoop,
        onConnect: @escaping () -> Void, onEnd: @escaping (String) -> Void
    ) {
        self.context = context
        self.onConnect = onConnect
        self.onEnd = onEnd
        super.init(socket: Socket(descriptor: Int32(context.pointee.c.fd)), loop: loop)
        adopt(context)
    }

    deinit {
        precondition(context == nil, "a Redis context outlived its owner")
    }

    /// Sends a command whose one reply comes to `onReply` (or a failure, when the connection ends first).
    func send(_ command: RedisCommand, onReply: @escaping (Result<RedisReply, RedisFailure>) -> Void) {
        guard let context else {
            onReply(.failure(.unavailable("not connected")))
            return
        }
        // Balanced by takeRetainedValue in the reply callback, which hiredis runs exactly once for each command.
        let pending = Unmanaged.passRetained(PendingReply(onReply))
        if RedisContext.send(command, on: context, RedisContext.replyCallback, pending.toOpaque()) != REDIS_OK {
            pending.release()
            onReply(.failure(.unavailable("not connected")))
        }
    }

    /// Sends SUBSCRIBE or UNSUBSCRIBE for one channel: its replies and the channel's messages go to `onPush`.
    /// There is no private data: hiredis 0.14 may run another channel's callback, so replies route by content.
    func sendSubscription(_ verb: RedisArgument, channel: RedisArgument) {
        guard let context else { return }
        _ = RedisContext.send(RedisCommand([verb, channel]), on: context, RedisContext.pushCallback, nil)
    }

    /// Where the replies to `sendSubscription` and all messages go.
    func setPushHandler(_ onPush: @escaping (RedisReply) -> Void) {
        self.onPush = onPush
    }

    /// Ends the connection; pending commands fail and `onEnd` reports `reason`, perhaps before this returns.
    /// Not to be called from `onConnect` or `onEnd`.
    func close(reason: String) {
        guard let context, closeReason == nil else { return }
        closeReason = reason
        let wasConnected = isConnected
        redisAsyncFree(context)
        // A context that never connected has no disconnect callback.
        if !wasConnected { end(reason) }
    }

    override func socketIsReadable() {
        if let context { redisAsyncHandleRead(context) }
    }

    override func socketIsWritable() {
        guard let context else { return }
        // A Unix socket is connected at once, which hiredis reports by no callback.
        if !isConnected, context.pointee.c.flags & REDIS_CONNECTED != 0 {
            isConnected = true
            onConnect()
        }
        redisAsyncHandleWrite(context)
    }

    /// Commands of a turn leave together at its end, without asking first whether the socket takes them: it nearly
    /// always does, and to be told so would cost two changes of the set and another turn.
    private func hasOutput() {
        if !isConnected || isWriting {
            isWriting = true
            watchWritability(true)
        } else if !isWriteDue {
            isWriteDue = true
            callAtTurnEnd()
        }
    }

    private func hasNoOutput() {
        isWriting = false
        watchWritability(false)
    }

    override func turnEnds() {
        isWriteDue = false
        guard let context, !isWriting else { return }
        isWriting = true
        redisAsyncHandleWrite(context)
    }

    private func adopt(_ context: UnsafeMutablePointer<redisAsyncContext>) {
        // Retained until hiredis calls `cleanup`, its last call here after a failed connect. After a connection
        // that stood, the disconnect callback comes later still: the owner keeps this object until `onEnd`.
        let this = Unmanaged.passRetained(self).toOpaque()
        context.pointee.data = this
        context.pointee.ev.data = this
        // Reading stays armed for the whole life of the connection.
        context.pointee.ev.addRead = { _ in }
        context.pointee.ev.delRead = { _ in }
        context.pointee.ev.addWrite = { RedisContext.from($0).hasOutput() }
        context.pointee.ev.delWrite = { RedisContext.from($0).hasNoOutput() }
        context.pointee.ev.cleanup = { pointer in
            RedisContext.from(pointer).stopWatching()
            Unmanaged<RedisContext>.fromOpaque(pointer!).release()
        }
        // On a Unix socket it fails, which hiredis would take for the end of the connection.
        if context.pointee.c.connection_type == REDIS_CONN_TCP { redisEnableKeepAlive(&context.pointee.c) }
        redisAsyncSetDisconnectCallback(context) { context, _ in
            RedisContext.from(context!.pointee.data).disconnected(context!)
        }
        // This one last: it arms writing, by which the connection is noticed.
        redisAsyncSetConnectCallback(context) { context, status in
            RedisContext.from(context!.pointee.data).connected(context!, status)
        }
    }

    private func connected(_ context: UnsafePointer<redisAsyncContext>, _ status: Int32) {
        guard status == REDIS_OK else {
            // hiredis frees the context after this, without a disconnect callback.
            end(RedisContext.message(of: context))
            return
        }
        isConnected = true
        onConnect()
    }

    private func disconnected(_ context: UnsafePointer<redisAsyncContext>) {
        end(closeReason ?? RedisContext.message(of: context))
    }

    private func end(_ reason: String) {
        context = nil
        guard !hasEnded else { return }
        hasEnded = true
        onEnd(reason)
    }

    private func push(_ reply: RedisReply) {
        onPush?(reply)
    }

    private static func from(_ pointer: UnsafeMutableRawPointer?) -> RedisContext {
        Unmanaged<RedisContext>.fromOpaque(pointer!).takeUnretainedValue()
    }

    private static func message(of context: UnsafePointer<redisAsyncContext>) -> String {
        if context.pointee.err != 0, let text = context.pointee.errstr { return String(cString: text) }
        // A failed connect stands only in the synchronous part, which is copied after the callback.
        guard context.pointee.c.err != 0 else { return "connection closed" }
        return withUnsafeBytes(of: context.pointee.c.errstr) { text in
            String(decoding: text.prefix { $0 != 0 }, as: UTF8.self)
        }
    }

    private static let replyCallback: redisCallbackFnPointer = { _, reply, pending in
        let pending = Unmanaged<PendingReply>.fromOpaque(pending!).takeRetainedValue()
        pending.finish(reply?.assumingMemoryBound(to: redisReply.self))
    }

    private static let pushCallback: redisCallbackFnPointer = { context, reply, _ in
        // No reply: the connection is ending, which the disconnect callback reports once for all channels.
        guard let reply, let data = context!.pointee.data else { return }
        RedisContext.from(data).push(RedisReply(reply.assumingMemoryBound(to: redisReply.self)))
    }

    /// hiredis copies the command.
    private static func send(
        _ command: RedisCommand, on context: UnsafeMutablePointer<redisAsyncContext>,
        _ callback: redisCallbackFnPointer, _ privateData: UnsafeMutableRawPointer?
    ) -> Int32 {
        command.withBytes { bytes in
            redisAsyncFormattedCommand(
                context, callback, privateData, bytes.baseAddress!.assumingMemoryBound(to: CChar.self), bytes.count)
        }
    }
}

/// `redisCallbackFn` is a function typedef, which Swift imports as a Swift closure type; C wants a pointer.
private typealias redisCallbackFnPointer =
    @convention(c) (
        UnsafeMutablePointer<redisAsyncContext>?, UnsafeMutableRawPointer?, UnsafeMutableRawPointer?
    ) -> Void

/// Where one command's reply goes.
private final class PendingReply {
    private let onReply: (Result<RedisReply, RedisFailure>) -> Void

    init(_ onReply: @escaping (Result<RedisReply, RedisFailure>) -> Void) {
        self.onReply = onReply
    }

    func finish(_ pointer: UnsafePointer<redisReply>?) {
        guard let pointer else {
            onReply(.failure(.unavailable("connection lost")))
            return
        }
        let reply = RedisReply(pointer)
        if let message = reply.errorMessage {
            onReply(.failure(.refused(message)))
        } else {
            onReply(.success(reply))
        }
    }
}
