// Which states of a node its service manager gets, and when. Runs on the control loop.

import EventLoop

/// Reports to a service manager (systemd, `Type=notify`) that the node has started, what it waits for, and
/// that it stops.
final class ServiceStates {
    private let socket: NotifySocket?
    private let log: Log
    private var startTimer: Timer?
    private var retryTimer: Timer?
    private var isStarted = false
    /// States still to send, by name: a newer state replaces an older one.
    private var unsent: [(name: String, value: String)] = []

    /// - Parameter socketName: the value of `NOTIFY_SOCKET`; nil or empty if there is no manager.
    init(socketName: String?, loop: EventLoop, log: Log) {
        self.log = log
        var socket: NotifySocket?
        if let socketName, !socketName.isEmpty {
            do throws(SystemError) {
                socket = try NotifySocket(socketName)
            } catch {
                log.warning("service manager not notified", ["reason": "\(error)"])
            }
        }
        self.socket = socket
        guard socket != nil else { return }
        let timer = Timer(on: loop) { [unowned self] in self.start() }
        timer.start(after: Limits.serviceStartPatience)
        startTimer = timer
        retryTimer = Timer(on: loop) { [unowned self] in self.send() }
    }

    /// Readiness has changed, or is reported for the first time.
    ///
    /// - Parameter reasons: why the node is not ready; empty when it is.
    func readiness(_ reasons: [String]) {
        report(("STATUS", reasons.isEmpty ? "ready" : "not ready: " + reasons.joined(separator: "; ")))
        if reasons.isEmpty { start() }
    }

    /// The drain begins.
    func stopping(clientCount: UInt64) {
        startTimer?.cancel()
        isStarted = true
        report(("STOPPING", "1"), ("STATUS", "draining \(clientCount) connections"))
    }

    private func start() {
        guard !isStarted else { return }
        isStarted = true
        startTimer?.cancel()
        report(("READY", "1"))
    }

    private func report(_ states: (name: String, value: String)...) {
        guard socket != nil else { return }
        unsent.removeAll { old in states.contains { $0.name == old.name } }
        unsent += states
        send()
    }

    /// A manager that does not read, as during its reload, gets the states once it reads again: a lost
    /// `READY=1` would end the service.
    private func send() {
        guard let socket, !unsent.isEmpty else { return }
        do throws(SystemError) {
            guard try socket.send(unsent.map { "\($0.name)=\($0.value)" }) else {
                retryTimer?.start(after: Limits.serviceRetryPause)
                return
            }
        } catch {
            log.warning("service manager not notified", ["reason": "\(error)"])
        }
        unsent = []
    }
}
