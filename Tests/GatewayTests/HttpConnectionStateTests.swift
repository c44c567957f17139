import HTTP
import Testing

@testable import Gateway

/// Every event in every phase, before and after the peer has ended its side.
@Suite struct HttpConnectionStateTests {
    /// Where nothing is said of bodies there is none; a body is 10 bytes long.
    enum Place: CaseIterable {
        case silent, head, resting, body, handling, handlingWithBody, waiting, waitingWithBody, skipping,
            finishing
        case lingering
    }

    enum Event: CaseIterable {
        case received, headIncomplete, headWithoutBody, headOfWantedBody, headOfWantedBodyExpectingContinue
        case headOfUnwantedBody, headOfUnwantedBodyExpectingContinue, headOfWantedBodyTooLong,
            headOfBodyTooLong
        case headWithUnknownExpectation, partOfBody, endOfBody, endOfBodyAndMore, malformed, handled,
            answered
        case answeredLast, answersWritten, peerEnded, peerEndedBeforeItHasRead, deadline, deadlineWithInput
        case deadlineWithOutput, closeWhenIdle, closeWhenIdleWithInput, closeWhenIdleWithOutput
    }

    private static let maximumBodyBytes = 20
    private static let wantedBytes = 15

    private static func head(_ fields: String = "") -> HttpRequestHead {
        let text = Array("POST / HTTP/1.1\r\nHost: a\r\n\(fields)\r\n".utf8)
        guard
            case .complete(let head) = text.withUnsafeBytes({
                HttpRequestHead.parse($0, maximumBytes: 1_000)
            }
            )
        else { preconditionFailure("a head of the test's own") }
        return head
    }

    private static func complete(_ state: inout HttpConnectionState, _ fields: String = "", kept: Int = 0)
        -> String
    {
        name(state.headComplete(head(fields), maximumBodyBytes: maximumBodyBytes, keptBytes: kept))
    }

    private static func arrive(_ state: inout HttpConnectionState, _ bytes: Int) -> String {
        guard let part = state.bodyArrived(bytes) else { return "nothing" }
        return "\(part.isKept ? "keep" : "drop") \(part.bytes), \(name(part.action))"
    }

    /// - Returns: the action in words.
    private static func send(_ event: Event, to state: inout HttpConnectionState) -> String {
        let ten = "Content-Length: 10\r\n"
        let expecting = "Expect: 100-continue\r\n"
        switch event {
        case .received: state.received()
        case .headIncomplete: return name(state.headIncomplete())
        case .headWithoutBody: return complete(&state, kept: wantedBytes)
        case .headOfWantedBody: return complete(&state, ten, kept: wantedBytes)
        case .headOfWantedBodyExpectingContinue: return complete(&state, ten + expecting, kept: wantedBytes)
        case .headOfUnwantedBody: return complete(&state, ten)
        case .headOfUnwantedBodyExpectingContinue: return complete(&state, ten + expecting)
        case .headOfWantedBodyTooLong: return complete(&state, "Content-Length: 16\r\n", kept: wantedBytes)
        case .headOfBodyTooLong: return complete(&state, "Content-Length: 21\r\n")
        case .headWithUnknownExpectation: return complete(&state, "Expect: more\r\n")
        case .partOfBody: return arrive(&state, 4)
        case .endOfBody: return arrive(&state, 10)
        case .endOfBodyAndMore: return arrive(&state, 11)
        case .malformed: return name(state.refuse(.badRequest, "malformed"))
        case .handled: state.handled()
        case .answered: return name(state.answered(closes: false))
        case .answeredLast: return name(state.answered(closes: true))
        case .answersWritten: return name(state.answersWritten())
        case .peerEnded: return name(state.peerEnded(owesOutput: false))
        case .peerEndedBeforeItHasRead: return name(state.peerEnded(owesOutput: true))
        case .deadline: return name(state.deadlinePassed(hasInput: false, owesOutput: false))
        case .deadlineWithInput: return name(state.deadlinePassed(hasInput: true, owesOutput: false))
        case .deadlineWithOutput: return name(state.deadlinePassed(hasInput: true, owesOutput: true))
        case .closeWhenIdle: return name(state.closeWhenIdle(hasInput: false, owesOutput: false))
        case .closeWhenIdleWithInput: return name(state.closeWhenIdle(hasInput: true, owesOutput: false))
        case .closeWhenIdleWithOutput: return name(state.closeWhenIdle(hasInput: false, owesOutput: true))
        }
        return "nothing"
    }

    private static func name(_ action: HttpConnectionState.Action) -> String {
        switch action {
        case .nothing: "nothing"
        case .await(let awaited): "await \(awaited)"
        case .readBody(let sendsContinue): sendsContinue ? "read body, send continue" : "read body"
        case .hand: "hand"
        case .refuse(let status, _): "refuse \(status.rawValue)"
        case .stopReading: "stop reading"
        case .abandon(let reason): "abandon \(reason)"
        case .linger: "linger"
        case .disconnect: "disconnect"
        }
    }

