// What a turn has brought to the members of two rooms. Loop-confined: belongs to its worker's loop.

import EventLoop
import Glibc

/// The messages of two rooms in the order in which they came, each of them the rooms' own: nothing is
/// copied, and what a socket does not take is queued as references.
///
/// Members of the same two rooms that are written one after the other share the work of merging. The arrays
/// are used again, so that nothing is allocated for a member.
final class MergedMessages {
    private(set) var parts: ContiguousArray<SharedBytes> = []
    private(set) var byteCount = 0
    private var vectors: ContiguousArray<iovec> = []
    /// Whose messages they are, until `clear`.
    private var source: (first: Room, second: Room, encoding: Encoding)?

    /// Takes the messages of two rooms, of which one may have none, and where it is to be said the positions
    /// behind them; nothing is done if they are those of the last call.
    ///
    /// - Complexity: O(messages), once for members of the same rooms in a row.
    func merge(_ first: Room, _ second: Room, as encoding: Encoding) {
        if let source, source.first === first, source.second === second, source.encoding == encoding {
            return
        }
        clear()
        source = (first, second, encoding)
        let (left, right) = (first.messages, second.messages)
        var (leftIndex, rightIndex) = (0, 0)
        while leftIndex < left.count, rightIndex < right.count {
            if left[leftIndex].order < right[rightIndex].order {
                append(left[leftIndex].encoded(as: encoding))
                leftIndex += 1
            } else {
                append(right[rightIndex].encoded(as: encoding))
                rightIndex += 1
            }
        }
        for message in left[leftIndex...] { append(message.encoded(as: encoding)) }
        for message in right[rightIndex...] { append(message.encoded(as: encoding)) }
        if encoding.carriesPositions, first.hasAdvanced || second.hasAdvanced {
            append(EventBlock.position([first.position, second.position]))
        }
    }

    private func append(_ part: SharedBytes) {
        parts.append(part)
        byteCount += part.byteCount
        vectors.append(
            iovec(
                iov_base: UnsafeMutableRawPointer(mutating: part.bytes.baseAddress), iov_len: part.byteCount)
        )
    }

    /// Lets go of the messages, at the end of a turn.
    func clear() {
        source = nil
        byteCount = 0
        parts.removeAll(keepingCapacity: parts.count <= 4096)
        vectors.removeAll(keepingCapacity: vectors.count <= 4096)
    }

    /// Writes as much as the socket takes, and reports each call; returns how much that was, or how it
    /// failed.
    func write(to socket: Socket, onWrite: () -> Void) -> Socket.Transfer {
        var written = 0
        var start = 0
        while start < vectors.count {
            let end = min(start + Limits.mergedVectorCount, vectors.count)
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
