// One notice of a room's history as a node handles it. Pure value.

import RedisSchema

/// A durable notice: live from the channel, or an entry that was read from the stream.
struct HistoryEntry<Frame: Equatable> {
    let id: NoticeId
    /// What goes to members. Nil where the node holds the notice back, because its payload is not what it
    /// may pass on: the notice counts, and no one receives it.
    let frame: Frame?
    /// What the frame takes in memory.
    let memoryBytes: Int
}
