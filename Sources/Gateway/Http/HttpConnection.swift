// One HTTP/1.1 connection: requests in, answers out, in order. Loop-confined.

import EventLoop
import HTTP
import Network

/// Answers requests. Called on the connection's loop; must answer each request once, now or later.
protocol HttpHandler: AnyObject {
    func handle(_ request: HttpRequestHead, on connection: HttpConnection)

    /// The longest body that is kept for `handle`, which finds it in the connection's `requestBody`; 0 for a request whose
    /// body, if it has one, is of no use.
    func maximumBodyBytes(of request: HttpRequestHead) -> Int

    /// The fields that every answer to `request` carries; nil for a request whose head could not be read.
    func fieldsOfEveryAnswer(to request: HttpRequestHead?) -> [HttpResponseField]

    /// A request was refused before it came to `handle`.
    func refused(_ status: HttpStatus, _ detail: String, on connection: HttpConnection)
}

extension HttpHandler {
    func maximumBodyBytes(of request: HttpRequestHead) -> Int { 0 }

    func fieldsOfEveryAnswer(to request: HttpRequestHead?) -> [HttpResponseField] { [] }

    func refused(_ status: HttpStatus, _ detail: String, on connection: HttpConnection) {}
}

/// Reads requests one after the other, pipelined or not, and writes the handler's answers.
///
///     reading ──head complete──▶ waiting ──answer──▶ reading        (keep-alive)
///        │                          └──── answer ──▶ lingering      (close, or an error)
///        └──malformed, too late──▶ lingering ──peer's end, or 2 s──▶ (disconnected)
///
/// Lingering: the answer is out and our side is shut down; what the peer still sends is read and dropped, because
/// closing with unread bytes would reset the connection and take the answer along.
final class HttpConnection: Connection {
    private enum State { case reading, waiting, lingering }

    private static let lingerTime = Duration.seconds(2)

    /// The address of the TCP peer: the client, or a proxy.
    let peer: IPAddress
    private let limits: HttpLimits
    private unowned(unsafe) let places: HttpPlaces
    private unowned(unsafe) let handler: any HttpHandler
    private let onEnd: () -> Void
    private var state = State.reading
    /// Bytes that are read and not yet used.
    private var input: [UInt8] = []
    private var scanner = HttpHeadScanner()
    /// Bytes of a request's body that are still to be read.
    private var bodyBytesLeft = 0
    /// The request whose body is being kept.
    private var incomplete: HttpRequestHead?
    /// The body of the present request, if its handler wanted it.
    private(set) var requestBody: [UInt8] = []
    /// What the answer to the present request carries whatever it is.
    private var fieldsOfEveryAnswer: [HttpResponseField] = []
    /// Answers that the socket does not take yet.
    private var output: [UInt8] = []
    private var connectionOption = HttpConnectionOption.implied
    /// No further request is taken; the connection ends when its answers are out.
    private var isClosing = false
    /// The next answer is the last.
    private var isLast = false
    private var isHead = false
    private var isProcessing = false
    private var hasPeerEnded = false
    private var hasReceived = false
    private var hasAnswered = false
    /// Where it stands among those that wait for their peers.
    var place = HttpPlace()
    /// The deadline is that of the request that is coming; it stands, however many pieces that comes in.
    private var isTimingRequest = false
    private var onAbandon: ((AbandonReason) -> Void)?

    /// Why a request that waits can no longer be answered by its handler.
    enum AbandonReason { case timeout, peerEnded }

    /// - Parameters:
    ///   - places: where a place was taken for it, which it gives back; they outlive it.
    ///   - handler: outlives its connections.
    ///   - onEnd: runs once, when the socket is closed or handed on.
    init(
        socket: Socket, peer: IPAddress, host: ConnectionHost, limits: HttpLimits, places: HttpPlaces,
        handler: any HttpHandler, onEnd: @escaping () -> Void
    ) {
        self.peer = peer
        self.limits = limits
        self.places = places
        self.handler = handler
        self.onEnd = onEnd
        super.init(socket: socket, host: host)
    }

    /// - Parameter bytes: what has been read of the connection already.
    func start(with bytes: [UInt8] = []) {
        timeRequest()
        settle()
        if !bytes.isEmpty { bytes.withUnsafeBytes { received($0) } }
    }

    /// A peer has so long to send what it has begun: a head, or the body behind one.
    private func timeRequest() {
        guard !isTimingRequest else { return }
        isTimingRequest = true
        setDeadline(after: limits.requestTimeout)
    }

    /// The peer may rest until its next request.
    private func awaitRequest() {
        isTimingRequest = false
        setDeadline(after: limits.keepAliveTimeout)
    }

    override func didEnd() {
        onAbandon = nil
        places.release(self)
        onEnd()
    }

    // MARK: For those who need its place

    /// A request lies in the kernel that is not read yet: its peer has not been idle.
    var hasRequestArrived: Bool { state == .reading && input.isEmpty && output.isEmpty && socket.hasUnreadBytes }

    /// Closes the connection for the sake of another one.
    func makeWay() { abandon() }

