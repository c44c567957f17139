// What opted-in members are told and given. Loop-confined.

import RedisSchema

extension Member {
    /// Begins with the answer to the request and with what has been missed, in one write.
    ///
    /// - Parameters:
    ///   - response: the answer's head.
    ///   - answers: for each of the rooms, in the order of the handshake.
    final func begin(_ response: [UInt8], _ answers: [RoomAnswer<Message>]) {
        send([.copying(response), notice(of: answers, among: answers)] + frames(answers))
    }

    /// The word where the histories of some rooms go on.
    ///
    /// - Parameter all: the answers of all rooms, which say where the connection resumes.
    final func notice(of some: [RoomAnswer<Message>], among all: [RoomAnswer<Message>]) -> SharedBytes {
        notice(some.map(\.told), behind: all.map(\.position))
    }

    private func notice(_ rooms: [ResumedRoom], behind positions: [HistoryPosition?]) -> SharedBytes {
        ResumeNotice.bytes(rooms).withUnsafeBytes { encoding.encode($0, behind: positions) }
    }

    /// What was missed, room after room.
    final func frames(_ answers: [RoomAnswer<Message>]) -> [SharedBytes] {
        guard encoding.carriesPositions else {
            return answers.flatMap { $0.replay.frames.map { $0.encoded(as: encoding) } }
        }
        // An epoch that has changed since a message came leaves its shared bytes with the old one; and those
        // of two rooms have but one position.
        var positions: [HistoryPosition?] = answers.map(\.position)
        var frames: [SharedBytes] = []
        for (index, answer) in answers.enumerated() {
            for message in answer.replay.frames {
                if let id = message.withPayload({ NoticeId(head: $0, room: message.room) }) {
                    positions[index] = HistoryPosition(epoch: answer.position.epoch, id: id)
                }
                frames.append(
                    positions == [message.position]
                        ? message.encoded(as: encoding)
                        : message.withPayload { encoding.encode($0, behind: positions) })
            }
            positions[index] = answer.reached
        }
        return frames
    }

    /// Tells that notices may be missing in some of its rooms. One that is catching up hears it with the
    /// next part.
    final func tellLost(_ lost: [RoomId: ResumedRoom]) -> SharedBytes? {
        guard isOpen, isOptedIn, catchUp == nil else { return nil }
        let concerned = rooms.compactMap { lost[$0] }
        guard !concerned.isEmpty else { return nil }
        return notice(concerned, behind: [firstRoom, secondRoom].compactMap { $0 }.map(\.position))
    }
}

extension RoomAnswer {
    /// What the client is told of the room.
    fileprivate var told: ResumedRoom { ResumedRoom(room: room, since: position, isLost: isLost) }

    /// The position behind what is given.
    var reached: HistoryPosition { HistoryPosition(epoch: position.epoch, id: replay.reached) }
}

extension Worker {
    /// Tells opted-in members of some rooms, each once, that notices may be missing.
    func tellHistoryLost(_ lost: [ResumedRoom]) {
        turn.flush()
        let byRoom = Dictionary(lost.map { ($0.room, $0) }) { first, _ in first }
        for told in lost { rooms.setPosition(told.since, of: told.room) }
        turn.write(to: connections.members) { $0.tellLost(byRoom) }
    }

    /// Messages of some rooms were dropped on their way to this worker: opted-in members resume, which brings
    /// them what was durable of it.
    func sendAway(optedInMembersOf rooms: Set<RoomId>) {
        turn.flush()
        dismissal.begin(
            connections.members.filter { $0.isOptedIn && $0.rooms.contains(where: rooms.contains) })
    }
}
