// The sign of life of a connection on which nothing else may happen for hours. Loop-confined.

import EventLoop

/// Asks for an echo four times in a silence timeout, and reports when nothing at all has come for three of
/// the four: nothing else shows that a server hangs or that a network swallows packets.
///
/// Questions without an answer are counted, not the time: a process that was stopped for longer than the
/// timeout has asked nothing in that time, and what came is still unread.
final class LinkEcho {
    /// After so many in vain the connection is dead.
    private static let maximumQuestionCount = 2
    /// And after so many even if no look at it was ever in time, as where the process gets hardly any.
    private static let maximumLateQuestionCount = 8

    private let interval: Duration
    private let ask: () -> Void
    private let hasNews: () -> Bool
    private let onSilence: (String) -> Void
    private var timer: Timer?
    private var lastHeard = MonotonicInstant.now
    private var dueAt = MonotonicInstant.now
    private var questionCount = 0

    /// - Parameters:
    ///   - silenceTimeout: a connection that has brought nothing for so long is dead.
    ///   - ask: asks the server for something that it answers.
    ///   - hasNews: whether something has come that the loop has not read yet.
    ///   - onSilence: the connection is dead, with the reason.
    init(
        silenceTimeout: Duration, loop: EventLoop, ask: @escaping () -> Void, hasNews: @escaping () -> Bool,
        onSilence: @escaping (String) -> Void
    ) {
        interval = silenceTimeout / 4
        self.ask = ask
        self.hasNews = hasNews
        self.onSilence = onSilence
        timer = Timer(on: loop) { [unowned self] in self.check() }
    }

    /// The connection begins.
    func start() {
        heard()
        wait()
    }

    /// Something came.
    func heard() {
        lastHeard = .now
        questionCount = 0
    }

    /// The connection has ended.
    func stop() {
        timer?.cancel()
    }

    private func wait() {
        dueAt = .now + interval
        timer?.start(after: interval)
    }

    private func check() {
        let now = MonotonicInstant.now
        let isFair = now - dueAt <= interval / 2 && !hasNews()
        guard questionCount < (isFair ? LinkEcho.maximumQuestionCount : LinkEcho.maximumLateQuestionCount)
        else {
            return onSilence("no answer for \((now - lastHeard).wholeMilliseconds) ms")
        }
        wait()
        // Counted before the question, which may fail and end the connection.
        questionCount += 1
        ask()
    }
}
