// The sign of life of a connection on which nothing else may happen for hours. Loop-confined.

import EventLoop

/// Asks for an echo four times in a silence timeout, and tells when nothing at all has come for three of the four: a
/// server that hangs, or a network that swallows packets, shows itself by nothing else.
final class LinkEcho {
    private let silenceTimeout: Duration
    private let ask: () -> Void
    private let onSilence: (String) -> Void
    private var timer: Timer?
    private var lastHeard = MonotonicInstant.now

    /// - Parameters:
    ///   - silenceTimeout: a connection that has brought nothing for so long is dead.
    ///   - ask: asks the server for something that it answers.
    ///   - onSilence: the connection is dead, with the reason.
    init(
        silenceTimeout: Duration, loop: EventLoop, ask: @escaping () -> Void,
        onSilence: @escaping (String) -> Void
    ) {
        self.silenceTimeout = silenceTimeout
        self.ask = ask
        self.onSilence = onSilence
        timer = Timer(on: loop, repeating: true) { [unowned self] in self.check() }
    }

    /// The connection begins.
    func start() {
        lastHeard = .now
        timer?.start(after: silenceTimeout / 4)
    }

    /// Something came.
    func heard() {
        lastHeard = .now
    }

    /// The connection has ended.
    func stop() {
        timer?.cancel()
    }

    private func check() {
        let silence = MonotonicInstant.now - lastHeard
        if silence >= silenceTimeout * 3 / 4 {
            onSilence("no answer for \(silence.wholeMilliseconds) ms")
        } else {
            ask()
        }
    }
}
