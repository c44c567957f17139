// One connection to Redis, from connect to end: hiredis' async context on our loop. Loop-confined.
//
//     socket ── read ──▶ ReplyGate ── what may pass ──▶ hiredis ── one callback ──▶ handlers in their order, or pushes

import CHiredis
import EventLoop
import Glibc

/// Owns one `redisAsyncContext` and is its event adapter.
///
/// hiredis 0.14 aborts or crashes on several sequences; what keeps clear of them is gathered here: the
/// context is never freed inside its own connect or disconnect callback, an error is looked at before the
/// descriptor is used, and nothing is sent once the end has been reported. hiredis sees only what
/// `ReplyGate` lets pass. It gets no private data: it may run the callback of one reply for another one, so
/// there is one callback for all, and whose turn it is stands in a queue of ours.
final class RedisContext: SocketWatcher {
    /// Takes the reply to one command.
    typealias Handler = (Result<RedisReply, RedisFailure>) -> Void

    private enum Waiting {
        case reply(Handler)
        case batch((RedisBatch.News) -> Void, missingCount: Int)
    }

    /// nil once hiredis has freed the context, or is about to.
    private var context: UnsafeMutablePointer<redisAsyncContext>?
    private var isConnected = false
    private var hasEnded = false
    /// A write at the end of the turn is arranged.
    private var isWriteDue = false
    /// hiredis writes, or waits for the socket to take more: what it asks for then is the news of that.
    private var isWriting = false
    private var closeReason: String?
    private var gate = ReplyGate()
    /// What hiredis has handed over of the replies that have passed the gate.
    private var deliveredCount = 0
    /// For what has been sent and has no answer yet, in that order.
    private var waiting = Fifo<Waiting>()
    /// Reads of one turn: 4 MiB, so that a loop whose turns are long keeps up with what Redis sends.
    private static let maximumReadCount = 256
    /// As much as hiredis itself would read at once.
    private let received = UnsafeMutableRawBufferPointer.allocate(byteCount: 16 << 10, alignment: 16)
    private let onConnect: () -> Void
    private let onEnd: (String) -> Void
    private var onPush: ((RedisReply) -> Void)?
    private var onPushError: ((String) -> Void)?

