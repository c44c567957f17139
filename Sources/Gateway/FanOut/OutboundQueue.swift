// What a client that reads too slowly has still to get. Loop-confined; exists only while there is a backlog.

import Glibc

/// Frames in order, of which the first may be partly written.
final class OutboundQueue {
    /// Linux takes up to 1,024 vectors a call; more than this many frames a write brings nothing.
    static let maximumVectorCount = 64

    private var frames: [SharedFrame] = []
    /// The first frame that is not wholly written; those before it are done and wait to be cut off in one go.
    private var first = 0
    /// How much of that frame is written.
    private var writtenBytes = 0
    /// Bytes that are still to be written.
    private(set) var byteCount = 0

    var isEmpty: Bool { byteCount == 0 }

    /// Appends a frame of which `writtenBytes` are out already (only if the queue is empty).
    func append(_ frame: SharedFrame, writtenBytes: Int = 0) {
        assert(writtenBytes == 0 || isEmpty, "only the first frame of a queue can be partly written")
        assert(writtenBytes < frame.byteCount, "a frame that is wholly written has no place in the queue")
        if isEmpty { self.writtenBytes = writtenBytes }
        frames.append(frame)
        byteCount += frame.byteCount - writtenBytes
    }

    /// Describes the front of the queue for a gathering write; returns how many vectors are set.
    func gather(into vectors: UnsafeMutableBufferPointer<iovec>) -> Int {
        var count = 0
        var skipped = writtenBytes
        while count < vectors.count, first + count < frames.count {
            let bytes = frames[first + count].bytes
            vectors[count] = iovec(
                iov_base: UnsafeMutableRawPointer(mutating: bytes.baseAddress! + skipped),
                iov_len: bytes.count - skipped)
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
        while first < frames.count, writtenBytes >= frames[first].byteCount {
            writtenBytes -= frames[first].byteCount
            first += 1
        }
        if first == frames.count {
            frames.removeAll(keepingCapacity: true)
            first = 0
        } else if first >= OutboundQueue.maximumVectorCount {
            frames.removeFirst(first)
            first = 0
        }
    }

    /// Drops what has not begun to leave: the peer is to be closed, and only a begun frame must be completed
    /// for what follows to be understood.
    func dropUnbegun() {
        let kept = writtenBytes > 0 ? 1 : 0
        frames = Array(frames[first..<min(frames.count, first + kept)])
        first = 0
        byteCount = frames.first.map { $0.byteCount - writtenBytes } ?? 0
        if frames.isEmpty { writtenBytes = 0 }
    }
}
