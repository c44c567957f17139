// What an HTTP connection is at, and what it does next. Pure: socket, buffers and deadlines are the
// connection's.

import HTTP

/// The state of a connection that takes requests one after the other. Each event returns what the connection
/// has to do; an event that does not fit the phase does nothing.
///
///     head, resting   head incomplete ──▶ head
///                     head complete ──▶ body (a handler wants one), handling, or finishing (refused)
///     body            body complete ──▶ handling
///     handling        handler returned ──▶ waiting
///     handling, waiting   answered ──▶ resting, skipping (a body is still to come), or finishing (the last answer)
///     skipping        body complete ──▶ resting
///     head, body      deadline ──▶ finishing (refused)
///     finishing       answers written ──▶ lingering
///
/// A connection begins in `head`, with nothing of one: it has as long for its first request as for any. It
/// ends by an action, whatever its phase.
struct HttpConnectionState {
    enum Phase {
        /// The peer may take its time until its next request.
        case resting
        /// The deadline is that of the request that is coming; it stands, however many pieces that comes in.
        case head
        /// The body that the handler of a request wants.
        case body(HttpRequestHead, bytesLeft: Int)
        /// The handler is being called. Behind the request comes a body without use, unless 0 bytes are
        /// left.
        case handling(bytesLeft: Int)
        /// The handler answers later.
        case waiting(bytesLeft: Int)
        /// The body of a request that is answered already.
        case skipping(bytesLeft: Int)
        /// No further request is taken; the last answer is on its way out.
        case finishing
        /// Our side is shut down. What the peer still sends is read and dropped, because closing with unread
        /// bytes would reset the connection and take the answer along.
        case lingering
    }

    enum Action {
        case nothing
        /// Set the deadline by what is waited for.
        case await(Awaited)
        /// Keep what comes of a body, in a request's time.
        case readBody(sendsContinue: Bool)
        case hand(HttpRequestHead)
        /// Make the last answer, without the handler.
        case refuse(HttpStatus, String)
        case stopReading
        /// The handler must answer at once, or not at all.
        case abandon(AbandonReason)
        case linger
        case disconnect
    }

    /// Why a request that waits can no longer be answered by its handler.
    enum AbandonReason { case timeout, peerEnded }

    enum Awaited { case request, nextRequest, lastRequest }

    /// What the connection has seen so far.
    private enum Past { case nothing, bytes, answer }

    private(set) var phase = Phase.head
    private var past = Past.nothing
    /// The next answer is the last.
    private(set) var isLast = false
    /// The peer sends no more. It may still read.
    private(set) var hasPeerEnded = false

    // MARK: Questions

    /// More of a request is of use.
    var takesRequests: Bool {
        switch phase {
        case .resting, .head, .body, .skipping: true
        case .handling, .waiting, .finishing, .lingering: false
        }
    }

    /// A request is complete, and its handler owes the answer.
    var isAnswerDue: Bool {
        switch phase {
        case .handling, .waiting: true
        case .resting, .head, .body, .skipping, .finishing, .lingering: false
        }
    }

    /// The handler is being called: what it answers now is followed by what comes next without its doing.
    var isHandling: Bool { if case .handling = phase { true } else { false } }

    var isLingering: Bool { if case .lingering = phase { true } else { false } }

    /// What a place is kept for; nil is the gateway's own answer.
    ///
    /// - Parameters:
    ///   - hasInput: bytes are read and not yet used.
    ///   - owesOutput: the socket has not taken all answers.
    func waiting(hasInput: Bool, owesOutput: Bool) -> HttpPlaces.Waiting? {
        switch phase {
        case .handling, .waiting: nil
        case .resting, .head: hasInput || owesOutput ? .unsettled : past == .answer ? .resting : .silent
        case .body, .skipping, .finishing, .lingering: .unsettled
        }
    }

    // MARK: Requests

    mutating func received() {
        if past == .nothing { past = .bytes }
    }

    /// A head has begun.
    mutating func headIncomplete() -> Action {
        guard case .resting = phase else { return .nothing }
        phase = .head
        return .await(.request)
    }

