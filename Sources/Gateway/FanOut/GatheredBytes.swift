// Runs of bytes that leave one behind the other without being joined. Pure value.

import EventLoop
import Glibc

/// Shared runs in their order, with the description of them that a gathering write takes. What a socket does
/// not take is queued as references.
struct GatheredBytes {
    private(set) var parts: ContiguousArray<SharedBytes> = []
    private(set) var byteCount = 0
    private var vectors: ContiguousArray<iovec> = []

    init() {}

    init(_ parts: [SharedBytes]) {
        for part in parts { append(part) }
    }

    mutating func append(_ part: SharedBytes) {
        parts.append(part)
        byteCount += part.byteCount
        vectors.append(
            iovec(
                iov_base: UnsafeMutableRawPointer(mutating: part.bytes.baseAddress), iov_len: part.byteCount)
        )
    }

    /// Lets go of the runs, and keeps the room for as many unless they were unusually many.
    mutating func removeAll() {
        byteCount = 0
        parts.removeAll(keepingCapacity: parts.count <= 4096)
        vectors.removeAll(keepingCapacity: vectors.count <= 4096)
    }

    /// Writes as much as the socket takes, and reports each call; returns how much that was, or how it
    /// failed.
    func write(to socket: Socket, onWrite: () -> Void) -> Socket.Transfer {
        vectors.withUnsafeBufferPointer { vectors in
            // The call takes them as changeable, and changes nothing.
            let vectors = UnsafeMutableBufferPointer(mutating: vectors)
            var written = 0
            var start = 0
            while start < vectors.count {
                let end = min(start + Limits.mergedVectorCount, vectors.count)
                let isAll = end - start == vectors.count
                let wanted = isAll ? byteCount : vectors[start..<end].reduce(0) { $0 + $1.iov_len }
                onWrite()
                let outcome = socket.write(
                    vectors: UnsafeMutableBufferPointer(rebasing: vectors[start..<end]))
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
}