    private static func name(_ phase: HttpConnectionState.Phase) -> String {
        switch phase {
        case .resting: "resting"
        case .head: "head"
        case .body(_, let bytesLeft): "body \(bytesLeft)"
        case .handling(let bytesLeft): "handling \(bytesLeft)"
        case .waiting(let bytesLeft): "waiting \(bytesLeft)"
        case .skipping(let bytesLeft): "skipping \(bytesLeft)"
        case .finishing: "finishing"
        case .lingering: "lingering"
        }
    }

    private static func state(in place: Place) -> HttpConnectionState {
        let steps: [Event] =
            switch place {
            case .silent: []
            case .head: [.received]
            case .resting: [.received, .headWithoutBody, .answered]
            case .body: [.received, .headOfWantedBody]
            case .handling: [.received, .headWithoutBody]
            case .handlingWithBody: [.received, .headOfUnwantedBody]
            case .waiting: [.received, .headWithoutBody, .handled]
            case .waitingWithBody: [.received, .headOfUnwantedBody, .handled]
            case .skipping: [.received, .headOfUnwantedBody, .answered]
            case .finishing: [.received, .malformed]
            case .lingering: [.received, .malformed, .answersWritten]
            }
        var state = HttpConnectionState()
        for step in steps { _ = send(step, to: &state) }
        return state
    }

    private static func phase(of place: Place) -> String {
        switch place {
        case .silent, .head: "head"
        case .resting: "resting"
        case .body: "body 10"
        case .handling: "handling 0"
        case .handlingWithBody: "handling 10"
        case .waiting: "waiting 0"
        case .waitingWithBody: "waiting 10"
        case .skipping: "skipping 10"
        case .finishing: "finishing"
        case .lingering: "lingering"
        }
    }

    /// Action and phase that an event brings about; nil if it is ignored.
    private static func outcome(_ place: Place, _ event: Event, hasPeerEnded: Bool) -> (String, String)? {
        let phase = phase(of: place)
        let isBetweenRequests = place == .silent || place == .head || place == .resting
        let isAnswerDue = [.handling, .handlingWithBody, .waiting, .waitingWithBody].contains(place)
        let hasBody = place == .handlingWithBody || place == .waitingWithBody
        switch event {
        case .received: return nil
        case .headIncomplete: return place == .resting ? ("await request", "head") : nil

        case .headWithoutBody where isBetweenRequests: return ("hand", "handling 0")
        case .headOfWantedBody where isBetweenRequests: return ("read body", "body 10")
        case .headOfWantedBodyExpectingContinue where isBetweenRequests:
            return ("read body, send continue", "body 10")
        case .headOfUnwantedBody where isBetweenRequests,
            .headOfUnwantedBodyExpectingContinue where isBetweenRequests:
            return ("hand", "handling 10")
        case .headOfWantedBodyTooLong where isBetweenRequests, .headOfBodyTooLong where isBetweenRequests:
            return ("refuse 413", "finishing")
        case .headWithUnknownExpectation where isBetweenRequests: return ("refuse 417", "finishing")
        case .headWithoutBody, .headOfWantedBody, .headOfWantedBodyExpectingContinue, .headOfUnwantedBody,
            .headOfUnwantedBodyExpectingContinue, .headOfWantedBodyTooLong, .headOfBodyTooLong,
            .headWithUnknownExpectation:
            return nil

        case .partOfBody where place == .body: return ("keep 4, nothing", "body 6")
        case .endOfBody where place == .body, .endOfBodyAndMore where place == .body:
            return ("keep 10, hand", "handling 0")
        case .partOfBody where place == .skipping: return ("drop 4, nothing", "skipping 6")
        case .endOfBody where place == .skipping, .endOfBodyAndMore where place == .skipping:
            return ("drop 10, await nextRequest", "resting")
        case .partOfBody, .endOfBody, .endOfBodyAndMore: return nil
        case .malformed:
            return isBetweenRequests || place == .body || place == .skipping
                ? ("refuse 400", "finishing") : nil

        case .handled:
            return place == .handling
                ? ("nothing", "waiting 0") : place == .handlingWithBody ? ("nothing", "waiting 10") : nil
        case .answered:
            guard isAnswerDue else { return nil }
            return hasBody ? ("await request", "skipping 10") : ("await nextRequest", "resting")
        case .answeredLast:
            return isAnswerDue ? ("await \(hasBody ? "request" : "nextRequest")", "finishing") : nil
        case .answersWritten:
            if isAnswerDue || place == .lingering { return nil }
            if hasPeerEnded { return ("disconnect", phase) }
            return place == .finishing ? ("linger", "lingering") : nil

        case .peerEnded, .peerEndedBeforeItHasRead:
            if isAnswerDue { return ("abandon peerEnded", phase) }
            return (event == .peerEnded || place == .lingering ? "disconnect" : "stop reading", phase)
        case .deadline, .deadlineWithInput, .deadlineWithOutput:
            if isAnswerDue { return ("abandon timeout", phase) }
            let hasBegun =
                place == .body || (place == .silent || place == .head) && event == .deadlineWithInput
            guard hasBegun, event != .deadlineWithOutput, !hasPeerEnded else { return ("disconnect", phase) }
            return ("refuse 408", "finishing")
        case .closeWhenIdle:
            if isAnswerDue || [.body, .skipping, .lingering].contains(place) { return nil }
            return (place == .silent ? "await lastRequest" : "disconnect", phase)
        case .closeWhenIdleWithInput, .closeWhenIdleWithOutput: return nil
        }
    }

