// A WebSocket connection. Loop-confined: belongs to its worker's loop.

import EventLoop
import Glibc
import Network
import RedisSchema
import WebSocket

/// One client: its socket, its token, its rooms, and what it has still to get.
///
///     open ──close──▶ closing ──Close answered, ended, or 5 s──▶ (disconnected)
///     open ──write failed──▶ failed ──end of the turn──▶ (disconnected)
///
/// An idle client owns no buffer: what comes is decoded in the host's read buffer, what goes is shared.
final class Client: Connection {
    enum State { case open, failed, closing }

    /// How the peer's side has ended: not, by its Close frame, or by a violation after which nothing can be read.
    private enum PeerEnd { case none, closed, broken }

    /// How long a peer may take to answer a Close frame, and before that to take its backlog.
    static let closeTimeout = Duration.seconds(5)

    /// What one read takes at most, so that a client that sends without end has its share of a turn and not the whole
    /// of it. Clients have little to say.
    private static let maximumReadBytes = 16 * 1024

    /// For a Close frame behind the rest of a begun frame, of what one turn may have brought
    /// (`Worker.maximumTurnBytes`).
    private static let lastWordBytes = 256 * 1024

    let token: Token
    /// Orders the connections of a worker and tells this one from others of its token.
    let connectionID: UInt64
    /// Unix milliseconds.
    let connectedAt: Int64
    let address: IPAddress
    let record: ClientRecord
    private unowned(unsafe) let worker: Worker
    private(set) var state = State.open
    private var peerEnd = PeerEnd.none
    private var firstSeat: Int32 = 0
    private var secondSeat: Int32 = 0
    /// The worker's `lossCount` when this client's rooms were subscribed: whether a gap concerns it.
    var lossCountAtJoin: UInt32 = 0
    private(set) var firstRoom: Room?
    private(set) var secondRoom: Room?
    /// What the socket has not taken yet; nil while there is nothing.
    private(set) var queue: OutboundQueue?
    private var controlFrames = ControlFrameRate()
    /// Only while a frame or a message is half read.
    private var decoder: DecoderBox?

    /// - Parameters:
    ///   - connection: over which the handshake came; its socket becomes the client's.
    ///   - worker: outlives its clients.
    init(
        takingOver connection: Connection, worker: Worker, token: Token, connectionID: UInt64, connectedAt: Int64,
        address: IPAddress, record: ClientRecord
    ) {
        self.worker = worker
        self.token = token
        self.connectionID = connectionID
        self.connectedAt = connectedAt
        self.address = address
        self.record = record
        worker.clientBegins()
        super.init(takingOver: connection)
    }

    // MARK: The road

    /// Whether messages of two rooms are to be put in order for this client.
    var hasMessagesInBothRooms: Bool {
        guard let secondRoom, let firstRoom else { return false }
        return secondRoom.isDirty && firstRoom.isDirty
    }

    /// Whether `send` would go straight to the socket.
    var canWriteNow: Bool { state == .open && queue == nil }

    /// Writes what the turn has brought, or queues what the socket does not take.
    func send(_ frame: SharedFrame) {
        guard state == .open else { return }
        if let queue {
            enqueue(frame, in: queue)
            return
        }
        worker.writeCount += 1
        sent(frame, socket.write(frame.bytes))
    }

    /// A frame was written to the socket, with this outcome.
    func sent(_ frame: SharedFrame, _ outcome: Socket.Transfer) {
        switch outcome {
        case .bytes(let count):
            worker.writtenBytes += count
            if count < frame.byteCount { beginBacklog(frame, writtenBytes: count) }
        case .wouldBlock:
            beginBacklog(frame, writtenBytes: 0)
        case .endOfStream, .failed:
            fail(.lost)
        }
    }

    /// Writes what the turn has brought in both rooms, or queues references to what the socket does not take.
    func send(_ merged: MergedFrames) {
        guard state == .open else { return }
        if let queue {
            guard mayGrow(queue) else { return }
            for frame in merged.frames { queue.append(frame) }
            worker.queueBytes += merged.byteCount
            return
        }
        switch merged.write(to: socket, onWrite: { worker.writeCount += 1 }) {
        case .bytes(let count):
            worker.writtenBytes += count
            if count < merged.byteCount { beginBacklog(merged, writtenBytes: count) }
        case .wouldBlock:
            beginBacklog(merged, writtenBytes: 0)
        case .endOfStream, .failed:
            fail(.lost)
        }
    }

    private func beginBacklog(_ frame: SharedFrame, writtenBytes: Int) {
        beginBacklog { $0.append(frame, writtenBytes: writtenBytes) }
    }

    private func beginBacklog(_ merged: MergedFrames, writtenBytes: Int) {
        beginBacklog { queue in
            var skipped = writtenBytes
            for frame in merged.frames {
                if skipped < frame.byteCount { queue.append(frame, writtenBytes: skipped) }
                skipped = max(0, skipped - frame.byteCount)
            }
        }
    }

