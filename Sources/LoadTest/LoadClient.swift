// One connection of the load test, a WebSocket or an event stream, from the first packet to the end.
// Loop-confined.

import Bytes
import EventLoop
import Glibc
import HTTP
import WebSocket

/// A client that reads what its rooms receive and books it.
///
///     connecting → handshaking → open → [leaving] → ended
///
/// `leaving`: the Close frame is sent, or our side of an event stream ended; what still comes is booked, and the
/// server's end of the connection awaited.
final class LoadClient: SocketWatcher {
    enum Phase { case connecting, handshaking, open, leaving, ended }

    private static let maximumHeadBytes = 16 << 10
    /// Messages of our own have one size; anything longer than this is not ours.
    private static let maximumMessageBytes = 2 << 20

    /// The number of its place in the process.
    let seat: Int
    let startedAt: MonotonicInstant
    private(set) var phase = Phase.connecting
    private(set) var first: RoomLedger
    private(set) var second: RoomLedger?
    /// Whether it stops reading once it is open.
    let isSlow: Bool
    private var isResumed = false
    /// Of a client that resumes.
    private var track: ResumeTrack?
    /// Whether it goes on where the connection before was cut.
    private let isContinued: Bool

    private unowned(unsafe) let holder: Holder
    private let check: DeliveryCheck
    private var request: [UInt8] = []
    private var handshake: ClientHandshake?
    /// Of an event stream, in place of handshake and frames.
    private var events: EventStreamReader?
    private var decoder = FrameDecoder(.client, maximumMessageBytes: LoadClient.maximumMessageBytes)
    /// A response head, or a message that did not come in one piece.
    private var partial: [UInt8] = []

    /// - Parameters:
    ///   - socket: on its way to be connected; closed by this object.
    ///   - rooms: one or two.
    ///   - isEventStream: whether it is no WebSocket.
    ///   - before: what the seat's connection before has left.
    init(
        _ socket: Socket, seat: Int, rooms: [Int], isSlow: Bool, isEventStream: Bool, target: String,
        host: String, continuing before: Continuation?, holder: Holder
    ) {
        self.seat = seat
        self.holder = holder
        self.isSlow = isSlow
        check = holder.check
        startedAt = .now
        isContinued = before != nil
        first = before?.first ?? RoomLedger(room: rooms[0], firstRequired: 0)
        second = before?.second ?? (rooms.count > 1 ? RoomLedger(room: rooms[1], firstRequired: 0) : nil)
        if holder.plan.load.isDurable {
            track = before?.track ?? ResumeTrack(rooms.map { RoomName.id(room: $0, run: holder.plan.run) })
        }
        super.init(socket: socket, loop: holder.loop)
        if isEventStream {
            events = EventStreamReader(maximumBytes: LoadClient.maximumMessageBytes)
            request = Array(
                "GET \(target) HTTP/1.1\r\nHost: \(host)\r\nAccept: text/event-stream\r\n\r\n".utf8)
        } else {
            beginHandshake(target: target, host: host)
        }
        watchWritability(true)
    }

    private func beginHandshake(target: String, host: String) {
        var generator = SystemRandomNumberGenerator()
        let nonce = (generator.next(), generator.next())
        let handshake = withUnsafeBytes(of: nonce) {
            ClientHandshake(nonce: $0, offersCompression: holder.plan.load.isCompressed)
        }
        handshake.appendRequest(target: target, host: host, to: &request)
        self.handshake = handshake
    }

    /// Sends the Close frame; the holder hears of the end.
    func leave() {
        phase = .leaving
        guard events == nil else { return socket.shutdownWriting() }
        var frame: [UInt8] = []
        FrameEncoder.appendClose(.normal, maskingKey: MaskingKey(networkOrder: 0x5A17_C0DE), to: &frame)
        send(frame)
    }

    /// Ends the connection at once, without a word to the holder.
    func drop() {
        guard phase != .ended else { return }
        phase = .ended
        stopWatching()
        socket.close()
    }

    /// How many of the messages 0..<`count` have not come.
    func missingCount(ofMessages count: Int) -> Int {
        let assignment = holder.assignment
        let missing = first.missingCount(before: assignment.messageCount(before: count, in: first.room))
        guard let second else { return missing }
        return missing + second.missingCount(before: assignment.messageCount(before: count, in: second.room))
    }