    @Test(arguments: [false, true]) func everyEventInEveryPhaseDoesWhatTheTableSays(hasPeerEnded: Bool) {
        for place in Place.allCases {
            for event in Event.allCases {
                var state = HttpConnectionStateTests.state(in: place)
                if hasPeerEnded { _ = state.peerEnded(owesOutput: true) }
                let phase = HttpConnectionStateTests.phase(of: place)
                #expect(HttpConnectionStateTests.name(state.phase) == phase)
                let action = HttpConnectionStateTests.send(event, to: &state)
                let outcome = HttpConnectionStateTests.outcome(place, event, hasPeerEnded: hasPeerEnded)
                #expect(action == outcome?.0 ?? "nothing", "\(event) while \(place)")
                #expect(
                    HttpConnectionStateTests.name(state.phase) == outcome?.1 ?? phase,
                    "\(event) while \(place)")
                #expect(
                    state.hasPeerEnded
                        == (hasPeerEnded || event == .peerEnded || event == .peerEndedBeforeItHasRead))
            }
        }
    }

    @Test(arguments: Place.allCases) func whatIsOfUseFollowsFromThePhase(place: Place) {
        let state = HttpConnectionStateTests.state(in: place)
        let isAnswerDue = [.handling, .handlingWithBody, .waiting, .waitingWithBody].contains(place)
        let isOver = place == .finishing || place == .lingering
        #expect(state.isAnswerDue == isAnswerDue)
        #expect(state.isHandling == (place == .handling || place == .handlingWithBody))
        #expect(state.isLingering == (place == .lingering))
        #expect(state.takesRequests == !(isAnswerDue || isOver))
    }

    @Test(arguments: Place.allCases) func placeIsKeptForWhatIsAwaited(place: Place) {
        let state = HttpConnectionStateTests.state(in: place)
        let idle: HttpPlaces.Waiting? =
            switch place {
            case .silent, .head: .silent
            case .resting: .resting
            case .handling, .handlingWithBody, .waiting, .waitingWithBody: nil
            case .body, .skipping, .finishing, .lingering: .unsettled
            }
        #expect(state.waiting(hasInput: false, owesOutput: false) == idle)
        let busy = idle.map { _ in HttpPlaces.Waiting.unsettled }
        for (hasInput, owesOutput) in [(true, false), (false, true), (true, true)] {
            #expect(state.waiting(hasInput: hasInput, owesOutput: owesOutput) == busy)
        }
    }

    /// Once it is to close, no answer is other than the last, whatever the phase was.
    @Test(arguments: Place.allCases) func nextAnswerIsTheLastWhenTheGatewayCloses(place: Place) {
        var state = HttpConnectionStateTests.state(in: place)
        #expect(!state.isLast)
        _ = state.closeWhenIdle(hasInput: true, owesOutput: true)
        #expect(state.isLast)
    }

    /// A peer that is sending a body when the gateway closes gets its answer, and no more than that.
    @Test func bodyIsReadToItsEndWhenTheGatewayCloses() {
        var wanted = HttpConnectionStateTests.state(in: .body)
        _ = wanted.closeWhenIdle(hasInput: false, owesOutput: false)
        #expect(HttpConnectionStateTests.arrive(&wanted, 10) == "keep 10, hand")
        #expect(wanted.isLast)
        var skipped = HttpConnectionStateTests.state(in: .skipping)
        _ = skipped.closeWhenIdle(hasInput: false, owesOutput: false)
        #expect(HttpConnectionStateTests.arrive(&skipped, 10) == "drop 10, await lastRequest")
    }

    /// There is no way to know whether a body follows that was neither asked for nor refused (RFC 9110 section
    /// 10.1.1).
    @Test(arguments: Event.allCases) func onlyAnUnansweredExpectationMakesTheAnswerTheLast(event: Event) {
        var state = HttpConnectionState()
        _ = HttpConnectionStateTests.send(event, to: &state)
        let closes: [Event] = [
            .headOfUnwantedBodyExpectingContinue, .closeWhenIdle, .closeWhenIdleWithInput,
            .closeWhenIdleWithOutput,
        ]
        #expect(state.isLast == closes.contains(event))
    }
}
