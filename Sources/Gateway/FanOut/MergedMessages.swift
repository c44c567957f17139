// What a turn has brought to the members of two rooms. Loop-confined: belongs to its worker's loop.

/// The messages of two rooms in the order in which they came, each of them the rooms' own: nothing is
/// copied, and what a socket does not take is queued as references.
///
/// Members of the same two rooms that are written one after the other share the work of merging. The arrays
/// are used again, so that nothing is allocated for a member.
final class MergedMessages {
    private(set) var bytes = GatheredBytes()
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
                bytes.append(left[leftIndex].encoded(as: encoding))
                leftIndex += 1
            } else {
                bytes.append(right[rightIndex].encoded(as: encoding))
                rightIndex += 1
            }
        }
        for message in left[leftIndex...] { bytes.append(message.encoded(as: encoding)) }
        for message in right[rightIndex...] { bytes.append(message.encoded(as: encoding)) }
        if encoding.carriesPositions, first.hasAdvanced || second.hasAdvanced {
            bytes.append(EventBlock.position([first.position, second.position]))
        }
    }

    /// Lets go of the messages, at the end of a turn.
    func clear() {
        source = nil
        bytes.removeAll()
    }
}
