// What of a room's history a client gets at one moment. Pure.

import RedisSchema

/// The part of a replay that is given at once.
struct Replay<Frame: Equatable> {
    /// Behind which position the frames come.
    let since: NoticeId
    /// In order, without a hole; what the node holds back is left out.
    private(set) var frames: [Frame] = []
    /// The position behind the part.
    private(set) var reached: NoticeId
    private(set) var memoryBytes = 0
    /// Whether nothing is missing up to the node's position: what comes live follows.
    var isComplete = false

    init(since: NoticeId) {
        self.since = since
        reached = since
    }

    /// Adds entries until the part is full.
    ///
    /// - Returns: whether all of them are in it.
    mutating func append(
        _ entries: some Sequence<HistoryEntry<Frame>>, maximumBytes: Int
    ) -> Bool {
        for entry in entries {
            if memoryBytes + entry.memoryBytes > maximumBytes, !frames.isEmpty || maximumBytes <= 0 {
                return false
            }
            if let frame = entry.frame { frames.append(frame) }
            memoryBytes += entry.memoryBytes
            reached = entry.id
        }
        return true
    }
}

/// What a read behind a client's position has found.
struct HistoryRead<Frame: Equatable> {
    /// Whether nothing behind the position can be missing in it.
    let isProven: Bool
    /// What was published behind the position; perhaps not all of it.
    let entries: ArraySlice<HistoryEntry<Frame>>
}

extension RoomFeed {
    /// What a live room has for a client.
    enum Answer {
        case replay(Replay<Frame>)
        /// The ring does not cover the position, or the read no longer reaches the ring: read (again).
        case read
        /// The client is ahead of this node: the position has to move first.
        case wait
        /// The client may be ahead, of a stream that is gone: an echo has to come first.
        case echo
        /// Notices may be missing.
        case lost
    }

    /// - Parameters:
    ///   - read: the answered read behind this position.
    ///   - hasEcho: whether an echo was asked for this client, and has come.
    ///   - maximumBytes: what the part of the replay holds, by the frames' memory; more than that only if
    ///     it were empty.
    /// - Complexity: O(frames given, log ring).
    func answer(
        since: NoticeId, read: HistoryRead<Frame>?, hasEcho: Bool, maximumBytes: Int
    ) -> Answer {
        guard state == .live, let position else { return .wait }
        var replay = Replay<Frame>(since: since)
        if append(to: &replay, maximumBytes: maximumBytes) { return .replay(replay) }
        guard let read else { return .read }
        guard read.isProven else { return .lost }
        if read.entries.isEmpty, since.number == 0 {
            // The room had no stream then, and has no stream now. A position without a notice says nothing of
            // which is ahead, only of when each was asked for.
            replay.isComplete = position.number == 0 && since < position || hasEcho && since > position
            if replay.isComplete { return .replay(replay) }
            if since > position { return .echo }
        }
        // What Redis has is still on its way to this node.
        if since > position || read.entries.first.map({ $0.id > position }) == true { return .wait }
        let known = read.entries.prefix { $0.id <= position }
        if replay.append(known, maximumBytes: maximumBytes),
            append(to: &replay, maximumBytes: maximumBytes) || !known.isEmpty
        {
            return .replay(replay)
        }
        // A part that is full; or a room that has moved on too far since the read.
        return known.isEmpty ? .read : .replay(replay)
    }

    /// Adds what follows, if the room's ring has it.
    private func append(to replay: inout Replay<Frame>, maximumBytes: Int) -> Bool {
        if replay.reached == position {
            replay.isComplete = true
            return true
        }
        guard let start = ring.index(behind: replay.reached) else { return false }
        replay.isComplete = replay.append(
            ring.entries[start...], maximumBytes: maximumBytes)
        return true
    }
}

extension Replay: Sendable where Frame: Sendable {}
