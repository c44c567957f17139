// What crosses between the threads of a node.

import EventLoop
import Network
import RedisSchema
import Redis

/// To a worker: a message for its members, or news. Both come in one order, because news is about what came
/// before it.
enum WorkerMessage: Sendable {
    case deliver(Message)
    case news(WorkerNews)

    /// The memory of the message, if it is one.
    var memoryBytes: Int {
        if case .deliver(let message) = self { message.memoryBytes } else { 0 }
    }
}

/// What a worker hears beside the messages of its rooms.
enum WorkerNews: Sendable {
    // From the feed, of its rooms.

    /// The room is subscribed: what is published from now on comes. `leaveCount` is how many leaves of this
    /// worker the feed had handled when it said so.
    case subscribed(room: RoomId, leaveCount: UInt64)
    /// Redis' access rules refuse the room.
    case refused(room: RoomId, leaveCount: UInt64)
    /// The feed's connection is lost, and with it every subscription; how often that has happened by now
    /// (wraps).
    case subscriptionsLost(count: UInt32)
    /// It is back, and every room is subscribed again.
    case subscriptionsRestored
    /// Messages of this time may be missing; what follows was published behind it. Only if clients get gap
    /// notices.
    case gapEnded(milliseconds: Int64)
    /// Messages of these rooms are missing here, of this time: the node itself has dropped them.
    case messagesLost(rooms: Set<RoomId>, milliseconds: Int64)

    /// The answer to a connection that resumes, with what it has missed: it goes on from here.
    case resumed(connection: UInt64, [RoomAnswer<Message>])
    /// Opted-in members of these rooms may have missed notices before this one.
    case historyLost([ResumedRoom])

    // From the feed, of what was published to the node.

    /// Another connection has taken the token over from this one.
    case replaced(Token, connection: UInt64)
    /// The token's record was deleted: its connections end.
    case revoked(Token)
    /// All rooms of the node are asked for: this worker's go to the reply channel.
    case listRooms(reply: ReplyId)
    /// The sentinels name this master.
    case master(RedisURL.Address)
    /// The command connections lead to another server than the feed's: they are made again, with the reason.
    case renewCommands(String)

    // From the node.

    /// A connection of the admin listener that goes on as one of the worker's.
    case adopt(Handover)
    /// Another loop is out of descriptors and has no idle connection: one of the worker's goes for it.
    case makeRoom
    /// Take no new connections and close the members, spread over this time.
    case drain(over: Duration)
    case stop
}

/// A connection that one loop hands to another, with a place among the node's HTTP connections that it holds
/// already.
struct Handover: Sendable {
    /// The receiver's to close.
    let socket: Socket
    let peer: IPAddress
    /// What is taken as read of it.
    let bytes: [UInt8]
}

/// To a feed, from a worker or from the node.
enum FeedMessage: Sendable {
    /// The worker has its first member in a room.
    case join(room: RoomId, worker: Int)
    /// The worker's last member has left a room.
    case leave(room: RoomId, worker: Int)
    /// A connection asks for what it has missed in rooms that its worker has joined.
    case resume(ResumeRequest)
    /// It is gone, or has given up.
    case cancelResume(ResumeId)
    /// Redis has taken an echo.
    case echoTaken(ServerAgreement.Echo)
    case stop
}
