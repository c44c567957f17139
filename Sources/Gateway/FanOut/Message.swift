// A published message on its way from the feed to the members of its room. Any thread.

import EventLoop
import RedisSchema
import Synchronization
import WebSocket

/// The forms in which a message goes to a member, by what the member's connection speaks.
enum Encoding: Int, CaseIterable {
    /// A WebSocket text frame (RFC 6455 section 5.6).
    case webSocketText
    /// An event of an event stream.
    case event
    /// A text frame, compressed if that makes it smaller (RFC 7692): the client has negotiated it, and is
    /// free to get any message as it is.
    case webSocketDeflated

    /// A payload in this form; what the node itself has to say is too short to be compressed.
    ///
    /// - Parameter positions: where the connection resumes behind it, for a form that says so.
    func encode(
        _ payload: UnsafeRawBufferPointer, behind positions: [HistoryPosition?] = []
    ) -> SharedBytes {
        switch self {
        case .webSocketText, .webSocketDeflated: .textFrame(payload)
        case .event: EventBlock.event(payload, behind: positions)
        }
    }
}

/// One message of a room: its place in the order of the node's messages, and its bytes for the wire.
///
/// The text frame holds the payload as it was published, and is made when the message is received; so is
/// the compressed frame (`MessageCompressor`). An event is made from it by the first worker that asks, once
/// for the node.
final class Message: Sendable, Equatable {
    let room: RoomId
    /// The node's count of messages at this one: orders the messages of different rooms.
    let order: UInt64
    /// When the message came from Redis.
    let receivedAt: MonotonicInstant
    /// Whether it has a place in its room's history: who is still getting that gets the message with it.
    let isDurable: Bool
    /// The position behind it in its room's history; nil for a plain one, and before the node has read the
    /// epoch.
    let position: HistoryPosition?
    /// The memory that the message takes while it waits: the same for its whole life, as what is added to a
    /// count is to be subtracted again.
    let memoryBytes: Int
    private let textFrame: SharedBytes
    /// Nil if no client asks for it, or if it would be no smaller.
    private let deflatedFrame: SharedBytes?
    private let event = AtomicLazyReference<SharedBytes>()

    /// Copies the payload, which has been checked.
    ///
    /// - Parameters:
    ///   - mayBeEvent: whether the memory of an event is to be counted.
    ///   - deflated: the payload's compressed frame, if there is one.
    init(
        room: RoomId, order: UInt64, receivedAt: MonotonicInstant, isDurable: Bool = false,
        position: HistoryPosition? = nil, mayBeEvent: Bool = false, payload: UnsafeRawBufferPointer,
        deflated: SharedBytes? = nil
    ) {
        deflatedFrame = deflated
        self.isDurable = isDurable
        self.position = position
        self.room = room
        self.order = order
        self.receivedAt = receivedAt
        textFrame = Encoding.webSocketText.encode(payload)
        memoryBytes =
            textFrame.memoryBytes + (deflated?.memoryBytes ?? 0)
            + (mayBeEvent ? EventBlock.memoryBytes(of: payload, hasPosition: position != nil) : 0)
    }

    /// Runs `body` with the published bytes.
    func withPayload<Result>(_ body: (UnsafeRawBufferPointer) -> Result) -> Result {
        withExtendedLifetime(self) {
            let frame = textFrame.bytes
            return body(UnsafeRawBufferPointer(rebasing: frame[FrameHeader.serverBytes(of: frame)...]))
        }
    }

    /// The message's bytes for members of one encoding. If two threads ask for the first time at once, both
    /// get those of one of them.
    func encoded(as encoding: Encoding) -> SharedBytes {
        switch encoding {
        case .webSocketText: textFrame
        case .webSocketDeflated: deflatedFrame ?? textFrame
        case .event:
            event.load() ?? event.storeIfNil(withPayload { encoding.encode($0, behind: [position]) })
        }
    }

    /// Whether two messages have the same payload.
    static func == (left: Message, right: Message) -> Bool {
        left === right || left.textFrame.bytes.elementsEqual(right.textFrame.bytes)
    }
}
