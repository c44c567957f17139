// One connection to Redis, from connect to end: hiredis' async context on our loop. Loop-confined.
//
//     socket ── read ──▶ (TLS) ──▶ ReplyGate ── what may pass ──▶ hiredis ── one callback ──▶ handlers in their order,
//                                                                                          or pushes
//     socket ◀── at the turn's end ── (TLS) ◀── output buffer of hiredis ◀── commands

import CHiredis
import EventLoop
import Glibc

/// Owns one `redisAsyncContext`, is its event adapter, and moves its bytes: hiredis itself connects and does
/// nothing else with the socket.
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

    private enum Stage {
        case connecting
        /// TLS, which plain connections do without.
        case shakingHands
        case up
    }

    /// nil once hiredis has freed the context, or is about to.
    private var context: UnsafeMutablePointer<redisAsyncContext>?
    private let tls: TLSStream?
    private var stage = Stage.connecting
    private var hasEnded = false
    /// A write at the end of the turn is arranged.
    private var isWriteDue = false
    /// What is sent at this moment may wait for the next write.
    private var isPatient = false
    /// The socket takes no more at present.
    private var isWriteBlocked = false
    /// How much of hiredis' output buffer is written.
    private var writtenBytes = 0
    /// Whether the server has said anything.
    private var hasHeard = false
    private var closeReason: String?
    private var gate = ReplyGate()
    /// What hiredis has handed over of the replies that have passed the gate.
    private var deliveredCount = 0
    /// For what has been sent and has no answer yet, in that order.
    private var waiting = Fifo<Waiting>()
    /// Reads of one turn: 4 MiB, so that a loop whose turns are long keeps up with what Redis sends.
    private static let maximumReadCount = 256
    /// An output buffer that has grown beyond this, as for thousands of subscriptions, is not kept.
    private static let keptOutputBytes = 64 << 10
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
    ///   - peer: with whom the connection is secured, nil for a plain one. A secured connection never becomes a
    ///     plain one.
    ///   - onConnect: the connection stands. Nothing is sent before.
    ///   - onEnd: called once, with the reason, whichever side ended. It must not call back into this object.
    /// - Throws: when the connection cannot even be tried.
    static func connect(
        to address: RedisURL.Address, securedFor peer: TLSPeer?, on loop: EventLoop,
        onConnect: @escaping () -> Void, onEnd: @escaping (String) -> Void
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
        return RedisContext(context, peer, loop: loop, onConnect: onConnect, onEnd: onEnd)
    }

    private init(
        _ context: UnsafeMutablePointer<redisAsyncContext>, _ peer: TLSPeer?, loop: EventLoop,
        onConnect: @escaping () -> Void, onEnd: @escaping (String) -> Void
    ) {
        let socket = Socket(descriptor: Int32(context.pointee.c.fd))
        self.context = context
        self.onConnect = onConnect
        self.onEnd = onEnd
        tls = peer.map { TLSStream($0, socket: socket) }
        super.init(socket: socket, loop: loop)
        adopt(context)
    }

    deinit {
        precondition(context == nil, "a Redis context outlived its owner")
        received.deallocate()
    }

    /// Sends a command whose one reply comes to `onReply` (or a failure, when the connection ends first).
    /// Not after a subscription.
    ///
    /// - Parameter mayWait: whether it stays in the output buffer, in its place, until anything else is written or
    ///   `writeWhatWaits` is called.
    func send(_ command: RedisCommand, mayWait: Bool = false, onReply: @escaping Handler) {
        isPatient = mayWait
        defer { isPatient = false }
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
    /// hiredis copies the bytes. It knows nothing of the commands: it does not see their answers.
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
        let events = stage == .connecting ? POLLIN | POLLOUT : POLLIN
        var state = pollfd(fd: socket.descriptor, events: Int16(events), revents: 0)
        return poll(&state, 1, 0) > 0
    }

    /// Whether the server is there, and has not yet answered in TLS.
    var isShakingHands: Bool { stage == .shakingHands }

    /// Ends the connection; pending commands fail and `onEnd` reports `reason`, perhaps before this returns.
    /// Not to be called from `onConnect` or `onEnd`.
    func close(reason: String) {
        guard let context, closeReason == nil else { return }
        closeReason = reason
        tls?.shutDown()
        let wasConnected = context.pointee.c.flags & REDIS_CONNECTED != 0
        redisAsyncFree(context)
        // A context that never connected has no disconnect callback.
        if !wasConnected { end(reason) }
    }

    // MARK: Reading

    override func socketIsReadable() {
        withExtendedLifetime(self) { if stage == .connecting { finishConnecting() } else { readShare() } }
    }

    private func readShare() {
        // A read that fills the buffer has left more behind.
        for _ in 0..<RedisContext.maximumReadCount { guard readOnce() == received.count else { return } }
    }

    /// Returns how many bytes came.
    private func readOnce() -> Int {
        guard context != nil else { return 0 }
        switch socket.read(into: received) {
        case .bytes(let count):
            let bytes = UnsafeRawBufferPointer(rebasing: received[..<count])
            if let tls { open(bytes, tls) } else { take(bytes) }
            return count
        case .wouldBlock: break
        case .endOfStream: close(reason: endReason(RedisContext.closed))
        case .failed(let code): close(reason: endReason(SystemError.message(of: code)))
        }
        return 0
    }

    /// Shakes hands as far as the bytes go, and takes what is in the others.
    private func open(_ bytes: UnsafeRawBufferPointer, _ tls: TLSStream) {
        tls.supply(bytes)
        if stage == .shakingHands { shakeHands(tls) }
        var transfer = TLSTransfer.bytes(0)
        while case .bytes = transfer, stage == .up, context != nil { transfer = tls.read(take) }
        switch transfer {
        case .bytes, .wouldBlock: if tls.hasUnsent { waitForRoom() }
        case .endOfStream: close(reason: endReason(RedisContext.closed))
        case .failed(let reason): close(reason: reason)
        }
    }

    private static let closed = "Server closed the connection"

    /// Why the connection is over: the system's words, and what may be wrong with a server that has not answered.
    private func endReason(_ words: String) -> String {
        if stage == .shakingHands { return "TLS: \(words) in the handshake; \(TLSPeer.portHint)" }
        let isMute = stage == .up && !hasHeard && tls == nil
        guard isMute, let context, context.pointee.c.connection_type == REDIS_CONN_TCP else { return words }
        return "\(words) before any answer; does the port expect TLS (rediss://)?"
    }

    private func take(_ bytes: UnsafeRawBufferPointer) {
        var rest = bytes
        if !hasHeard, rest.first == RedisContext.alert { return close(reason: RedisContext.alertReason) }
        hasHeard = true
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

    // MARK: Connecting

    override func socketIsWritable() {
        withExtendedLifetime(self) {
            guard stage != .connecting else { return finishConnecting() }
            writeOutput()
        }
    }

    /// hiredis finds out by itself how the attempt has ended.
    private func finishConnecting() {
        guard let context else { return }
        // It would write it, too, as it is.
        precondition(sdslen(context.pointee.c.obuf) == 0, "nothing is sent before the connection stands")
        redisAsyncHandleWrite(context)
        guard self.context != nil, context.pointee.c.flags & REDIS_CONNECTED != 0 else { return }
        watchWritability(false)
        guard let tls else { return stand() }
        stage = .shakingHands
        shakeHands(tls)
    }

    private func shakeHands(_ tls: TLSStream) {
        switch tls.shakeHands() {
        case .bytes: stand()
        case .wouldBlock: break
        case .endOfStream: return close(reason: endReason(RedisContext.closed))
        case .failed(let reason): return close(reason: reason)
        }
        if tls.hasUnsent { waitForRoom() }
    }

    private func stand() {
        stage = .up
        onConnect()
    }

    // MARK: Writing

    /// Arranges the write of what may wait.
    func writeWhatWaits() { if context != nil { hasOutput() } }

    /// Commands of a turn leave together at its end, without asking first whether the socket takes them: it
    /// nearly always does, and asking would cost two changes of the set and another turn.
    private func hasOutput() {
        guard stage == .up, !isPatient, !isWriteBlocked, !isWriteDue else { return }
        isWriteDue = true
        callAtTurnEnd()
    }

    override func turnEnds() {
        isWriteDue = false
        if !isWriteBlocked { withExtendedLifetime(self) { writeOutput() } }
    }

    private func writeOutput() {
        guard let context else { return }
        var transfer = tls?.flush() ?? .bytes(0)
        while case .bytes = transfer, let rest = unwritten(context) {
            transfer = tls?.write(rest) ?? TLSTransfer(socket.write(rest))
            if case .bytes(let count) = transfer { writtenBytes += count }
        }
        switch transfer {
        case .bytes:
            forgetOutput(context)
            isWriteBlocked = tls?.hasUnsent ?? false
            watchWritability(isWriteBlocked)
        case .wouldBlock, .endOfStream: waitForRoom()
        case .failed(let reason):
            // What the server has said before it left is the better reason.
            readShare()
            close(reason: endReason(reason))
        }
    }

    private func unwritten(_ context: UnsafeMutablePointer<redisAsyncContext>) -> UnsafeRawBufferPointer? {
        let output = UnsafeRawBufferPointer(
            start: context.pointee.c.obuf, count: Int(sdslen(context.pointee.c.obuf)))
        return writtenBytes < output.count ? UnsafeRawBufferPointer(rebasing: output[writtenBytes...]) : nil
    }

    private func forgetOutput(_ context: UnsafeMutablePointer<redisAsyncContext>) {
        if writtenBytes > RedisContext.keptOutputBytes, let empty = sdsempty() {
            sdsfree(context.pointee.c.obuf)
            context.pointee.c.obuf = empty
        } else {
            sdsclear(context.pointee.c.obuf)
        }
        writtenBytes = 0
    }

    private func waitForRoom() {
        isWriteBlocked = true
        watchWritability(true)
    }

    // MARK: What hiredis calls

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
        context.pointee.ev.delWrite = { _ in }
        context.pointee.ev.cleanup = { pointer in
            RedisContext.from(pointer).stopWatching()
            Unmanaged<RedisContext>.fromOpaque(pointer!).release()
        }
        // On a Unix socket it fails, which hiredis would take for the end of the connection.
        if context.pointee.c.connection_type == REDIS_CONN_TCP { redisEnableKeepAlive(&context.pointee.c) }
        redisAsyncSetDisconnectCallback(context) { context, _ in
            RedisContext.from(context!.pointee.data).disconnected(context!)
        }
        redisAsyncSetConnectCallback(context) { context, status in
            // hiredis frees the context after a failure, without a disconnect callback.
            if status != REDIS_OK {
                RedisContext.from(context!.pointee.data).end(RedisContext.message(of: context!))
            }
        }
        // By this the end of the attempt is noticed.
        watchWritability(true)
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

    /// How a message of TLS begins by which a server ends a connection: no reply does.
    private static let alert: UInt8 = 21
    private static let alertReason =
        "the server speaks TLS: the URL must begin with rediss:// or sentinels://"

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
