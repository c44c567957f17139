// Many sends in one system call, through io_uring(7). Loop-confined.

import CIoUring
// Owns the constants of sys/socket.h, for a module that several C modules include it in.
import CLibevent
import Glibc

/// Gathers sends on non-blocking sockets and hands them to the kernel together.
///
/// Nothing is asynchronous about it: no send may wait, so that it is done, whole or in part, when `submit`
/// returns, and the loop needs no second source of events.
package final class SendRing {
    /// The sends of one call: enough to make the cost of the call negligible, few enough for the first
    /// cache.
    package static let capacity = 256

    let descriptor: Int32
    private let rings: SharedMapping
    private let requestArray: SharedMapping
    private let requests: UnsafeMutablePointer<io_uring_sqe>
    private let completions: UnsafeMutablePointer<io_uring_cqe>
    private let submissionTail: UnsafeMutablePointer<UInt32>
    private let completionHead: UnsafeMutablePointer<UInt32>
    private let completionTail: UnsafeMutablePointer<UInt32>
    private let completionMask: UInt32
    /// How many sends are gathered.
    package private(set) var count = 0

    /// - Throws: when the kernel has no io_uring, one that is too old (before Linux 5.18), or forbids it, as
    ///   container runtimes often do; and if a trial fails.
    package init() throws(SystemError) {
        var parameters = io_uring_params()
        parameters.flags = IORING_SETUP_SUBMIT_ALL
        let descriptor = io_uring_setup(UInt32(SendRing.capacity), &parameters)
        guard descriptor >= 0 else { throw SystemError(errno, "io_uring_setup") }
        do throws(SystemError) {
            guard parameters.features & SendRing.features == SendRing.features else {
                throw SystemError(EOPNOTSUPP, "io_uring_setup")
            }
            let submissionBytes = Int(parameters.sq_off.array) + Int(parameters.sq_entries) * 4
            let completionBytes =
                Int(parameters.cq_off.cqes) + Int(parameters.cq_entries) * MemoryLayout<io_uring_cqe>.stride
            rings = try SharedMapping(
                descriptor, offset: Int(IORING_OFF_SQ_RING), byteCount: max(submissionBytes, completionBytes)
            )
            requestArray = try SharedMapping(
                descriptor, offset: Int(IORING_OFF_SQES),
                byteCount: Int(parameters.sq_entries) * MemoryLayout<io_uring_sqe>.stride)
        } catch {
            close(descriptor)
            throw error
        }
        self.descriptor = descriptor
        requests = requestArray.pointer(at: 0)
        completions = rings.pointer(at: parameters.cq_off.cqes)
        submissionTail = rings.pointer(at: parameters.sq_off.tail)
        completionHead = rings.pointer(at: parameters.cq_off.head)
        completionTail = rings.pointer(at: parameters.cq_off.tail)
        completionMask = parameters.cq_entries - 1
        // Requests are taken in the order in which they lie.
        let order: UnsafeMutablePointer<UInt32> = rings.pointer(at: parameters.sq_off.array)
        for index in 0..<parameters.sq_entries { order[Int(index)] = index }
        try probe()
    }

    deinit {
        close(descriptor)
    }

    package var isFull: Bool { count == SendRing.capacity }

    /// Adds a send of all of `bytes`, which must stay until `submit` has returned.
    package func append(_ bytes: UnsafeRawBufferPointer, to socket: Socket) {
        assert(!isFull, "a full ring must be submitted first")
        let slot = (Int(submissionTail.pointee) + count) & (SendRing.capacity - 1)
        io_uring_prepare_send(
            requests + slot, socket.descriptor, bytes.baseAddress, bytes.count, UInt64(count))
        count += 1
    }

    /// Sends what was gathered.
    ///
    /// - Parameter onIncomplete: called for each send that was not done whole, with its number in the order
    ///   of appending, from 0, and how it went.
    /// - Returns: how many sends the kernel has taken, from the first on. Fewer than were gathered if it
    ///   refuses to continue; the ring cannot be used any more then.
    package func submit(onIncomplete: (Int, Socket.Transfer) -> Void) -> Int {
        let total = count
        count = 0
        io_uring_store(submissionTail, submissionTail.pointee &+ UInt32(total))
        var submitted = 0
        while submitted < total {
            let result = io_uring_enter(descriptor, UInt32(total - submitted))
            let isInterrupted = result < 0 && errno == EINTR
            takeCompletions(onIncomplete)
            guard result > 0 || isInterrupted else { break }
            submitted += Int(max(result, 0))
        }
        return submitted
    }

    /// The kernel reports only sends that were not done whole.
    private func takeCompletions(_ onIncomplete: (Int, Socket.Transfer) -> Void) {
        var head = completionHead.pointee
        let tail = io_uring_load(completionTail)
        while head != tail {
            let completion = completions[Int(head & completionMask)]
            head &+= 1
            onIncomplete(Int(completion.user_data), Socket.transfer(result: completion.res))
        }
        io_uring_store(completionHead, head)
    }

    /// One mapping for both rings (Linux 5.4), and no completion for what succeeds (5.17).
    private static let features = IORING_FEAT_SINGLE_MMAP | IORING_FEAT_CQE_SKIP

    /// Sends over a socket pair until it is full: a whole send must pass in silence, one too many must be
    /// reported.
    private func probe() throws(SystemError) {
        var pair: (Int32, Int32) = (-1, -1)
        let result = withUnsafeMutableBytes(of: &pair) {
            socketpair(
                AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, $0.baseAddress!.assumingMemoryBound(to: Int32.self))
        }
        guard result == 0 else { throw SystemError(errno, "socketpair") }
        defer {
            close(pair.0)
            close(pair.1)
        }
        let socket = Socket(descriptor: pair.0)
        let isWholeSendSilent = try isSilent(byteCount: 1, to: socket)
        // More than any socket takes by default, net.core.wmem_max being some hundred KiB.
        let isPartialSendSilent = try isSilent(byteCount: 8 << 20, to: socket)
        guard isWholeSendSilent, !isPartialSendSilent else {
            throw SystemError(EOPNOTSUPP, "io_uring_enter")
        }
    }

    private func isSilent(byteCount: Int, to socket: Socket) throws(SystemError) -> Bool {
        let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: byteCount, alignment: 1)
        defer { bytes.deallocate() }
        append(UnsafeRawBufferPointer(bytes), to: socket)
        var isSilent = true
        guard submit(onIncomplete: { _, _ in isSilent = false }) == 1 else {
            throw SystemError(errno, "io_uring_enter")
        }
        return isSilent
    }
}

/// Memory that the kernel shares; unmapped with its last reference.
private final class SharedMapping {
    private let memory: UnsafeMutableRawBufferPointer

    init(_ descriptor: Int32, offset: Int, byteCount: Int) throws(SystemError) {
        let address = mmap(nil, byteCount, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, offset)
        guard let address, address != MAP_FAILED else { throw SystemError(errno, "mmap") }
        memory = UnsafeMutableRawBufferPointer(start: address, count: byteCount)
    }

    deinit {
        munmap(memory.baseAddress, memory.count)
    }

    func pointer<Element>(at offset: UInt32) -> UnsafeMutablePointer<Element> {
        (memory.baseAddress! + Int(offset)).assumingMemoryBound(to: Element.self)
    }
}