    /// The verdict, if the messages 0..<`count` had to come from the moment that the connection was open.
    func counts(ofMessages count: Int) -> DeliveryCounts {
        let assignment = holder.assignment
        var counts = first.counts(requiredBefore: assignment.messageCount(before: count, in: first.room))
        if let second {
            counts += second.counts(requiredBefore: assignment.messageCount(before: count, in: second.room))
        }
        return counts
    }

    /// What the next connection of its seat goes on from; nil if clients do not resume.
    var continuation: Continuation? {
        track.map { Continuation(track: $0, first: first, second: second) }
    }

    /// A slow client reads again, to find out what has become of it.
    func resume() {
        isResumed = true
        watchReadability(true)
    }

    override func socketIsWritable() {
        guard phase == .connecting else { return watchWritability(false) }
        let code = Destination.connectError(socket)
        guard code == 0 else { return end(SystemError.message(of: code)) }
        watchWritability(false)
        phase = .handshaking
        send(request)
        request = []
    }

    override func socketIsReadable() {
        while isWatching {
            switch socket.read(into: holder.readBuffer) {
            case .bytes(let count):
                let bytes = UnsafeMutableRawBufferPointer(rebasing: holder.readBuffer[..<count])
                take(bytes)
                // The socket is empty, or will be reported again.
                if count < holder.readBuffer.count || (isSlow && !isResumed) { return }
            case .wouldBlock: return
            case .endOfStream: return end("end of stream")
            case .failed(let code): return end(SystemError.message(of: code))
            }
        }
    }

    private func take(_ bytes: UnsafeMutableRawBufferPointer) {
        // A full server may answer before it has read anything, and that may be seen before the connection
        // is.
        guard phase == .handshaking || phase == .connecting else { return decode(bytes) }
        partial += bytes
        let parsed = partial.withUnsafeBytes {
            HttpResponseHead.parse($0, maximumBytes: LoadClient.maximumHeadBytes)
        }
        switch parsed {
        case .incomplete: return
        case .failed: return end("malformed answer")
        case .complete(let head):
            guard events == nil else { return openStream(head, bytes) }
            do throws(ClientHandshakeError) {
                let isCompressed = try handshake?.verify(head) == true
                if holder.plan.load.isCompressed {
                    guard isCompressed else { return end("compression declined") }
                    decoder = FrameDecoder(
                        .client, maximumMessageBytes: LoadClient.maximumMessageBytes,
                        inflater: holder.inflater)
                }
            } catch {
                let wait = Postponed.wait(statusCode: head.statusCode, fields: head.fields)
                return end(LoadClient.name(of: error), wait: wait)
            }
            open(head, bytes)
        }
    }

    private func openStream(_ head: HttpResponseHead, _ bytes: UnsafeMutableRawBufferPointer) {
        guard head.statusCode == HttpStatus.ok.rawValue,
            head.fields.value(of: "Content-Type") == "text/event-stream"
        else {
            let wait = Postponed.wait(statusCode: head.statusCode, fields: head.fields)
            return end(
                head.statusCode == HttpStatus.ok.rawValue ? "malformed answer" : "\(head.statusCode)",
                wait: wait)
        }
        open(head, bytes)
    }

    /// Frames or events may stand right behind the head.
    private func open(_ head: HttpResponseHead, _ bytes: UnsafeMutableRawBufferPointer) {
        open()
        let behind = bytes.count - (partial.count - head.headBytes)
        partial = []
        decode(UnsafeMutableRawBufferPointer(rebasing: bytes[behind...]))
    }

    private func open() {
        handshake = nil
        phase = .open
        if !isContinued {
            let published = holder.board.publishedCount
            first = ledger(first.room, published)
            if let second { self.second = ledger(second.room, published) }
        }
        holder.opened(self)
        if isSlow { watchReadability(false) }
    }

    /// What is published from now on has to arrive.
    private func ledger(_ room: Int, _ published: Int) -> RoomLedger {
        RoomLedger(room: room, firstRequired: holder.assignment.messageCount(before: published, in: room))
    }

