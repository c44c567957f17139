// The connections of clients in the model, and what comes over them.

import EventLoop
import RedisSchema

@testable import Gateway

/// What a client gets.
enum ModelMail {
    case resume([ResumedRoom])
    case notice(Int, ModelFrame)
}

/// One connection of a client to a node.
final class ModelConnection {
    let id: ResumeId
    let client: Int
    let rooms: [Int]
    /// What was asked for.
    let asked: [HistoryPosition?]
    var isClosed = false
    var out = Fifo<ModelMail>()
    /// From where a replay goes on whose part is out.
    var reached: [HistoryPosition]?
    var hasResumed = false

    init(id: ResumeId, client: Int, rooms: [Int], asked: [HistoryPosition?]) {
        self.id = id
        self.client = client
        self.rooms = rooms
        self.asked = asked
    }
}

/// What the feed tells the worker, in order.
enum ModelNews {
    case deliver(Int, ModelFrame)
    /// Messages of these rooms were dropped.
    case dropped(Set<Int>)
    case lost([ResumedRoom])
    case resumed(ModelConnection, [RoomAnswer<ModelFrame>])
}
