// Which states of a node its service manager hears of, and when. Runs on the control loop.

import EventLoop

/// Tells a service manager (systemd, `Type=notify`) that the node is started, what it waits for, and that it stops.
final class ServiceStates {
    /// A node that has no Redis for so long counts as started all the same: it answers (503), it needs no restart
    /// when Redis comes, and what waits for its start must not wait for another machine.
    static let startPatience = Duration.seconds(10)

    /// The pause before what a full queue did not take is sent again.
    private static let retryPause = Duration.milliseconds(100)

    private let socket: NotifySocket?
    private let log: Log
    private var startTimer: Timer?
    private var retryTimer: Timer?
    private var isStarted = false
    /// What is still to be sent, by name: a newer state takes the place of an older one.
    private var unsent: [(name: String, value: String)] = []

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
        retryTimer = Timer(on: loop) { [unowned self] in self.send() }
    }

    /// Readiness has changed, or is told for the first time.
    ///
    /// - Parameter reasons: why the node is not ready; empty when it is.
    func readiness(_ reasons: [String]) {
        tell(("STATUS", reasons.isEmpty ? "ready" : "not ready: " + reasons.joined(separator: "; ")))
        if reasons.isEmpty { start() }
    }

    /// The drain begins.
    func stopping(clientCount: UInt64) {
        startTimer?.cancel()
        isStarted = true
        tell(("STOPPING", "1"), ("STATUS", "draining \(clientCount) connections"))
    }

    private func start() {
        guard !isStarted else { return }
        isStarted = true
        startTimer?.cancel()
        tell(("READY", "1"))
    }

    private func tell(_ states: (name: String, value: String)...) {
        guard socket != nil else { return }
        unsent.removeAll { old in states.contains { $0.name == old.name } }
        unsent += states
        send()
    }

    /// A manager that does not read, as while it is reloaded, gets the states when it reads again: a lost `READY=1`
    /// would end the service.
    private func send() {
        guard let socket, !unsent.isEmpty else { return }
        do throws(SystemError) {
            guard try socket.send(unsent.map { "\($0.name)=\($0.value)" }) else {
                retryTimer?.start(after: ServiceStates.retryPause)
                return
            }
        } catch {
            log.warning("no word to the service manager", ["reason": "\(error)"])
        }
        unsent = []
    }
}
