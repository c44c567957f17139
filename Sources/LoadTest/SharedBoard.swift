// A page of counters that all processes of a run share: what changes too often for messages. Any
// thread, any process.

import EventLoop
import Glibc
import Synchronization

/// Memory shared by the coordinator and its load processes.
///
/// Safe because every word is an atomic, and the mapping lives until the process ends.
final class SharedBoard: @unchecked Sendable {
    private static let headerWordCount = 8
    /// Each process has a cache line of its own, so that they do not slow each other down.
    private static let wordsPerProcess = 8

    /// Kept open for the children that inherit it.
    let descriptor: Int32
    private let words: UnsafeMutablePointer<Atomic<Int64>>

    /// Makes the memory, all zero but for the measured span, which begins at no time.
    ///
    /// - Throws: when the system gives no shared memory.
    init(processCount: Int) throws(SystemError) {
        let name = "/loadtest-\(getpid())"
        let descriptor = shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0o600)
        guard descriptor >= 0 else { throw SystemError(errno, "shm_open") }
        shm_unlink(name)
        let bytes = SharedBoard.byteCount(processCount)
        guard ftruncate(descriptor, bytes) == 0 else {
            let code = errno
            close(descriptor)
            throw SystemError(code, "ftruncate")
        }
        self.descriptor = descriptor
        words = try SharedBoard.map(descriptor, bytes)
        measuredFrom = .max
    }

    /// Opens the memory that a parent made.
    ///
    /// - Throws: when the descriptor is no such memory.
    init(inherited descriptor: Int32, processCount: Int) throws(SystemError) {
        self.descriptor = descriptor
        words = try SharedBoard.map(descriptor, SharedBoard.byteCount(processCount))
    }

    /// How many messages have been stamped; those below are on their way or there.
    var publishedCount: Int {
        get { Int(words[0].load(ordering: .acquiring)) }
        set { words[0].store(Int64(newValue), ordering: .releasing) }
    }

    /// Messages sent at this time (CLOCK_MONOTONIC nanoseconds) or later count in the figures.
    var measuredFrom: Int64 {
        get { words[1].load(ordering: .relaxed) }
        set { words[1].store(newValue, ordering: .relaxed) }
    }

    /// Whether publishing is over.
    var isPublishingOver: Bool {
        get { words[2].load(ordering: .acquiring) != 0 }
        set { words[2].store(newValue ? 1 : 0, ordering: .releasing) }
    }

    /// Open connections of a process.
    func setOpenCount(_ count: Int, process: Int) {
        words[SharedBoard.slot(process)].store(Int64(count), ordering: .relaxed)
    }

    /// Deliveries that a process has taken.
    func setDeliveredCount(_ count: Int, process: Int) {
        words[SharedBoard.slot(process) + 1].store(Int64(count), ordering: .relaxed)
    }

    func openCount(process: Int) -> Int {
        Int(words[SharedBoard.slot(process)].load(ordering: .relaxed))
    }

    func deliveredCount(process: Int) -> Int {
        Int(words[SharedBoard.slot(process) + 1].load(ordering: .relaxed))
    }

    private static func slot(_ process: Int) -> Int { headerWordCount + process * wordsPerProcess }

    private static func byteCount(_ processCount: Int) -> Int {
        slot(processCount) * MemoryLayout<Atomic<Int64>>.stride
    }

    private static func map(
        _ descriptor: Int32, _ bytes: Int
    ) throws(SystemError) -> UnsafeMutablePointer<Atomic<Int64>> {
        let memory = mmap(nil, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0)
        guard let memory, memory != MAP_FAILED else { throw SystemError(errno, "mmap") }
        return memory.bindMemory(
            to: Atomic<Int64>.self, capacity: bytes / MemoryLayout<Atomic<Int64>>.stride)
    }
}