    private func beginBacklog(_ fill: (OutboundQueue) -> Void) {
        let queue = OutboundQueue()
        self.queue = queue
        fill(queue)
        worker.queueBytes += queue.byteCount
        watchWritability(true)
    }

    private func enqueue(_ frame: SharedFrame, in queue: OutboundQueue) {
        guard mayGrow(queue) else { return }
        queue.append(frame)
        worker.queueBytes += frame.byteCount
    }

    /// A backlog within the limit takes what one more turn has brought, of whatever size: nothing is refused for its
    /// own size.
    private func mayGrow(_ queue: OutboundQueue) -> Bool {
        if queue.memoryBytes <= worker.maximumQueueBytes { return true }
        fail(.slowConsumer)
        return false
    }

    /// Not closed at once: the caller may be walking through the members of a room.
    private func fail(_ reason: CloseReason) {
        state = .failed
        worker.clientFailed(self, reason)
    }

    override func socketIsWritable() {
        guard let queue else { return }
        writeOut(queue)
    }

    private func writeOut(_ queue: OutboundQueue) {
        let result = withUnsafeTemporaryAllocation(of: iovec.self, capacity: OutboundQueue.maximumVectorCount) {
            let count = queue.gather(into: $0)
            worker.writeCount += 1
            return socket.write(vectors: UnsafeMutableBufferPointer(rebasing: $0[..<count]))
        }
        switch result {
        case .bytes(let count):
            worker.writtenBytes += count
            worker.queueBytes -= count
            queue.consume(count)
            if queue.isEmpty { backlogIsWritten() }
        case .wouldBlock:
            break
        case .endOfStream, .failed:
            end(.lost)
        }
    }

    private func backlogIsWritten() {
        queue = nil
        watchWritability(false)
        if state == .closing { finishClosing() }
    }

    /// Whether the other connection of this token is newer: Redis gives out the order. Equal only without it.
    func isBefore(_ other: Client) -> Bool {
        (record.order, connectionID) < (other.record.order, other.connectionID)
    }

    // MARK: Rooms

    func takeSeat(_ seat: Int32, in room: Room) {
        if firstRoom == nil {
            firstRoom = room
            firstSeat = seat
        } else {
            secondRoom = room
            secondSeat = seat
        }
    }

    func moveSeat(in room: Room, to seat: Int32) {
        if firstRoom === room { firstSeat = seat } else { secondSeat = seat }
    }

    var rooms: [RoomId] { [firstRoom, secondRoom].compactMap { $0?.id } }

    /// Leaves all rooms, so that nothing more is delivered.
    func leaveRooms(_ table: RoomTable) {
        if let firstRoom { table.leave(firstRoom, seat: firstSeat) }
        if let secondRoom { table.leave(secondRoom, seat: secondSeat) }
        firstRoom = nil
        secondRoom = nil
    }

    // MARK: What the peer sends

    override func socketIsReadable() {
        let buffer = UnsafeMutableRawBufferPointer(rebasing: host.readBuffer[..<Client.maximumReadBytes])
        switch socket.read(into: buffer) {
        case .bytes(let count): receive(UnsafeMutableRawBufferPointer(rebasing: host.readBuffer[..<count]))
        case .wouldBlock: break
        case .endOfStream, .failed: end(.lost)
        }
    }

    /// Decodes bytes of the peer; they are changed in place.
    func receive(_ bytes: UnsafeMutableRawBufferPointer) {
        guard peerEnd == .none else { return }
        var input = bytes
        if let decoder {
            decode(&input, with: &decoder.decoder)
            if decoder.decoder.isIdle || peerEnd != .none { self.decoder = nil }
        } else {
            var fresh = FrameDecoder(.server, maximumMessageBytes: worker.maximumMessageBytes)
            decode(&input, with: &fresh)
            if isWatching, peerEnd == .none, !fresh.isIdle { decoder = DecoderBox(fresh) }
        }
    }

    /// Of the Pings of one read only the latest is answered (RFC 6455 section 5.5.3).
    private func decode(_ input: inout UnsafeMutableRawBufferPointer, with decoder: inout FrameDecoder) {
        var pingBytes: Int?
        var controlCount = 0
        var controlAllowance: Int?
        while isWatching, peerEnd == .none, let event = decoder.next(&input) {
            switch event {
            case .messageStart, .messageBytes, .messageEnd: continue
            case .ping(let payload):
                host.controlBuffer.copyPong(payload)
                pingBytes = payload.count
            case .pong: break
            case .close(let code, _):
                answerPing(pingBytes)
                return peerClosed(code)
            case .failure(let code):
                answerPing(pingBytes)
                return violated(CloseReason(failure: code))
            }
            controlCount += 1
            let allowance = controlAllowance ?? controlFrames.allowance(now: .now)
            controlAllowance = allowance
            if controlCount > allowance, state == .open { return violated(.tooManyControlFrames) }
        }
        guard controlCount > 0 else { return }
        controlFrames.take(controlCount, now: .now)
        answerPing(pingBytes)
    }

