// What crosses between the threads of a node.

import EventLoop
import Network
import Redis
import RedisSchema

/// To a worker, from the subscriber or from the node.
enum WorkerMessage: Sendable {
    /// A message for a room's clients.
    case deliver(room: RoomId, frame: SharedFrame)
    /// The room is subscribed: what is published from now on comes.
    case subscribed(room: RoomId)
    /// The subscriber's connection is lost: no room is subscribed.
    case subscriptionsLost
    /// It is back, and every room is subscribed again.
    case subscriptionsRestored
    /// Messages of this time may be missing; what follows was published behind it. Only where clients are told.
    case gapEnded(milliseconds: Int64)
    /// Messages of these rooms are missing here, of this time: the node itself has dropped them. Only where clients are
    /// told.
    case messagesLost(rooms: Set<RoomId>, milliseconds: Int64)
    /// Redis' access rules refuse the room.
    case refused(room: RoomId)
    /// The sentinels name this master.
    case master(RedisURL.Address)
    /// Another connection has taken the token over from this one.
    case replaced(Token, connection: UInt64)
    /// The token's record was deleted: its connections end.
    case revoked(Token)
    /// Somebody asks for all rooms of the node: tell this worker's on the reply channel.
    case listRooms(reply: ReplyId)
    /// A connection of the admin listener that goes on as one of the worker's.
    case adopt(Handover)
    /// Take no new connections and close the clients, spread over this time.
    case drain(over: Duration)
    case stop

    /// The memory of the message's frame, if it carries one.
    var frameBytes: Int {
        if case .deliver(_, let frame) = self { frame.memoryBytes } else { 0 }
    }
}

/// A connection that one loop hands to another, with a place among the node's HTTP connections that it holds already.
struct Handover: Sendable {
    /// The receiver's to close.
    let socket: Socket
    let peer: IPAddress
    /// What is taken as read of it.
    let bytes: [UInt8]
}

/// To the subscriber, from a worker or from the node.
enum SubscriberMessage: Sendable {
    /// The worker has its first client in a room.
    case join(room: RoomId, worker: Int)
    /// The worker's last client has left a room.
    case leave(room: RoomId, worker: Int)
    case stop
}