    /// Files the connection by what it waits for.
    private func settle() {
        guard isWatching else { return }
        let isIdle = state == .reading && input.isEmpty && output.isEmpty && bodyBytesLeft == 0 && !isClosing
        places.file(self, state == .waiting ? nil : !isIdle ? .unsettled : hasAnswered ? .resting : .silent)
    }

    // MARK: For handlers

    /// The handler will answer later: `onAbandon` runs if it must not any more, or has to do so at once.
    func wait(atMost timeout: Duration, onAbandon: @escaping (AbandonReason) -> Void) {
        self.onAbandon = onAbandon
        setDeadline(after: timeout)
    }

    /// Answers the present request.
    ///
    /// - Parameter isLast: the connection takes no further request.
    func respond(
        _ status: HttpStatus, fields: [HttpResponseField] = [], body: String = "", isLast closes: Bool = false
    ) {
        host.loop.assertOnThread()
        guard isWatching, state == .waiting else { return }
        onAbandon = nil
        requestBody = []
        if isLast || closes || places.isShort { connectionOption = .close }
        // Answers are about tokens and states of a moment: a cache that keeps one lies to whoever asks next.
        let caching = fields.contains { $0.isNamed("Cache-Control") } ? [] : [Answer.noStore]
        HttpResponse.append(
            status, fields: fields + caching + fieldsOfEveryAnswer, body: body, omitsBody: isHead,
            connection: connectionOption, date: host.dateLine, to: &output)
        isHead = false
        state = .reading
        hasAnswered = true
        if connectionOption == .close { isClosing = true }
        if bodyBytesLeft > 0 { timeRequest() } else { awaitRequest() }
        // Within `process` the loop there goes on; otherwise this answer came later and it is for us to go on.
        if !isProcessing { pump() }
    }

    /// What the peer has sent behind the present request: for who takes the connection over.
    var unread: [UInt8] { input }

    /// Lets go of the socket, with the present request unanswered: both are the caller's from here on.
    func detach() -> Socket {
        host.loop.assertOnThread()
        precondition(isWatching && state == .waiting, "only a connection whose request waits is handed on")
        stopWatching()
        didEnd()
        host.forget(self)
        return socket
    }

    /// Ends the connection after the answers that it owes; one that is new may still bring its request.
    func closeWhenIdle() {
        host.loop.assertOnThread()
        isLast = true
        guard state == .reading, input.isEmpty, output.isEmpty else { return }
        if hasReceived { disconnect() } else { setDeadline(after: HttpConnection.lingerTime) }
    }

    // MARK: Reading

    override func socketIsReadable() {
        let count = readableBytes
        // Reading is not watched then: what is reported is an error, or the end of both directions.
        guard count > 0 else { return abandon() }
        switch socket.read(into: UnsafeMutableRawBufferPointer(rebasing: host.readBuffer[..<count])) {
        case .bytes(let count): received(UnsafeRawBufferPointer(rebasing: host.readBuffer[..<count]))
        case .wouldBlock: break
        case .endOfStream: peerEnded()
        case .failed: abandon()
        }
    }

    /// What the connection would read now: a peer that does not read its answers waits in the kernel with the rest.
    private var readableBytes: Int {
        switch state {
        case .lingering: host.readBuffer.count
        case .reading: output.isEmpty ? limits.maximumPipelinedBytes : 0
        case .waiting: max(0, limits.maximumPipelinedBytes - input.count)
        }
    }

    private func received(_ bytes: UnsafeRawBufferPointer) {
        guard state != .lingering else { return }
        hasReceived = true
        if mayProcess, input.isEmpty {
            // The usual case: a whole request in one read is parsed where it lies.
            let used = process(bytes)
            if isWatching, used < bytes.count { input.append(contentsOf: bytes[used...]) }
        } else {
            input.append(contentsOf: bytes)
        }
        pump()
    }

    /// Answers are written before further requests are taken, so that what is owed to a peer stays small.
    private var mayProcess: Bool { state == .reading && !isClosing && output.isEmpty && isWatching }

    /// Takes requests and writes answers until nothing moves.
    private func pump() {
        while isWatching {
            if mayProcess, !input.isEmpty { processInput() }
            guard isWatching, !output.isEmpty else { break }
            // Requests that waited behind an answer that came later are next.
            guard flush(), mayProcess, !input.isEmpty else { break }
        }
        guard isWatching, state != .lingering else { return }
        watchWritability(!output.isEmpty)
        watchReadability(!hasPeerEnded && readableBytes > 0)
        if output.isEmpty, state == .reading {
            if isClosing { return linger() }
            if hasPeerEnded { return disconnect() }
        }
        settle()
    }

    /// Takes what it can out of the input; what that frees is given back.
    private func processInput() {
        var bytes: [UInt8] = []
        swap(&bytes, &input)
        let used = bytes.withUnsafeBytes { process($0) }
        guard isWatching, used < bytes.count else { return }
        bytes.removeFirst(used)
        input = bytes
    }

