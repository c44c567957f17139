// A connection that gets the messages of its rooms. Loop-confined: belongs to its worker's loop.

import EventLoop
import Glibc
import Network
import RedisSchema

/// One member of up to two rooms: its token, its seats, its way out to the socket, and what it has still to
/// get.
///
/// What the peer sends, and how one says goodbye to it, is the subclass's business. An idle member owns no
/// buffer: what goes to it is shared.
class Member: Connection, TokenHolder {
    // In an order that leaves no gaps: 10,000 of them are nothing unusual.
    final let token: Token
    /// Orders the connections of a worker and tells this one from others of its token.
    final let connectionID: UInt64
    /// Unix milliseconds.
    final let connectedAt: Int64
    final let address: IPAddress
    final unowned(unsafe) let worker: Worker
    private(set) final var firstRoom: Room?
    private(set) final var secondRoom: Room?
    /// What the socket has not taken yet; nil while there is nothing.
    private(set) final var queue: OutboundQueue?
    final let record: ClientRecord
    final let encoding: Encoding
    /// Whether it wants to miss nothing of its rooms' histories.
    final let isOptedIn: Bool
    /// Whether it has not got all of them yet.
    private final var isCatchingUp = false
    private final var state = MemberState()
    /// The feed's count of losses when this member's rooms were subscribed: whether a gap concerns it.
    final var lossCountAtJoin: UInt32 = 0
    final var deadlines = MemberDeadlines()
    private final var firstSeat: Int32 = 0
    private final var secondSeat: Int32 = 0

    /// - Parameters:
    ///   - connection: over which the handshake came; its socket becomes the member's.
    ///   - worker: outlives its members.
    required init(
        takingOver connection: Connection, worker: Worker, encoding: Encoding, isOptedIn: Bool = false,
        token: Token, connectionID: UInt64, connectedAt: Int64, address: IPAddress, record: ClientRecord
    ) {
        self.worker = worker
        self.encoding = encoding
        self.isOptedIn = isOptedIn
        self.token = token
        self.connectionID = connectionID
        self.connectedAt = connectedAt
        self.address = address
        self.record = record
        worker.connections.memberBegins(encoding)
        super.init(takingOver: connection)
        state = MemberState(peer: type(of: self).peerSide)
    }

    /// What the peer's side of a connection begins with.
    class var peerSide: MemberState.PeerSide { .open }

    /// The bytes that end the conversation.
    ///
    /// - Parameter reason: for which the member is closed.
    func goodbye(_ reason: CloseReason) -> SharedBytes {
        preconditionFailure("a subclass knows its goodbye")
    }

    final var phase: MemberState.Phase { state.phase }

    final var isOpen: Bool { state.isOpen }

    /// Sends the least that there is, as nothing was sent for `--ping-interval`: proxies on the way would
    /// take the connection for dead. Not called where `--ping-interval` is off.
    func ping() {}

    /// Whether the peer's answers to `ping` are its heartbeats, so that it is called every interval,
    /// whatever was sent.
    var beatsByPong: Bool { false }

    /// Whether a gap in what the node hears is a gap for this member: an opted-in one is told of what is lost
    /// for good.
    final var wantsGapNotices: Bool { !isOptedIn }

    /// Whether what the peer sends is looked at.
    final var readsPeer: Bool { state.readsPeer }

    private final var turn: Turn { worker.turn }

    // MARK: The road

    /// Whether `send` would go straight to the socket.
    final var canWriteNow: Bool { isOpen && queue == nil }

    /// Whether this member gets the turn's messages one by one rather than the runs of its rooms: those of
    /// two rooms are put in order for it, or have the positions of both behind them.
    final var isHeldOut: Bool {
        guard let secondRoom, let firstRoom else { return false }
        return secondRoom.isDirty && firstRoom.isDirty
            || encoding.carriesPositions && (firstRoom.hasAdvanced || secondRoom.hasAdvanced)
    }

    /// Whether the socket has taken everything so far.
    final var hasNoBacklog: Bool { queue == nil }

    /// Writes what the turn has brought, or queues what the socket does not take.
    final func send(_ bytes: SharedBytes) {
        guard isOpen else { return }
        if let queue {
            guard mayGrow(queue) else { return }
            return changeBacklog { $0.append(bytes) }
        }
        turn.writeCount += 1
        sent(bytes, socket.write(bytes.bytes))
    }

