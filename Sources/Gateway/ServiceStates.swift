// Which states of a node its service manager hears of, and when. Runs on the control loop.

import EventLoop

/// Tells a service manager (systemd, `Type=notify`) that the node is started, what it waits for, and that it stops.
final class ServiceStates {
    /// A node that has no Redis for so long counts as started all the same: it answers (503), it needs no restart
    /// when Redis comes, and what waits for its start must not wait for another machine.
    static let startPatience = Duration.seconds(10)

    private let socket: NotifySocket?
    private let log: Log
    private var startTimer: Timer?
    private var isStarted = false

    /// - Parameter socketName: the value of `NOTIFY_SOCKET`; nil or empty: nobody wants to know.
    init(socketName: String?, loop: EventLoop, log: Log) {
        self.log = log
        var socket: NotifySocket?
        if let socketName, !socketName.isEmpty {
            do throws(SystemError) {
                socket = try NotifySocket(socketName)
            } catch {
                log.warning("no word to the service manager", ["reason": "\(error)"])
            }
        }
        self.socket = socket
        guard socket != nil else { return }
        let timer = Timer(on: loop) { [unowned self] in self.start() }
        timer.start(after: ServiceStates.startPatience)
        startTimer = timer
    }

    /// Readiness has changed, or is told for the first time.
    ///
    /// - Parameter reasons: why the node is not ready; empty when it is.
    func readiness(_ reasons: [String]) {
        tell("STATUS=" + (reasons.isEmpty ? "ready" : "not ready: " + reasons.joined(separator: "; ")))
        if reasons.isEmpty { start() }
    }

    /// The drain begins.
    func stopping(clientCount: UInt64) {
        startTimer?.cancel()
        isStarted = true
        tell("STOPPING=1", "STATUS=draining \(clientCount) connections")
    }

    private func start() {
        guard !isStarted else { return }
        isStarted = true
        startTimer?.cancel()
        tell("READY=1")
    }

    private func tell(_ assignments: String...) {
        guard let socket else { return }
        do throws(SystemError) {
            try socket.send(assignments)
        } catch {
            log.warning("no word to the service manager", ["reason": "\(error)"])
        }
    }
}
