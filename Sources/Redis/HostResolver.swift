// Name resolution off the loops: getaddrinfo blocks, for seconds when a name server is away. Any thread.

import EventLoop
import Synchronization

/// Resolves host names on a few threads and posts the results.
///
/// A look-up that hangs holds up nothing: a question for the same name a moment later starts another one, and
/// an address that any of them finds answers all questions for the name. If many look-ups wait, a further
/// question shares the youngest, so that their number is bounded however long the name server is away.
package final class HostResolver: Sendable {
    /// Numeric addresses, at least one, or the resolver's message.
    typealias Outcome = Result<[String], RedisFailure>
    typealias Answers = Mailbox<(Int, Outcome)>

    /// Threads that look up at the same time. One look-up takes ten seconds at worst by the resolver's
    /// defaults, so that one more may begin each `sharingTime` for most of it.
    static let maximumLookupCount = 8
    /// A look-up that has begun so recently is as good as a new one.
    static let sharingTime = Duration.seconds(1)
    /// Questions that wait: every link has one at most, so it is only reached where one is at fault.
    static let maximumQuestionCount = 1_024

    /// The process's own.
    static let shared = HostResolver { HostAddresses.lookUp($0) }

    private struct Lookup {
        let host: String
        let startedAt: MonotonicInstant
    }

    private struct Question {
        let host: String
        let attempt: Int
        let answers: Answers
        /// Whose failure answers it; nil while it waits for a thread.
        var lookup: Int?
    }

    private struct State {
        var lookups: [Int: Lookup] = [:]
        var questions: [Question] = []
        var lastNumber = 0
    }

    private let state = Mutex(State())
    private let blockingLookUp: @Sendable (String) -> [String]

    /// - Parameter lookUp: blocks until the resolver has answered; without an address if it knows of no such name.
    init(lookUp: @escaping @Sendable (String) -> [String]) {
        blockingLookUp = lookUp
    }

    /// Look-ups that are under way.
    var lookupCount: Int { state.withLock { $0.lookups.count } }

    /// Starts a look-up whose outcome comes to `answers`, tagged with `attempt`. A question of the same
    /// asker that still waits is given up.
    func resolve(_ host: String, attempt: Int, to answers: Answers) {
        let number: Int? = state.withLock { state in
            state.questions.removeAll { $0.answers === answers }
            guard state.questions.count < HostResolver.maximumQuestionCount else {
                answers.post((attempt, .failure(.unavailable("too many look-ups"))))
                return nil
            }
            let (lookup, isNew) = HostResolver.lookup(for: host, &state)
            state.questions.append(Question(host: host, attempt: attempt, answers: answers, lookup: lookup))
            return isNew ? lookup : nil
        }
        if let number { start(number, host) }
    }

    /// The answer is no longer awaited.
    func forget(_ answers: Answers) {
        state.withLock { state in state.questions.removeAll { $0.answers === answers } }
    }

    /// The look-up that a question waits for; nil while there is no thread for one.
    private static func lookup(for host: String, _ state: inout State) -> (number: Int?, isNew: Bool) {
        let youngest = state.lookups.filter { $0.value.host == host }.max { $0.key < $1.key }
        let isFull = state.lookups.count >= maximumLookupCount
        if let youngest, isFull || .now - youngest.value.startedAt < sharingTime {
            return (youngest.key, false)
        }
        guard !isFull else { return (nil, false) }
        state.lastNumber += 1
        state.lookups[state.lastNumber] = Lookup(host: host, startedAt: .now)
        return (state.lastNumber, true)
    }

    private func start(_ number: Int, _ host: String) {
        do {
            try DetachedThread.run { [self] in
                let addresses = blockingLookUp(host)
                ended(number, host, addresses.isEmpty ? HostResolver.unknown(host) : .success(addresses))
            }
        } catch {
            ended(number, host, .failure(.unavailable("\(error)")))
        }
    }

    private func ended(_ number: Int, _ host: String, _ outcome: Outcome) {
        let isFound = if case .success = outcome { true } else { false }
        let next: (number: Int, host: String)? = state.withLock { state in
            state.lookups[number] = nil
            state.questions.removeAll { question in
                let isAnswered = isFound ? question.host == host : question.lookup == number
                if isAnswered { question.answers.post((question.attempt, outcome)) }
                return isAnswered
            }
            // The newest question first: those before it may have been given up.
            guard let waiting = state.questions.last(where: { $0.lookup == nil }) else { return nil }
            let (lookup, isNew) = HostResolver.lookup(for: waiting.host, &state)
            guard let lookup else { return nil }
            for index in state.questions.indices
            where state.questions[index].lookup == nil && state.questions[index].host == waiting.host {
                state.questions[index].lookup = lookup
            }
            return isNew ? (lookup, waiting.host) : nil
        }
        if let next { start(next.number, next.host) }
    }

    private static func unknown(_ host: String) -> Outcome {
        .failure(.unavailable("cannot resolve host name \(host)"))
    }
}
