// A published message on its way from the feed to the members of its room. Any thread.

import EventLoop
import RedisSchema

/// The forms in which a message goes to a member, by what the member's connection speaks.
enum Encoding: Int, CaseIterable {
    /// A WebSocket text frame (RFC 6455 section 5.6).
    case webSocketText

    /// A payload in this form.
    func encode(_ payload: UnsafeRawBufferPointer) -> SharedBytes {
        switch self {
        case .webSocketText: .textFrame(payload)
        }
    }
}

/// One message of a room: its place in the order of the node's messages, and its bytes for the wire.
///
/// The text frame holds the payload as it was published, and is made when the message is received. An
/// encoding that only some rooms use is made from it by the first worker that asks, once for the node.
final class Message: Sendable, Equatable {
    let room: RoomId
    /// The node's count of messages at this one: orders the messages of different rooms.
    let order: UInt64
    /// When the message came from Redis.
    let receivedAt: MonotonicInstant
    /// Whether it has a place in its room's history: who is still getting that gets the message with it.
    let isDurable: Bool
    private let textFrame: SharedBytes

    /// Copies the payload, which has been checked.
    init(
        room: RoomId, order: UInt64, receivedAt: MonotonicInstant, isDurable: Bool = false,
        payload: UnsafeRawBufferPointer
    ) {
        self.isDurable = isDurable
        self.room = room
        self.order = order
        self.receivedAt = receivedAt
        textFrame = Encoding.webSocketText.encode(payload)
    }

    /// The message's bytes for members of one encoding.
    func encoded(as encoding: Encoding) -> SharedBytes {
        switch encoding {
        case .webSocketText: textFrame
        }
    }

    /// The memory that the message takes while it waits.
    var memoryBytes: Int { textFrame.memoryBytes }

    /// Whether two messages have the same payload.
    static func == (left: Message, right: Message) -> Bool {
        left === right || left.textFrame.bytes.elementsEqual(right.textFrame.bytes)
    }
}
