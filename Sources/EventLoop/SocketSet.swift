// The sockets of a loop: one epoll set, which the loop watches as if it were one socket. Loop-confined.

import CLibevent
import Glibc

/// Watches a loop's sockets and calls their watchers.
///
/// A socket in libevent's own set costs a `struct event`, a map entry and their allocations, some 180 bytes,
/// and work to make and free them. In a set of its own it costs the kernel's entry only, which points to the
/// watcher. What a node holds by the ten thousand are sockets, listening ones included, so they are kept
/// here; timers, signals and mailboxes are libevent's.
///
/// Level-triggered: the kernel reports a socket that one turn leaves out again in the next, in rotation.
final class SocketSet {
    /// How many sockets one turn serves, once each. Those beyond wait for the next turn, behind the
    /// mailboxes and this turn's writes; what one of them may do in its call is bounded where it does it.
    static let maximumBatchCount = 256

    /// Can be read while a socket of the set is ready.
    let descriptor: Int32
    private let batch: UnsafeMutableBufferPointer<epoll_event>
    /// The part of the batch whose watchers are still to be called.
    private var pending = 0..<0

    /// - Throws: when no descriptor is left.
    init() throws(SystemError) {
        descriptor = epoll_create1(Int32(EPOLL_CLOEXEC))
        guard descriptor >= 0 else { throw SystemError(errno, "epoll_create1") }
        batch = .allocate(capacity: SocketSet.maximumBatchCount)
        batch.initialize(repeating: epoll_event())
    }

    deinit {
        batch.deallocate()
        Glibc.close(descriptor)
    }

    /// Brings the kernel's entry of a socket from one set of interests to another; none means no entry.
    func change(_ watcher: SocketWatcher, from old: SocketInterest, to new: SocketInterest) {
        guard old != new else { return }
        let operation = old.isEmpty ? EPOLL_CTL_ADD : new.isEmpty ? EPOLL_CTL_DEL : EPOLL_CTL_MOD
        control(operation, watcher, new)
        if new.isEmpty { forget(watcher) }
    }

    /// Gives the entry of one watcher to another one of the same socket.
    func transfer(from watcher: SocketWatcher, to successor: SocketWatcher, _ interest: SocketInterest) {
        control(EPOLL_CTL_MOD, successor, interest)
        forget(watcher)
    }

    private func control(_ operation: Int32, _ watcher: SocketWatcher, _ interest: SocketInterest) {
        var event = epoll_event()
        event.events = UInt32(interest.rawValue)
        // Unretained: a watcher stops watching before it goes.
        event.data.ptr = Unmanaged.passUnretained(watcher).toOpaque()
        let result = epoll_ctl(descriptor, operation, watcher.socket.descriptor, &event)
        // For want of kernel memory a socket may stay unwatched, until its deadline ends it; anything else
        // means that the descriptor is not ours any more.
        precondition(
            result == 0 || errno == ENOMEM || errno == ENOSPC, "epoll_ctl: \(SystemError.message(of: errno))"
        )
    }

    /// Takes a watcher out of what is still to be called in this turn.
    private func forget(_ watcher: SocketWatcher) {
        let pointer = Unmanaged.passUnretained(watcher).toOpaque()
        for index in pending where batch[index].data.ptr == pointer { batch[index].data.ptr = nil }
    }

    /// Calls the watchers of the sockets that are ready, a batch at most.
    func dispatch() {
        let count = epoll_wait(descriptor, batch.baseAddress, Int32(batch.count), 0)
        pending = 0..<max(0, Int(count))
        while let index = pending.first {
            pending = pending.dropFirst()
            guard let pointer = batch[index].data.ptr else { continue }
            let ready = SocketInterest(rawValue: UInt8(truncatingIfNeeded: batch[index].events))
            Unmanaged<SocketWatcher>.fromOpaque(pointer).takeUnretainedValue().socketIsReady(ready)
        }
    }
}

/// The events that a watcher asks for, and those that the set reports, in the kernel's bits: the lowest
/// eight, among which all of these are.
struct SocketInterest: OptionSet {
    let rawValue: UInt8

    static let read = SocketInterest(rawValue: UInt8(EPOLLIN.rawValue))
    static let write = SocketInterest(rawValue: UInt8(EPOLLOUT.rawValue))
    /// Reported whether asked for or not.
    static let ended = SocketInterest(rawValue: UInt8(EPOLLERR.rawValue | EPOLLHUP.rawValue))
}
