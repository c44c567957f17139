// The step from an address with a host's name to those that can be connected to. Loop-confined.

import EventLoop

/// Resolves the host of one address at a time, without blocking the loop.
final class AddressLookup {
    private let loop: EventLoop
    private let resolver: HostResolver
    /// Made with the first name: most addresses are numbers.
    private var answers: HostResolver.Answers?
    /// Distinguishes the answer that is awaited from those of look-ups that were given up.
    private var number = 0
    private var onAnswer: ((HostResolver.Outcome) -> Void)?

    init(on loop: EventLoop, resolver: HostResolver = .shared) {
        self.loop = loop
        self.resolver = resolver
    }

    deinit {
        guard let answers else { return }
        resolver.forget(answers)
        answers.close(on: loop)
    }

    /// Starts a look-up; one that is under way is given up.
    ///
    /// - Parameter onDone: called once unless it is given up; before this returns if there is nothing to
    ///   resolve.
    func start(
        _ address: RedisURL.Address, onDone: @escaping (Result<[RedisURL.Address], RedisFailure>) -> Void
    ) {
        loop.assertOnThread()
        cancel()
        guard case .tcp(let host, let port) = address, !HostAddresses.isNumeric(host) else {
            onDone(.success([address]))
            return
        }
        onAnswer = { onDone($0.map { $0.map { .tcp(host: $0, port: port) } }) }
        resolver.resolve(host, attempt: number, to: mailbox())
    }

    /// Gives up the look-up that is under way, if one is.
    func cancel() {
        number += 1
        guard onAnswer != nil else { return }
        onAnswer = nil
        if let answers { resolver.forget(answers) }
    }

    private func mailbox() -> HostResolver.Answers {
        if let answers { return answers }
        let answers = HostResolver.Answers()
        answers.open(on: loop) { [weak self] answers in
            for (number, answer) in answers { self?.answered(number, answer) }
        }
        self.answers = answers
        return answers
    }

    private func answered(_ number: Int, _ answer: HostResolver.Outcome) {
        loop.assertOnThread()
        guard number == self.number, let onAnswer else { return }
        self.onAnswer = nil
        onAnswer(answer)
    }
}