    private func decode(_ bytes: UnsafeMutableRawBufferPointer) {
        guard !bytes.isEmpty else { return }
        let now = MonotonicInstant.now.nanoseconds
        guard events == nil else { return readEvents(UnsafeRawBufferPointer(bytes), at: now) }
        var rest = bytes
        var hasWholeMessage = false
        while isWatching, let event = decoder.next(&rest) {
            switch event {
            case .messageStart: hasWholeMessage = false
            case .messageBytes(let piece):
                if partial.isEmpty, !hasWholeMessage, track == nil, piece.count == check.payload.bytes {
                    hasWholeMessage = true
                    deliver(piece, at: now)
                } else {
                    partial += piece
                }
            case .messageEnd:
                if track != nil {
                    deliverDurable(at: now)
                } else if !partial.isEmpty {
                    partial.withUnsafeBytes { deliver($0, at: now) }
                }
                partial.removeAll(keepingCapacity: track != nil)
            case .ping(let piece): pong(piece)
            case .pong: break
            case .close(let code, _): end("\(code?.rawValue ?? 1005)")
            case .failure(let code): end("protocol failure \(code.rawValue)")
            }
        }
    }

    private func readEvents(_ bytes: UnsafeRawBufferPointer, at now: Int64) {
        events?.read(bytes) { event in
            guard isWatching else { return }
            switch event {
            case .notice(let data):
                guard track != nil else { return deliver(data, at: now) }
                partial = Array(data)
                deliverDurable(at: now)
            case .close(let data):
                end("\(LoadClient.code(ofClose: data))")
            case .stray: check.countCorrupt()
            }
        }
    }

    /// A durable frame ends with what was published, without its first brace.
    private func deliverDurable(at now: Int64) {
        switch partial.withUnsafeBytes({ track?.take($0) }) {
        case .resume(let lossCount): check.countLosses(lossCount)
        case .notice where partial.count > check.payload.bytes:
            let start = partial.count - check.payload.bytes
            partial[start] = UInt8(ascii: "{")
            partial.withUnsafeBytes { deliver(UnsafeRawBufferPointer(rebasing: $0[start...]), at: now) }
        default: check.countCorrupt()
        }
    }

    private func deliver(_ bytes: UnsafeRawBufferPointer, at now: Int64) {
        guard let stamp = check.payload.decode(bytes) else { return check.countCorrupt() }
        let room = Int(stamp.room)
        let arrival: RoomLedger.Arrival
        if room == first.room, stamp.run == check.run {
            arrival = first.receive(Int(stamp.sequence))
        } else if room == second?.room, stamp.run == check.run {
            arrival = second?.receive(Int(stamp.sequence)) ?? .duplicate
        } else {
            return check.countMisrouted()
        }
        // What a slow client catches up with is no delivery to measure.
        if arrival != .duplicate, !isSlow { check.count(stamp, at: now) }
    }

    private func pong(_ payload: UnsafeRawBufferPointer) {
        var frame: [UInt8] = []
        FrameEncoder.append(
            .pong, payload: payload, maskingKey: MaskingKey(networkOrder: 0x0C0F_FEE5), to: &frame)
        send(frame)
    }

    /// A few hundred bytes at most, on a socket to which nothing else is written: they fit, or the
    /// connection is as good as gone, which reading finds.
    private func send(_ bytes: [UInt8]) {
        _ = bytes.withUnsafeBytes { socket.write($0) }
    }

    private func end(_ reason: String, wait: Duration? = nil) {
        let phase = phase
        drop()
        holder.ended(self, in: phase, reason: reason, wait: wait)
    }

    /// `{"code":4000,…}`; 1005 for what has no code.
    private static func code(ofClose data: UnsafeRawBufferPointer) -> Int {
        let head: StaticString = #"{"code":"#
        guard data.prefix(head.utf8CodeUnitCount).elementsEqual(head.rawBytes) else { return 1005 }
        return data.dropFirst(head.utf8CodeUnitCount).prefix(while: Ascii.isDigit).prefix(4)
            .reduce(0) { $0 * 10 + Int($1 - UInt8(ascii: "0")) }
    }

    private static func name(of error: ClientHandshakeError) -> String {
        switch error {
        case .refused(let statusCode): "\(statusCode)"
        case .malformed: "malformed answer"
        }
    }
}

/// What a client that resumes takes from one connection to the next.
struct Continuation {
    let track: ResumeTrack
    let first: RoomLedger
    let second: RoomLedger?
}