    /// Starts to connect.
    ///
    /// - Parameters:
    ///   - address: a numeric address or a socket path: nothing is resolved here.
    ///   - onConnect: the connection stands; commands sent before wait for it.
    ///   - onEnd: called once, with the reason, whichever side ended. It must not call back into this object.
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
        received.deallocate()
    }

    /// Sends a command whose one reply comes to `onReply` (or a failure, when the connection ends first).
    /// Not after a subscription.
    func send(_ command: RedisCommand, onReply: @escaping Handler) {
        guard let context, RedisContext.send(command, on: context) else {
            onReply(.failure(.unavailable("not connected")))
            return
        }
        waiting.append(.reply(onReply))
        gate.commandSent()
    }

    /// Sends commands whose answers come to `onNews`, as many at a time as there are. Not after a
    /// subscription.
    ///
    /// hiredis copies and writes the bytes. It knows nothing of the commands: it does not see their answers.
    func send(_ batch: RedisBatch, onNews: @escaping (RedisBatch.News) -> Void) {
        guard let context, batch.append(to: &context.pointee.c) else { return onNews(.lost) }
        waiting.append(.batch(onNews, missingCount: batch.count))
        gate.batchSent(count: batch.count)
        hasOutput()
    }

    /// Sends SUBSCRIBE or UNSUBSCRIBE for one channel: its replies and the channel's messages go to
    /// `onPush`, an error to `onError`. The first channel stays subscribed for the connection's life.
    func sendSubscription(_ verb: RedisArgument, channel: RedisArgument) {
        guard let context, RedisContext.send(RedisCommand([verb, channel]), on: context) else { return }
        gate.subscriptionSent()
    }

    /// Where the replies to `sendSubscription` and all messages go.
    ///
    /// - Parameter onError: what Redis says against the oldest subscription without an answer; the
    ///   connection stays.
    func setPushHandler(
        _ onPush: @escaping (RedisReply) -> Void, onError: @escaping (String) -> Void
    ) {
        self.onPush = onPush
        onPushError = onError
    }

    /// Whether something waits to be read, or the attempt to connect has an end, of which the loop knows
    /// nothing yet.
    var hasNews: Bool {
        guard context != nil else { return false }
        var state = pollfd(
            fd: socket.descriptor, events: Int16(isConnected ? POLLIN : POLLIN | POLLOUT), revents: 0)
        return poll(&state, 1, 0) > 0
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
        guard let context else { return }
        // hiredis finds out by itself how the attempt has ended.
        guard context.pointee.c.flags & REDIS_CONNECTED != 0 else { return socketIsWritable() }
        withExtendedLifetime(self) {
            // A read that fills the buffer has left more behind.
            for _ in 0..<RedisContext.maximumReadCount { guard readOnce() == received.count else { break } }
        }
    }

    /// Returns how many bytes came.
    private func readOnce() -> Int {
        guard context != nil else { return 0 }
        switch socket.read(into: received) {
        case .bytes(let count):
            take(UnsafeRawBufferPointer(received).prefix(count))
            return count
        case .wouldBlock: break
        case .endOfStream: close(reason: "Server closed the connection")
        case .failed(let code): close(reason: SystemError.message(of: code))
        }
        return 0
    }

    private func take(_ bytes: Slice<UnsafeRawBufferPointer>) {
        var rest = UnsafeRawBufferPointer(rebasing: bytes)
        while !rest.isEmpty {
            let verdict = gate.look(at: rest)
            guard pass(UnsafeRawBufferPointer(rebasing: rest[..<verdict.passedBytes])) else { return }
            switch verdict.finding {
            case .nothing: break
            case .numbers: tell(.numbers(gate.numbers), count: gate.numbers.count)
            case .refusal(let text): tell(text.map { .refused($0) } ?? .noNumber, count: 1)
            case .error(let text):
                if let onPushError { onPushError(text) } else { close(reason: text) }
            case .violation(let violation): return close(reason: violation.reason)
            }
            guard context != nil else { return }
            rest = UnsafeRawBufferPointer(rebasing: rest[verdict.consumedBytes...])
        }
    }

    /// Hands answers to the batch that is the oldest command.
    private func tell(_ news: RedisBatch.News, count: Int) {
        guard case .batch(let onNews, let missingCount)? = waiting.first else {
            preconditionFailure("the gate and the context have the same batch first")
        }
        if count < missingCount {
            waiting[0] = .batch(onNews, missingCount: missingCount - count)
        } else {
            waiting.takeFirst()
        }
        onNews(news)
    }

    /// Gives bytes to hiredis, which calls back for each reply in them; returns whether the connection goes
    /// on.
    private func pass(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard let context, !bytes.isEmpty else { return context != nil }
        let text = bytes.baseAddress?.assumingMemoryBound(to: CChar.self)
        guard redisReaderFeed(context.pointee.c.reader, text, bytes.count) == REDIS_OK else {
            close(reason: "out of memory")
            return false
        }
        redisProcessCallbacks(context)
        guard self.context != nil else { return false }
        // hiredis has no callback for a channel that was not asked for.
        guard deliveredCount == gate.passedCount else {
            close(reason: RespViolation.unasked.reason)
            return false
        }
        return true
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

    /// Commands of a turn leave together at its end, without asking first whether the socket takes them: it
    /// nearly always does, and asking would cost two changes of the set and another turn.
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
        // Retained until hiredis calls `cleanup`, its last call here after a failed connect. After a
        // connection that stood, the disconnect callback comes later still: the owner keeps this object
        // until `onEnd`.
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
        while let first = waiting.takeFirst() {
            switch first {
            case .reply(let handler): handler(.failure(.unavailable("connection lost")))
            case .batch(let onNews, _): onNews(.lost)
            }
        }
        onEnd(reason)
    }

    private func deliver(_ reply: RedisReply) {
        deliveredCount += 1
        if case .reply(let handler)? = waiting.takeFirst() {
            handler(reply.errorMessage.map { .failure(.refused($0)) } ?? .success(reply))
        } else {
            onPush?(reply)
        }
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

    /// hiredis copies the command.
    private static func send(_ command: RedisCommand, on context: UnsafeMutablePointer<redisAsyncContext>)
        -> Bool
    {
        let result = command.withBytes { bytes in
            redisAsyncFormattedCommand(
                context,
                { context, reply, _ in
                    // No reply: the connection is ending, which the disconnect callback reports once for
                    // all.
                    guard let reply, let data = context!.pointee.data else { return }
                    RedisContext.from(data).deliver(
                        RedisReply(reply.assumingMemoryBound(to: redisReply.self)))
                }, nil, bytes.baseAddress!.assumingMemoryBound(to: CChar.self), bytes.count)
        }
        return result == REDIS_OK
    }
}
