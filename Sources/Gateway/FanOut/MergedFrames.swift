// What a turn has brought to the members of two rooms. Loop-confined: belongs to its worker's loop.

import EventLoop
import Glibc

/// The frames of two rooms in the order in which they came, each of them the rooms' own: nothing is copied, and what
/// a socket does not take is queued as references.
///
/// Members of the same two rooms that are written one after the other share the work of merging. The arrays are used
/// again, so that nothing is allocated for a client.
final class MergedFrames {
    /// Linux takes up to this many vectors a call (UIO_MAXIOV).
    static let maximumVectorCount = 1_024

    private(set) var frames: ContiguousArray<SharedFrame> = []
    private(set) var byteCount = 0
    private var vectors: ContiguousArray<iovec> = []
    /// Whose frames they are, until `clear`.
    private var first: Room?
    private var second: Room?

    /// Takes the frames of two rooms; nothing is done if they are those of the last call.
    ///
    /// - Complexity: O(frames), once for members of the same rooms in a row.
    func merge(_ first: Room, _ second: Room) {
        guard first !== self.first || second !== self.second else { return }
        clear()
        self.first = first
        self.second = second
        let (left, right) = (first.frames, second.frames)
        var (leftIndex, rightIndex) = (0, 0)
        while leftIndex < left.count, rightIndex < right.count {
            if left[leftIndex].sequence < right[rightIndex].sequence {
                append(left[leftIndex])
                leftIndex += 1
            } else {
                append(right[rightIndex])
                rightIndex += 1
            }
        }
        for frame in left[leftIndex...] { append(frame) }
        for frame in right[rightIndex...] { append(frame) }
    }

    private func append(_ frame: SharedFrame) {
        frames.append(frame)
        byteCount += frame.byteCount
        vectors.append(
            iovec(
                iov_base: UnsafeMutableRawPointer(mutating: frame.bytes.baseAddress!), iov_len: frame.byteCount))
    }

    /// Lets go of the frames, at the end of a turn.
    func clear() {
        first = nil
        second = nil
        byteCount = 0
        frames.removeAll(keepingCapacity: frames.count <= 4096)
        vectors.removeAll(keepingCapacity: vectors.count <= 4096)
    }

    /// Writes as much as the socket takes, and reports each call; returns how much that was, or how it failed.
    func write(to socket: Socket, onWrite: () -> Void) -> Socket.Transfer {
        var written = 0
        var start = 0
        while start < vectors.count {
            let end = min(start + MergedFrames.maximumVectorCount, vectors.count)
            let isAll = end - start == vectors.count
            let wanted = isAll ? byteCount : vectors[start..<end].reduce(0) { $0 + $1.iov_len }
            onWrite()
            let outcome = vectors.withUnsafeMutableBufferPointer {
                socket.write(vectors: UnsafeMutableBufferPointer(rebasing: $0[start..<end]))
            }
            switch outcome {
            case .bytes(let count):
                written += count
                if count < wanted { return .bytes(written) }
            case .wouldBlock: return written > 0 ? .bytes(written) : .wouldBlock
            case .endOfStream, .failed: return outcome
            }
            start = end
        }
        return .bytes(written)
    }
}
