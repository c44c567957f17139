// A room on one worker. Loop-confined.

import RedisSchema

/// The local members of a room, and the messages that the present turn has brought.
final class Room {
    let id: RoomId
    /// One for each encoding, in the order of the cases: in the object itself, as most rooms have few
    /// members.
    private(set) var audiences: InlineArray<3, Audience>
    /// Opted-in members that have not got all of the room's history yet, and are in no audience.
    var catchingUp: [CatchUp] = []
    /// What came in this turn, in order.
    private(set) var messages: ContiguousArray<Message> = []
    /// The memory of these messages.
    private(set) var messageBytes = 0
    /// Every durable notice up to here has come, as far as members were here for it; nil before the first.
    var position: HistoryPosition?
    /// Whether the turn has moved the position.
    private(set) var hasAdvanced = false
    /// How many rooms the worker had left when it entered this one: news that the feed sent before it knew
    /// of these leaves may be about an earlier stay in the room, between which and this one messages are
    /// missing.
    let leaveCount: UInt64
    /// Handshakes on their way into the room: it may not be left meanwhile.
    var pendingCount = 0
    /// Whether Redis has confirmed the subscription, so that nothing published from now on is missed: a copy
    /// of what the feed knows, changed by its messages only.
    var isSubscribed = false
    /// Whether Redis' access rules refuse the room: nothing comes, and no one may enter. A copy as well.
    var isRefused = false
    /// The end of the last turn that brought messages.
    private(set) var lastSent = CoarseInstant.distantPast
    /// Handshakes that wait for `isSubscribed`.
    var waiting: [PendingJoin] = []

    init(id: RoomId, leaveCount: UInt64) {
        self.id = id
        self.leaveCount = leaveCount
        audiences = InlineArray { Audience(Encoding.allCases[$0]) }
    }

    /// Whether the turn has brought messages.
    var isDirty: Bool { !messages.isEmpty }

    /// - Complexity: O(encodings).
    var memberCount: Int { audiences.indices.reduce(0) { $0 + audiences[$1].members.count } }

    /// Whether messages are for no one here.
    var isEmpty: Bool {
        catchingUp.isEmpty && audiences.indices.allSatisfy { audiences[$0].members.isEmpty }
    }

    var isUnused: Bool { pendingCount == 0 && isEmpty }

    /// Takes a message for the end of the turn; returns whether it is the turn's first.
    func append(_ message: Message) -> Bool {
        messages.append(message)
        messageBytes += message.memoryBytes
        if let position = message.position {
            self.position = position
            hasAdvanced = true
        }
        return messages.count == 1
    }

    /// Forgets the turn's messages, which are sent.
    func endTurn(_ now: CoarseInstant) {
        lastSent = now
        messages.removeAll(keepingCapacity: messages.count <= 64)
        messageBytes = 0
        hasAdvanced = false
    }

    /// Adds a member to the audience of its encoding; its seat is what `remove` needs.
    func add(_ member: Member) -> Int32 {
        member.host.loop.assertOnThread()
        return audiences[member.encoding.rawValue].add(member)
    }

    /// Removes a member.
    func remove(_ member: Member, seat: Int32) {
        member.host.loop.assertOnThread()
        let moved = audiences[member.encoding.rawValue].remove(seat: seat)
        moved?.moveSeat(in: self, to: seat)
    }
}
