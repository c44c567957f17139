// What all connections of one loop share. Loop-confined.

import EventLoop
import WebSocket

/// Keeps the connections of a loop alive, their deadlines, and the buffer into which each of them reads.
final class ConnectionHost {
    let loop: EventLoop
    let readBuffer: UnsafeMutableRawBufferPointer
    /// Where a connection lays out a control frame that leaves at once. Used up before another one may want
    /// it.
    let controlBuffer: UnsafeMutableRawBufferPointer
    private var wheel: DeadlineWheel<Connection>
    private var timer: Timer?
    /// Goes on in the next turn with deadlines that have come.
    private var continuation: Timer?
    private var date = DateField()

    /// - Parameter maximumDelay: the longest deadline that a connection will set.
    init(loop: EventLoop, maximumDelay: Duration) {
        self.loop = loop
        readBuffer = .allocate(byteCount: Limits.readBufferBytes, alignment: 64)
        controlBuffer = .allocate(byteCount: FrameHeader.maximumControlFrameBytes, alignment: 8)
        wheel = DeadlineWheel(maximumDelay: maximumDelay, now: .now)
        let timer = Timer(on: loop, repeating: true) { [unowned self] in self.tick() }
        timer.start(after: Limits.deadlineTick)
        self.timer = timer
        continuation = Timer(on: loop) { [unowned self] in self.tick() }
    }

    deinit {
        readBuffer.deallocate()
        controlBuffer.deallocate()
    }

    /// The Date field of an answer that is made now.
    var dateLine: [UInt8] { date.line(at: WallClock.unixMilliseconds) }

    /// Every connection that has a deadline: all of them, but for those that wait for nothing.
    var connections: [Connection] { wheel.entries }

    /// Keeps `connection` alive until `forget`.
    func adopt(_ connection: Connection) {
        loop.assertOnThread()
        _ = Unmanaged.passRetained(connection)
    }

    /// Balances `adopt`.
    func forget(_ connection: Connection) {
        loop.assertOnThread()
        wheel.remove(connection)
        Unmanaged.passUnretained(connection).release()
    }

    func setDeadline(_ connection: Connection, after delay: Duration) {
        loop.assertOnThread()
        wheel.set(connection, after: delay, now: .now)
    }

    private func tick() {
        let due = wheel.takeDue(now: .now, maximumCount: Limits.deadlineBatchCount)
        if due.count == Limits.deadlineBatchCount { continuation?.start(after: .zero) }
        for connection in due where connection.isWatching { connection.deadlinePassed() }
    }
}