    /// Nothing that the peer sends is looked at any more.
    private func violated(_ reason: CloseReason) {
        peerEnd = .broken
        close(reason)
    }

    /// Sends the Pong that lies in the host's buffer, if there was a Ping. Nothing is allocated if the socket takes it,
    /// and what waits is one Pong, however many are owed.
    private func answerPing(_ payloadBytes: Int?) {
        guard let payloadBytes, state == .open else { return }
        let header = FrameHeader(.pong, payloadBytes: payloadBytes)
        let frameBytes = header.encode(into: host.controlBuffer) + payloadBytes
        let pong = UnsafeRawBufferPointer(rebasing: host.controlBuffer[..<frameBytes])
        if let queue {
            worker.queueBytes -= queue.byteCount
            queue.setPong(.raw(pong))
            worker.queueBytes += queue.byteCount
            return
        }
        worker.writeCount += 1
        switch socket.write(pong) {
        case .bytes(let count):
            worker.writtenBytes += count
            if count < frameBytes { beginBacklog(.raw(pong), writtenBytes: count) }
        case .wouldBlock:
            beginBacklog { $0.setPong(.raw(pong)) }
        case .endOfStream, .failed:
            fail(.lost)
        }
    }

    private func peerClosed(_ code: CloseCode?) {
        peerEnd = .closed
        switch state {
        case .open: close(.closedByPeer, answering: code)
        case .closing: if queue == nil { disconnect() }
        // Still a member of its rooms, and the worker's to close: `finishFailure` is on its way.
        case .failed: break
        }
    }

    // MARK: The end

    override func didEnd() {
        worker.clientEnded(self)
    }

    override func deadlinePassed() {
        if state == .open { return worker.heartbeatIsDue(self) }
        leaveLastWord()
        end(.lost)
    }

    /// The peer has not taken its backlog in time. What is left goes to the kernel, in a buffer that is made larger
    /// for it: a slow consumer has only its Close frame left, so that it learns why the connection has ended if it
    /// reads again within `--tcp-user-timeout`, and no descriptor is kept for it.
    private func leaveLastWord() {
        guard let queue else { return }
        socket.enlargeSendBuffer(byBytes: Client.lastWordBytes)
        writeOut(queue)
    }

    /// Says goodbye: leaves the rooms, sends the backlog and a Close frame, and waits for the peer's.
    ///
    /// - Parameter code: what the peer's own Close frame said, when it came first.
    func close(_ reason: CloseReason, answering code: CloseCode? = nil) {
        guard state != .closing else { return }
        state = .closing
        worker.clientLeft(self, reason)
        setDeadline(after: Client.closeTimeout)
        let queue = queue ?? OutboundQueue()
        self.queue = queue
        if reason == .slowConsumer {
            // Only a begun frame must be completed for the Close frame to be understood.
            worker.queueBytes -= queue.byteCount
            queue.dropUnbegun()
            worker.queueBytes += queue.byteCount
        }
        let frame = SharedFrame.close(reason, answering: code)
        queue.append(frame)
        worker.queueBytes += frame.byteCount
        watchWritability(true)
        writeOut(queue)
    }

    /// The Close frame is out.
    private func finishClosing() {
        switch peerEnd {
        // The peer's Close frame is awaited, until the deadline.
        case .none: break
        case .closed: disconnect()
        // To close with bytes of the peer unread would reset the connection and take the Close frame along: its end
        // is awaited instead, until the deadline.
        case .broken: socket.shutdownWriting()
        }
    }

    /// Acts on what `fail` found, when nobody walks through rooms any more.
    func finishFailure(_ reason: CloseReason) {
        guard state == .failed else { return }
        if reason == .slowConsumer { close(reason) } else { end(reason) }
    }

    /// Ends the connection without goodbye.
    private func end(_ reason: CloseReason) {
        if state != .closing {
            state = .closing
            worker.clientLeft(self, reason)
        }
        if let queue { worker.queueBytes -= queue.byteCount }
        queue = nil
        disconnect()
    }
}

extension UnsafeMutableRawBufferPointer {
    /// Keeps a Ping's payload behind the room for the Pong's header.
    fileprivate func copyPong(_ payload: UnsafeRawBufferPointer) {
        let headerBytes = FrameHeader(.pong, payloadBytes: payload.count).encodedBytes
        UnsafeMutableRawBufferPointer(rebasing: self[headerBytes...]).copyMemory(from: payload)
    }
}

/// A decoder in the middle of a frame or a message, on the heap because most clients have none.
private final class DecoderBox {
    var decoder: FrameDecoder

    init(_ decoder: FrameDecoder) {
        self.decoder = decoder
    }
}
