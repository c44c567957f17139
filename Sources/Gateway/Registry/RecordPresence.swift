// Whether the records of members are still there, where no heartbeat asks Redis for each of them.
// Loop-confined.

import EventLoop

/// Looks for every member's record once an interval, many with one command.
final class RecordPresence {
    private let registry: ClientRegistry
    private let interval: Duration
    private let members: () -> [Member]
    private let onMissing: (Member) -> Void
    private var remaining: ArraySlice<Member> = []
    private var timer: Timer?

    /// - Parameters:
    ///   - members: those to look for, asked for when a walk begins.
    ///   - onMissing: called for each of a batch of which not all records are there.
    init(
        registry: ClientRegistry, interval: Duration, loop: EventLoop, members: @escaping () -> [Member],
        onMissing: @escaping (Member) -> Void
    ) {
        self.registry = registry
        self.interval = interval
        self.members = members
        self.onMissing = onMissing
        timer = Timer(on: loop) { [unowned self] in self.lookForBatch() }
        timer?.start(after: interval)
    }

    func stop() { timer?.cancel() }

    private func lookForBatch() {
        if remaining.isEmpty { remaining = members()[...] }
        look(for: remaining.prefix(Limits.presenceBatchCount).filter(\.isOpen))
        remaining = remaining.dropFirst(Limits.presenceBatchCount)
        timer?.start(after: remaining.isEmpty ? interval : Limits.slicePause)
    }

    private func look(for batch: [Member]) {
        guard !batch.isEmpty, registry.tellsSilence else { return }
        registry.presentCount(batch.map(\.token)) { [onMissing] count in
            guard let count, count < batch.count else { return }
            for member in batch where member.isOpen { onMissing(member) }
        }
    }
}
