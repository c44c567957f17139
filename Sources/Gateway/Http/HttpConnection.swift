// One HTTP/1.1 connection: requests in, answers out, in order. Loop-confined.

import EventLoop
import HTTP
import Network

/// Reads requests one after the other, pipelined or not, and writes the handler's answers. What comes next
/// is up to `HttpConnectionState`; here are the socket, its buffers and the deadline.
final class HttpConnection: Connection {
    /// What the head of a request says about the answer.
    private struct AnswerForm {
        var omitsBody = false
        var option = HttpConnectionOption.implied
        let fields: [HttpResponseField]
    }

    /// The address of the TCP peer: the client, or a proxy.
    let peer: IPAddress
    private let limits: HttpLimits
    private unowned(unsafe) let places: HttpPlaces
    private unowned(unsafe) let handler: any HttpHandler
    private let onEnd: () -> Void
    private var state = HttpConnectionState()
    /// Bytes that are read and not yet used. While a request waits, what the peer has sent behind it.
    private(set) var input: [UInt8] = []
    private var scanner = HttpHeadScanner()
    /// Of the present request, once its head is read.
    private var form: AnswerForm?
    /// The body of the present request, if its handler wanted it.
    private(set) var requestBody: [UInt8] = []
    /// Answers that the socket does not take yet.
    private var output: [UInt8] = []
    /// Where it stands among those that wait for their peers.
    var place = HttpPlace()
    private var onAbandon: ((HttpConnectionState.AbandonReason) -> Void)?

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
        setDeadline(after: limits.requestTimeout)
        settle()
        if !bytes.isEmpty { bytes.withUnsafeBytes { received($0) } }
    }

    override func didEnd() {
        onAbandon = nil
        places.release(self)
        onEnd()
    }

    // MARK: For those who need its place

    /// A request lies in the kernel that is not read yet: its peer has not been idle.
    var hasRequestArrived: Bool {
        state.takesRequests && input.isEmpty && output.isEmpty && socket.hasUnreadBytes
    }

    /// Closes the connection for the sake of another one.
    func makeWay() { abandon() }

    /// Files the connection by what it waits for.
    private func settle() {
        guard isWatching else { return }
        places.file(self, state.waiting(hasInput: !input.isEmpty, owesOutput: !output.isEmpty))
    }

    // MARK: For handlers

    /// The handler will answer later: `onAbandon` runs if it must not any more, or has to do so at once.
    func wait(atMost timeout: Duration, onAbandon: @escaping (HttpConnectionState.AbandonReason) -> Void) {
        self.onAbandon = onAbandon
        setDeadline(after: timeout)
    }

    /// Answers the present request.
    ///
    /// - Parameters:
    ///   - isLast: the connection takes no further request.
    ///   - isEndless: no length is announced, as the answer to GET would end with the connection only.
    func respond(
        _ status: HttpStatus, fields: [HttpResponseField] = [], body: String = "", isLast: Bool = false,
        isEndless: Bool = false
    ) {
        host.loop.assertOnThread()
        guard isWatching, state.isAnswerDue, let form else { return }
        onAbandon = nil
        requestBody = []
        self.form = nil
        let closes = isLast || isEndless || state.isLast || places.isShort || form.option == .close
        // Answers are about tokens and states of a moment: a cache that keeps one lies to the next client
        // that asks.
        let caching = fields.contains { $0.isNamed("Cache-Control") } ? [] : [Answer.noStore]
        HttpResponse.append(
            status, fields: fields + caching + form.fields, body: body, omitsBody: form.omitsBody,
            isEndless: isEndless, connection: closes ? .close : form.option, date: host.dateLine, to: &output
        )
        // Within `process` the loop there takes the next request; an answer that came later does so here.
        let isLate = !state.isHandling
        perform(state.answered(closes: closes))
        if isLate { pump() }
    }

    /// Lets go of the socket, with the present request unanswered: both are the caller's from here on.
    func detach() -> Socket {
        host.loop.assertOnThread()
        precondition(isWatching && state.isAnswerDue, "only a connection whose request waits is handed on")
        stopWatching()
        didEnd()
        host.forget(self)
        return socket
    }

    /// Ends the connection after the answers that it owes; one that is new may still bring its request.
    func closeWhenIdle() {
        host.loop.assertOnThread()
        perform(state.closeWhenIdle(hasInput: !input.isEmpty, owesOutput: !output.isEmpty))
    }

    // MARK: What the state asks for

    private func perform(_ action: HttpConnectionState.Action) {
        switch action {
        case .nothing: break
        case .await(.request): setDeadline(after: limits.requestTimeout)
        case .await(.nextRequest): setDeadline(after: limits.keepAliveTimeout)
        case .await(.lastRequest): setDeadline(after: Limits.lingerTime)
        case .readBody(let sendsContinue):
            if sendsContinue { HttpResponse.appendContinue(to: &output) }
            setDeadline(after: limits.requestTimeout)
        case .hand(let head):
            places.file(self, nil)
            handler.handle(head, on: self)
            state.handled()
        case .refuse(let status, let detail): refuse(status, detail)
        case .stopReading: watchReadability(false)
        case .abandon(let reason):
            if reason == .peerEnded { watchReadability(false) }
            onAbandon?(reason)
        case .linger:
            input = []
            socket.shutdownWriting()
            watchReadability(true)
            setDeadline(after: Limits.lingerTime)
        case .disconnect: disconnect()
        }
    }

    private func refuse(_ status: HttpStatus, _ detail: String) {
        handler.refused(status, detail, on: self)
        let form = form ?? AnswerForm(fields: handler.fieldsOfEveryAnswer(to: nil))
        HttpResponse.append(
            status, fields: [Answer.json, Answer.noStore, Answer.detail(detail)] + form.fields,
            body: Answer.body("\(status.reasonPhrase)"), omitsBody: form.omitsBody, connection: .close,
            date: host.dateLine, to: &output)
    }

    // MARK: Reading

    override func socketIsReadable() {
        let count = readableBytes
        // Reading is not watched then: what is reported is an error, or the end of both directions.
        guard count > 0 else { return abandon() }
        switch socket.read(into: UnsafeMutableRawBufferPointer(rebasing: host.readBuffer[..<count])) {
        case .bytes(let count): received(UnsafeRawBufferPointer(rebasing: host.readBuffer[..<count]))
        case .wouldBlock: break
        case .endOfStream: perform(state.peerEnded(owesOutput: !output.isEmpty))
        case .failed: abandon()
        }
    }

    /// What the connection would read now: a peer that does not read its answers waits in the kernel with
    /// the rest.
    private var readableBytes: Int {
        switch state.phase {
        case .lingering: host.readBuffer.count
        case .handling, .waiting: max(0, Limits.httpPipelinedBytes - input.count)
        case .resting, .head, .body, .skipping, .finishing: output.isEmpty ? Limits.httpPipelinedBytes : 0
        }
    }

    private func received(_ bytes: UnsafeRawBufferPointer) {
        guard !state.isLingering else { return }
        state.received()
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
    private var mayProcess: Bool { state.takesRequests && output.isEmpty && isWatching }

    /// Takes requests and writes answers until nothing moves.
    private func pump() {
        while isWatching {
            if mayProcess, !input.isEmpty { processInput() }
            guard isWatching, !output.isEmpty else { break }
            // Requests that waited behind an answer that came later are next.
            guard flush(), mayProcess, !input.isEmpty else { break }
        }
        guard isWatching, !state.isLingering else { return }
        watchWritability(!output.isEmpty)
        watchReadability(!state.hasPeerEnded && readableBytes > 0)
        if output.isEmpty { perform(state.answersWritten()) }
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

    /// Handles the requests at the front of `bytes`, until one is incomplete or has to wait, or as many
    /// answers wait as may; returns how many bytes are used up.
    private func process(_ bytes: UnsafeRawBufferPointer) -> Int {
        var used = 0
        while state.takesRequests, isWatching, used < bytes.count,
            output.count < Limits.httpWaitingAnswerBytes
        {
            let rest = UnsafeRawBufferPointer(rebasing: bytes[used...])
            if let part = state.bodyArrived(rest.count) {
                if part.isKept { requestBody.append(contentsOf: rest[..<part.bytes]) }
                used += part.bytes
                perform(part.action)
                continue
            }
            switch HttpRequestHead.parse(rest, maximumBytes: limits.maximumHeaderBytes, scanner: &scanner) {
            case .incomplete:
                perform(state.headIncomplete())
                return used
            case .failed(let error):
                perform(state.refuse(error.status, limits.detail(of: error)))
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
        form = AnswerForm(
            omitsBody: head.method == .head, option: head.connectionOption,
            fields: handler.fieldsOfEveryAnswer(to: head))
        let keptBytes = head.contentLengthBytes > 0 ? handler.maximumBodyBytes(of: head) : 0
        perform(
            state.headComplete(
                head, maximumBodyBytes: max(Limits.httpBodyBytes, keptBytes), keptBytes: keptBytes))
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

    // MARK: The end

    private func abandon() {
        onAbandon?(.peerEnded)
        disconnect()
    }

    override func deadlinePassed() {
        let action = state.deadlinePassed(hasInput: !input.isEmpty, owesOutput: !output.isEmpty)
        perform(action)
        if case .refuse = action { pump() }
    }
}
