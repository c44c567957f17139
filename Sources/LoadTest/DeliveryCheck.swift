// What happens to every delivered message of a load process: checked, booked, timed. Loop-confined.

import EventLoop
import Glibc

/// The instruments that all connections of a process share.
final class DeliveryCheck {
    let run: UInt32
    let payload: LoadPayload
    private let board: SharedBoard
    private let process: Int
    private var window: WindowCounter?
    private var completions: [UInt64] = []

    private(set) var deliveredCount = 0
    private(set) var measuredCount = 0
    private(set) var latency = Histogram()
    /// Arrivals that belong to no ledger.
    private(set) var strays = DeliveryCounts()

    init(_ plan: HolderPlan, board: SharedBoard) {
        run = plan.run
        payload = LoadPayload(bytes: plan.load.payloadBytes)
        process = plan.process
        self.board = board
    }

    /// Begins to report which messages have reached all of `receiverCounts`, at most `window` being on their
    /// way.
    func reportCompletions(window: Int, receiverCounts: [Int]) {
        self.window = WindowCounter(window: window, receiverCounts: receiverCounts)
    }

    func countCorrupt() { strays.corrupt += 1 }

    /// Rooms of which a client was told that notices may be missing.
    func countLosses(_ count: Int) { strays.lost += count }

    func countMisrouted() { strays.misrouted += 1 }

    /// Books the first arrival of a message on one connection.
    ///
    /// - Parameter now: when it was read, CLOCK_MONOTONIC nanoseconds.
    func count(_ stamp: LoadStamp, at now: Int64) {
        deliveredCount += 1
        if stamp.sentAt >= board.measuredFrom {
            measuredCount += 1
            latency.record(now - stamp.sentAt)
        }
        if window?.complete(room: Int(stamp.room), sequence: Int(stamp.sequence)) == true {
            completions.append(UInt64(stamp.room) << 32 | UInt64(stamp.sequence))
        }
    }

    /// At the end of a turn: reports to the coordinator what is complete.
    func publish() {
        board.setDeliveredCount(deliveredCount, process: process)
        guard !completions.isEmpty else { return }
        // 512 records are PIPE_BUF bytes, which the kernel writes in one piece among several writers.
        var rest = completions[...]
        while !rest.isEmpty {
            let written = rest.prefix(512).withUnsafeBytes {
                write(HolderDescriptors.completions, $0.baseAddress, $0.count)
            }
            // The coordinator is gone; the control socket shows the same.
            guard written > 0 || errno == EINTR else { break }
            rest = rest.dropFirst(max(0, written) / MemoryLayout<UInt64>.size)
        }
        completions.removeAll(keepingCapacity: true)
    }
}
