// What a client that reads too slowly has still to get. Loop-confined; exists only while there is a backlog.

import Glibc

/// Frames in order, of which the first may be partly written.
final class OutboundQueue {
    /// Frames are let go of as they are written; the empty places at the front are cut off when they are the
    /// larger part, so that draining moves each frame once or twice, however long the queue.
    private var frames: ContiguousArray<SharedBytes?> = []
    /// The first frame that is not wholly written.
    private var first = 0
    /// How much of that frame is written.
    private var writtenBytes = 0
    /// Bytes that are still to be written.
    private(set) var byteCount = 0
    /// What the queue's frames take, their objects included: what a limit has to look at, as a frame of two
    /// bytes takes more than sixty times as much.
    private(set) var memoryBytes = 0
    /// Where a Pong waits that has not begun to leave.
    private var pongIndex: Int?

    var isEmpty: Bool { byteCount == 0 }

    /// Appends a frame of which `writtenBytes` are out already (only if the queue is empty).
    func append(_ frame: SharedBytes, writtenBytes: Int = 0) {
        assert(writtenBytes == 0 || isEmpty, "only the first frame of a queue can be partly written")
        assert(writtenBytes < frame.byteCount, "a frame that is wholly written has no place in the queue")
        if isEmpty { self.writtenBytes = writtenBytes }
        frames.append(frame)
        byteCount += frame.byteCount - writtenBytes
        memoryBytes += frame.memoryBytes
    }

    /// Queues the Pong to the latest Ping. One that still waits is replaced: only the latest Ping need be
    /// answered (RFC 6455 section 5.5.3).
    func setPong(_ pong: SharedBytes) {
        guard let index = pongIndex, let previous = frames[index] else {
            pongIndex = frames.count
            append(pong)
            return
        }
        frames[index] = pong
        byteCount += pong.byteCount - previous.byteCount
        memoryBytes += pong.byteCount - previous.byteCount
    }

    /// Describes the front of the queue for a gathering write; returns how many vectors are set.
    func gather(into vectors: UnsafeMutableBufferPointer<iovec>) -> Int {
        var count = 0
        var skipped = writtenBytes
        var room = Limits.backlogWriteBytes
        while count < vectors.count, room > 0, first + count < frames.count,
            let frame = frames[first + count]
        {
            let length = min(frame.byteCount - skipped, room)
            vectors[count] = iovec(
                iov_base: UnsafeMutableRawPointer(mutating: frame.bytes.baseAddress! + skipped),
                iov_len: length)
            room -= length
            skipped = 0
            count += 1
        }
        return count
    }

    /// Takes off what a write has moved.
    func consume(_ count: Int) {
        assert(count <= byteCount, "more was written than was queued")
        byteCount -= count
        writtenBytes += count
        while first < frames.count, let frame = frames[first], writtenBytes >= frame.byteCount {
            writtenBytes -= frame.byteCount
            memoryBytes -= frame.memoryBytes
            frames[first] = nil
            first += 1
        }
        // A Pong that has begun to leave must be completed.
        if let index = pongIndex, index < first || index == first && writtenBytes > 0 { pongIndex = nil }
        if first == frames.count {
            frames.removeAll(keepingCapacity: true)
            first = 0
        } else if first >= Limits.backlogVectorCount, first > frames.count / 2 {
            frames.removeFirst(first)
            pongIndex = pongIndex.map { $0 - first }
            first = 0
        }
    }

    /// Drops what has not begun to leave: the peer is to be closed, and only a begun frame must be completed
    /// for what follows to be understood.
    func dropUnbegun() {
        let begun = writtenBytes > 0 ? frames[first] : nil
        frames = []
        first = 0
        byteCount = 0
        memoryBytes = 0
        pongIndex = nil
        guard let begun else { return }
        frames.append(begun)
        byteCount = begun.byteCount - writtenBytes
        memoryBytes = begun.memoryBytes
    }
}