    /// - Parameters:
    ///   - maximumBodyBytes: the longest body that is even skipped.
    ///   - keptBytes: the longest body that the handler wants; 0 if it wants none.
    mutating func headComplete(_ head: HttpRequestHead, maximumBodyBytes: Int, keptBytes: Int) -> Action {
        switch phase {
        case .resting, .head: break
        case .body, .handling, .waiting, .skipping, .finishing, .lingering: return .nothing
        }
        let bytes = head.contentLengthBytes
        guard bytes <= maximumBodyBytes else {
            return refuse(.contentTooLarge, "the body is over \(maximumBodyBytes) bytes")
        }
        guard head.expectation != .unknown else {
            return refuse(.expectationFailed, "the only expectation that is met is 100-continue")
        }
        let isContinueExpected = head.expectation == .continue && bytes > 0
        guard bytes > 0, keptBytes > 0 else {
            // Answered without a 100, the peer may leave the body out or send it: there is no way to know
            // (RFC 9110 10.1.1).
            if isContinueExpected { isLast = true }
            phase = .handling(bytesLeft: bytes)
            return .hand(head)
        }
        guard bytes <= keptBytes else {
            return refuse(.contentTooLarge, "the body is over \(keptBytes) bytes")
        }
        phase = .body(head, bytesLeft: bytes)
        return .readBody(sendsContinue: isContinueExpected)
    }

    /// Bytes are there that belong to a body, if one is coming.
    ///
    /// - Returns: how many of them do, and whether they are kept; nil if no body is coming.
    mutating func bodyArrived(_ availableBytes: Int) -> (bytes: Int, isKept: Bool, action: Action)? {
        switch phase {
        case .body(let head, let bytesLeft):
            guard availableBytes >= bytesLeft else {
                phase = .body(head, bytesLeft: bytesLeft - availableBytes)
                return (availableBytes, true, .nothing)
            }
            phase = .handling(bytesLeft: 0)
            return (bytesLeft, true, .hand(head))
        case .skipping(let bytesLeft):
            guard availableBytes >= bytesLeft else {
                phase = .skipping(bytesLeft: bytesLeft - availableBytes)
                return (availableBytes, false, .nothing)
            }
            phase = .resting
            return (bytesLeft, false, .await(isLast ? .lastRequest : .nextRequest))
        case .resting, .head, .handling, .waiting, .finishing, .lingering: return nil
        }
    }

    /// The peer's request cannot be served.
    mutating func refuse(_ status: HttpStatus, _ detail: String) -> Action {
        guard takesRequests else { return .nothing }
        phase = .finishing
        return .refuse(status, detail)
    }

    // MARK: Answers

    /// The handler has returned.
    mutating func handled() {
        if case .handling(let bytesLeft) = phase { phase = .waiting(bytesLeft: bytesLeft) }
    }

    /// - Parameter closes: the answer says that the connection ends.
    mutating func answered(closes: Bool) -> Action {
        let bytesLeft: Int
        switch phase {
        case .handling(let left), .waiting(let left): bytesLeft = left
        case .resting, .head, .body, .skipping, .finishing, .lingering: return .nothing
        }
        past = .answer
        phase = closes ? .finishing : bytesLeft > 0 ? .skipping(bytesLeft: bytesLeft) : .resting
        return .await(bytesLeft > 0 ? .request : .nextRequest)
    }

    /// The socket has taken all answers there are.
    mutating func answersWritten() -> Action {
        switch phase {
        case .handling, .waiting, .lingering: return .nothing
        case .resting, .head, .body, .skipping, .finishing: break
        }
        if hasPeerEnded { return .disconnect }
        guard case .finishing = phase else { return .nothing }
        phase = .lingering
        return .linger
    }

    // MARK: The end

    /// The peer has shut down its side, or both.
    mutating func peerEnded(owesOutput: Bool) -> Action {
        hasPeerEnded = true
        switch phase {
        case .lingering: return .disconnect
        // It may still wait for the answer. An upgrade makes no sense any more.
        case .handling, .waiting: return .abandon(.peerEnded)
        case .resting, .head, .body, .skipping, .finishing: return owesOutput ? .stopReading : .disconnect
        }
    }

    mutating func deadlinePassed(hasInput: Bool, owesOutput: Bool) -> Action {
        let hasBegun: Bool
        switch phase {
        case .handling, .waiting: return .abandon(.timeout)
        case .head: hasBegun = hasInput
        case .body: hasBegun = true
        case .resting, .skipping, .finishing, .lingering: hasBegun = false
        }
        guard hasBegun, !owesOutput, !hasPeerEnded else { return .disconnect }
        return refuse(.requestTimeout, "the request was not complete in time")
    }

    /// The gateway wants the connection to end after the answers that it owes. One that is new may still
    /// bring its request, and one that is sending a body may do so to its end: cut off, it would lose the
    /// answer.
    mutating func closeWhenIdle(hasInput: Bool, owesOutput: Bool) -> Action {
        isLast = true
        switch phase {
        case .body, .handling, .waiting, .skipping, .lingering: return .nothing
        case .resting, .head, .finishing: break
        }
        guard !hasInput, !owesOutput else { return .nothing }
        return past == .nothing ? .await(.lastRequest) : .disconnect
    }
}
