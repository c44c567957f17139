// The writes at the end of a turn, in as few system calls as the kernel allows. Loop-confined.

import EventLoop

/// Writes one run of bytes to each of many members: gathered for an io_uring where there is one, else one by
/// one.
///
/// What a socket does not take at once becomes its member's backlog, whichever way it was tried.
final class TurnWriter {
    private struct Write {
        /// Neither is retained: members stay while rooms are walked through, and `held` has the bytes.
        let member: Unmanaged<Member>
        let bytes: Unmanaged<SharedBytes>
    }

    private unowned(unsafe) let turn: Turn
    private var ring: SendRing?
    private var writes: ContiguousArray<Write> = []
    private var held: ContiguousArray<SharedBytes> = []
    /// What the gathered writes are to move: the kernel reports only those that were not done whole.
    private var gatheredBytes = 0
    private let log: Log

    /// - Parameters:
    ///   - turn: owns the writer.
    ///   - ring: nil writes one by one.
    ///   - log: hears if the kernel stops to take what is gathered.
    init(turn: Turn, ring: SendRing?, log: Log) {
        self.turn = turn
        self.ring = ring
        self.log = log
        writes.reserveCapacity(ring == nil ? 0 : SendRing.capacity)
    }

    /// Keeps bytes for the writes that follow, until `finish`.
    func hold(_ bytes: SharedBytes) {
        if ring != nil { held.append(bytes) }
    }

    /// Writes held bytes to a member, now or in `finish`.
    func write(_ bytes: SharedBytes, to member: Member) {
        guard let ring, member.canWriteNow else { return member.send(bytes) }
        if ring.isFull { submit(ring) }
        writes.append(Write(member: .passUnretained(member), bytes: .passUnretained(bytes)))
        gatheredBytes += bytes.byteCount
        ring.append(bytes.bytes, to: member.socket)
    }

    /// Everything is written, or its member's backlog, when this returns.
    func finish() {
        if let ring { submit(ring) }
        held.removeAll(keepingCapacity: held.count <= 4096)
    }

    private func submit(_ ring: SendRing) {
        guard ring.count > 0 else { return }
        let takenCount = ring.submit { index, outcome in
            let write = writes[index]
            gatheredBytes -= write.bytes._withUnsafeGuaranteedRef { $0.byteCount }
            write.member._withUnsafeGuaranteedRef { $0.sent(write.bytes.takeUnretainedValue(), outcome) }
        }
        if takenCount < writes.count { writeDirectly(writes[takenCount...]) }
        turn.writeCount += takenCount
        turn.writtenBytes += gatheredBytes
        gatheredBytes = 0
        writes.removeAll(keepingCapacity: true)
    }

    private func writeDirectly(_ rest: ContiguousArray<Write>.SubSequence) {
        ring = nil
        log.warning("io_uring takes nothing any more: writing one by one", ["untaken": "\(rest.count)"])
        for write in rest {
            let bytes = write.bytes.takeUnretainedValue()
            gatheredBytes -= bytes.byteCount
            write.member.takeUnretainedValue().send(bytes)
        }
    }
}
