// The writes at the end of a turn, in as few system calls as the kernel allows. Loop-confined.

import EventLoop

/// Writes one run of bytes to each of many clients: gathered for an io_uring where there is one, else one by one.
///
/// What a socket does not take at once becomes its client's backlog, whichever way it was tried.
final class TurnWriter {
    private struct Write {
        /// Neither is retained: clients stay while rooms are walked through, and `held` has the bytes.
        let client: Unmanaged<Client>
        let frame: Unmanaged<SharedFrame>
    }

    private unowned(unsafe) let worker: Worker
    private var ring: SendRing?
    private var writes: ContiguousArray<Write> = []
    private var held: ContiguousArray<SharedFrame> = []
    private var gatheredBytes = 0
    /// Told once, when the kernel stops to take what is gathered.
    private let log: Log

    /// - Parameter ring: nil writes one by one.
    init(worker: Worker, ring: SendRing?, log: Log) {
        self.worker = worker
        self.ring = ring
        self.log = log
        writes.reserveCapacity(ring == nil ? 0 : SendRing.capacity)
    }

    /// Keeps bytes for the writes that follow, until `finish`.
    func hold(_ frame: SharedFrame) {
        if ring != nil { held.append(frame) }
    }

    /// Writes a held frame to a client, now or in `finish`.
    func write(_ frame: SharedFrame, to client: Client) {
        guard let ring, client.canWriteNow else { return client.send(frame) }
        if ring.isFull { submit(ring) }
        writes.append(Write(client: .passUnretained(client), frame: .passUnretained(frame)))
        gatheredBytes += frame.byteCount
        ring.append(frame.bytes, to: client.socket)
    }

    /// Everything is written, or its client's backlog, when this returns.
    func finish() {
        if let ring { submit(ring) }
        held.removeAll(keepingCapacity: held.count <= 4096)
    }

    private func submit(_ ring: SendRing) {
        guard ring.count > 0 else { return }
        let takenCount = ring.submit { index, outcome in
            let write = writes[index]
            gatheredBytes -= write.frame._withUnsafeGuaranteedRef { $0.byteCount }
            write.client._withUnsafeGuaranteedRef { $0.sent(write.frame.takeUnretainedValue(), outcome) }
        }
        if takenCount < writes.count { writeDirectly(writes[takenCount...]) }
        worker.writeCount += takenCount
        worker.writtenBytes += gatheredBytes
        gatheredBytes = 0
        writes.removeAll(keepingCapacity: true)
    }

    private func writeDirectly(_ rest: ContiguousArray<Write>.SubSequence) {
        ring = nil
        log.warning("io_uring takes nothing any more: writing one by one", ["untaken": "\(rest.count)"])
        for write in rest {
            let frame = write.frame.takeUnretainedValue()
            gatheredBytes -= frame.byteCount
            write.client.takeUnretainedValue().send(frame)
        }
    }
}