    /// Handles the requests at the front of `bytes`, until one is incomplete or has to wait, or as many answers wait
    /// as may; returns how many bytes are used up.
    private func process(_ bytes: UnsafeRawBufferPointer) -> Int {
        isProcessing = true
        defer { isProcessing = false }
        var used = 0
        while state == .reading, !isClosing, isWatching, used < bytes.count,
            output.count < limits.maximumWaitingAnswerBytes
        {
            if bodyBytesLeft > 0 {
                used += takeBody(UnsafeRawBufferPointer(rebasing: bytes[used...]))
                continue
            }
            let rest = UnsafeRawBufferPointer(rebasing: bytes[used...])
            switch HttpRequestHead.parse(rest, maximumBytes: limits.maximumHeaderBytes, scanner: &scanner) {
            case .incomplete:
                timeRequest()
                return used
            case .failed(let error):
                fieldsOfEveryAnswer = handler.fieldsOfEveryAnswer(to: nil)
                refuse(error.status, limits.detail(of: error))
                return bytes.count
            case .complete(let head):
                used += head.headBytes
                begin(head)
            }
        }
        return used
    }

    private func begin(_ head: HttpRequestHead) {
        scanner = HttpHeadScanner()
        isTimingRequest = false
        fieldsOfEveryAnswer = handler.fieldsOfEveryAnswer(to: head)
        isHead = head.method == .head
        guard head.contentLengthBytes <= limits.maximumBodyBytes else {
            return refuse(.contentTooLarge, "the body is over \(limits.maximumBodyBytes) bytes")
        }
        guard head.expectation != .unknown else {
            return refuse(.expectationFailed, "the only expectation that is met is 100-continue")
        }
        connectionOption = head.connectionOption
        bodyBytesLeft = head.contentLengthBytes
        let keptBytes = bodyBytesLeft > 0 ? handler.maximumBodyBytes(of: head) : 0
        guard keptBytes == 0 || bodyBytesLeft <= keptBytes else {
            return refuse(.contentTooLarge, "the body is over \(keptBytes) bytes")
        }
        let isContinueExpected = head.expectation == .continue && bodyBytesLeft > 0
        guard keptBytes > 0 else {
            // Answered without a 100, the peer may leave the body out or send it: nobody can tell (RFC 9110 10.1.1).
            if isContinueExpected { isLast = true }
            return hand(head)
        }
        if isContinueExpected { HttpResponse.appendContinue(to: &output) }
        incomplete = head
        timeRequest()
    }

    private func hand(_ head: HttpRequestHead) {
        state = .waiting
        places.file(self, nil)
        handler.handle(head, on: self)
    }

    /// Keeps or skips what is there of a body; returns how much that is.
    private func takeBody(_ bytes: UnsafeRawBufferPointer) -> Int {
        let count = min(bodyBytesLeft, bytes.count)
        bodyBytesLeft -= count
        guard let head = incomplete else {
            if bodyBytesLeft == 0 { awaitRequest() }
            return count
        }
        requestBody.append(contentsOf: bytes[..<count])
        if bodyBytesLeft == 0 {
            incomplete = nil
            isTimingRequest = false
            hand(head)
        }
        return count
    }

    private func refuse(_ status: HttpStatus, _ detail: String) {
        isClosing = true
        handler.refused(status, detail, on: self)
        HttpResponse.append(
            status, fields: [Answer.json, Answer.noStore, Answer.detail(detail)] + fieldsOfEveryAnswer,
            body: Answer.body("\(status.reasonPhrase)"), omitsBody: isHead, connection: .close, date: host.dateLine,
            to: &output)
    }

    // MARK: Writing

    override func socketIsWritable() { pump() }

    /// Writes what the socket takes; returns whether everything is out.
    private func flush() -> Bool {
        switch output.withUnsafeBytes({ socket.write($0) }) {
        // A connection that waits for its next request has no buffer.
        case .bytes(let count): if count < output.count { output.removeFirst(count) } else { output = [] }
        case .wouldBlock: break
        case .endOfStream, .failed: abandon()
        }
        return isWatching && output.isEmpty
    }

    private func linger() {
        guard !hasPeerEnded else { return disconnect() }
        state = .lingering
        input = []
        socket.shutdownWriting()
        watchReadability(true)
        setDeadline(after: HttpConnection.lingerTime)
        settle()
    }

    // MARK: The end

    private func peerEnded() {
        hasPeerEnded = true
        switch state {
        case .lingering: disconnect()
        // It may have shut down its side only, and still wait for the answer. An upgrade makes no sense any more.
        case .waiting:
            watchReadability(false)
            onAbandon?(.peerEnded)
        case .reading: if output.isEmpty { disconnect() } else { watchReadability(false) }
        }
    }

    private func abandon() {
        onAbandon?(.peerEnded)
        disconnect()
    }

    override func deadlinePassed() {
        switch state {
        case .waiting: onAbandon?(.timeout)
        case .lingering: disconnect()
        case .reading:
            guard output.isEmpty, !input.isEmpty || incomplete != nil, !hasPeerEnded else { return disconnect() }
            if incomplete == nil { fieldsOfEveryAnswer = handler.fieldsOfEveryAnswer(to: nil) }
            refuse(.requestTimeout, "the request was not complete in time")
            pump()
        }
    }
}