    /// The bytes were written to the socket, with this outcome.
    final func sent(_ bytes: SharedBytes, _ outcome: Socket.Transfer) {
        sent(CollectionOfOne(bytes), bytes.byteCount, outcome)
    }

    /// Writes what the turn has brought in both rooms, or queues references to what the socket does not
    /// take.
    final func send(_ messages: MergedMessages) {
        guard isOpen else { return }
        if let queue, !mayGrow(queue) { return }
        write(messages.bytes)
    }

    /// Writes runs of bytes in order, or queues references to what the socket does not take, whatever its
    /// size.
    final func send(_ parts: [SharedBytes]) {
        if isOpen, !parts.isEmpty { write(GatheredBytes(parts)) }
    }

    private final func write(_ bytes: GatheredBytes) {
        if queue != nil { return changeBacklog { for part in bytes.parts { $0.append(part) } } }
        let outcome = bytes.write(to: socket, onWrite: { turn.writeCount += 1 })
        sent(bytes.parts, bytes.byteCount, outcome)
    }

    /// It cannot keep up.
    final func isTooSlow() { fail(.slowConsumer) }

    private final func sent(
        _ parts: some Sequence<SharedBytes>, _ byteCount: Int, _ outcome: Socket.Transfer
    ) {
        var writtenBytes = 0
        switch outcome {
        case .bytes(let count):
            turn.writtenBytes += count
            if count == byteCount { return }
            writtenBytes = count
        case .wouldBlock: break
        case .endOfStream, .failed: return fail(.lost)
        }
        changeBacklog { queue in
            for part in parts {
                if writtenBytes < part.byteCount { queue.append(part, writtenBytes: writtenBytes) }
                writtenBytes = max(0, writtenBytes - part.byteCount)
            }
        }
    }

    /// A backlog within the limit takes what one more turn has brought, of whatever size: nothing is refused
    /// for its own size.
    private final func mayGrow(_ queue: OutboundQueue) -> Bool {
        if queue.memoryBytes <= worker.maximumQueueBytes { return true }
        fail(.slowConsumer)
        return false
    }

    private final func fail(_ reason: CloseReason) { perform(state.fail(reason)) }

    // MARK: The backlog

    /// Changes the backlog, and what the worker counts of all backlogs with it. One that begins is written
    /// as the socket takes it.
    private final func changeBacklog(_ change: (OutboundQueue) -> Void) {
        let queue = self.queue ?? OutboundQueue()
        let before = queue.byteCount
        change(queue)
        turn.queueBytes += queue.byteCount - before
        guard self.queue == nil else { return }
        self.queue = queue
        watchWritability(true)
    }

    /// Writes a control frame now, or behind the frame that is begun; of those that wait the latest is kept.
    final func sendControl(_ frame: UnsafeRawBufferPointer) {
        guard isOpen else { return }
        if queue != nil { return changeBacklog { $0.setPong(.copying(frame)) } }
        turn.writeCount += 1
        switch socket.write(frame) {
        case .bytes(let count):
            turn.writtenBytes += count
            if count < frame.count { changeBacklog { $0.append(.copying(frame), writtenBytes: count) } }
        case .wouldBlock: changeBacklog { $0.setPong(.copying(frame)) }
        case .endOfStream, .failed: fail(.lost)
        }
    }

    override final func socketIsWritable() {
        if let queue { writeOut(queue) }
    }

    private final func writeOut(_ queue: OutboundQueue) {
        let result = withUnsafeTemporaryAllocation(of: iovec.self, capacity: Limits.backlogVectorCount) {
            let count = queue.gather(into: $0)
            turn.writeCount += 1
            return socket.write(vectors: UnsafeMutableBufferPointer(rebasing: $0[..<count]))
        }
        switch result {
        case .bytes(let count):
            turn.writtenBytes += count
            turn.queueBytes -= count
            queue.consume(count)
            if queue.isEmpty { backlogIsWritten() }
        case .wouldBlock: break
        case .endOfStream, .failed: connectionEnded()
        }
    }

    private final func backlogIsWritten() {
        queue = nil
        watchWritability(false)
        perform(state.backlogWritten())
        catchUp?.backlogIsWritten()
    }

    private final func dropBacklog() {
        if let queue { turn.queueBytes -= queue.byteCount }
        queue = nil
    }

    // MARK: Rooms

    /// Gets the messages of its rooms from here on, or first the rest of what it has missed.
    ///
    /// - Parameter answers: what it has got of its rooms' histories; empty if it has not opted in.
    final func enter(_ pending: PendingJoin, _ answers: [RoomAnswer<Message>]) {
        guard !answers.allSatisfy(\.replay.isComplete) else { return takeSeats(pending, answers) }
        isCatchingUp = true
        worker.connections.catchingUp[connectionID] = CatchUp(self, pending, behind: answers)
    }

    /// - Parameter answers: of a member that has now got everything.
    final func takeSeats(_ pending: PendingJoin, _ answers: [RoomAnswer<Message>]) {
        worker.rooms.join(self, pending)
        for answer in answers { worker.rooms.setPosition(answer.reached, of: answer.room) }
    }

    /// What it has still to get; nil for most members.
    final var catchUp: CatchUp? { isCatchingUp ? worker.connections.catchingUp[connectionID] : nil }

    final func catchUpEnded() {
        isCatchingUp = false
        worker.connections.catchingUp[connectionID] = nil
    }

    final func takeSeat(_ seat: Int32, in room: Room) {
        if firstRoom == nil {
            firstRoom = room
            firstSeat = seat
        } else {
            secondRoom = room
            secondSeat = seat
        }
    }

    final func moveSeat(in room: Room, to seat: Int32) {
        if firstRoom === room { firstSeat = seat } else { secondSeat = seat }
    }

    final var rooms: [RoomId] { [firstRoom, secondRoom].compactMap { $0?.id } }

    /// Leaves all rooms, so that nothing more is delivered.
    final func leaveRooms(_ table: RoomTable) {
        catchUp?.cancel(table)
        if let firstRoom { table.leave(firstRoom, self, seat: firstSeat) }
        if let secondRoom { table.leave(secondRoom, self, seat: secondSeat) }
        firstRoom = nil
        secondRoom = nil
    }

    /// Whether the other connection of this token is newer: Redis gives out the order. Equal only without
    /// it.
    final func isBefore(_ other: Member) -> Bool {
        (record.order, connectionID) < (other.record.order, other.connectionID)
    }

    // MARK: The end

    /// Ends the connection with a goodbye.
    final func close(_ reason: CloseReason) { perform(state.close(reason)) }

    /// The peer has said goodbye.
    final func peerClosed() { perform(state.peerClosed(hasBacklog: queue != nil)) }

    /// The peer has broken the protocol; nothing that it sends is looked at any more.
    final func peerViolated(_ reason: CloseReason) { perform(state.peerViolated(reason)) }

    /// Acts on what a write has found, when no one walks through rooms any more.
    final func turnEnded() { perform(state.turnEnded()) }

    /// The connection is over, or has to be.
    final func connectionEnded() { perform(state.connectionEnded()) }

    private final func perform(_ action: MemberState.Action) {
        switch action {
        case .nothing: break
        case .awaitTurnEnd: turn.finishLater(self)
        case .sayGoodbye(let reason): sayGoodbye(reason)
        case .abandon(let reason):
            worker.connections.memberLeft(self, reason)
            dropBacklog()
            disconnect()
        case .disconnect:
            dropBacklog()
            disconnect()
        case .shutDownWriting: socket.shutdownWriting()
        }
    }

    private final func sayGoodbye(_ reason: CloseReason) {
        worker.connections.memberLeft(self, reason)
        setDeadline(after: Limits.closeTimeout)
        let goodbye = goodbye(reason)
        changeBacklog { queue in
            // Only a begun frame must be completed for what follows to be understood.
            if reason == .slowConsumer { queue.dropUnbegun() }
            queue.append(goodbye)
        }
        if let queue { writeOut(queue) }
    }

    override final func deadlinePassed() {
        if isOpen { return lookAtDeadlines() }
        leaveLastWord()
        connectionEnded()
    }

    /// The peer has not taken its backlog in time. What is left goes to the kernel, in a buffer that is made
    /// larger for it: a slow consumer has only its goodbye left, so that it learns why the connection has
    /// ended if it reads again within `--tcp-user-timeout`, and no descriptor is kept for it.
    private final func leaveLastWord() {
        guard let queue else { return }
        // The kernel counts more than the bytes.
        socket.enlargeSendBuffer(
            byBytes: queue.byteCount + Limits.connectionRoomCount * Limits.turnRoomBytes)
        // A begun run may be longer than one write: a turn ends with the message that exceeds its share.
        var leftBytes = Int.max
        while self.queue === queue, queue.byteCount < leftBytes {
            leftBytes = queue.byteCount
            writeOut(queue)
        }
    }

    override final func didEnd() {
        worker.connections.memberEnded(self)
    }
}
