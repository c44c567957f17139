// Where a member stands between its handshake and the end of its connection. Pure.

/// The life of a member, and of the peer's side with it.
///
///     open ──close, peer's Close, violation──▶ closing ──backlog written, peer's side over──▶ ended
///     open ──write failed──▶ failed ──turn ended: slow consumer──▶ closing
///                              └──────turn ended: lost──▶ ended
///     any ──connection ended──▶ ended
///
/// A failed member stays in its rooms until the end of the turn: the code that found the failure may be
/// walking through them.
struct MemberState: Equatable {
    enum Phase: Equatable {
        case open
        /// With the reason for which it has failed.
        case failed(CloseReason)
        case closing, ended
    }

    /// The peer's side: it may send, has said goodbye with its Close frame, has broken the protocol, after
    /// which nothing of it can be read, or has nothing to say at all.
    enum PeerSide: Equatable { case open, closed, broken, mute }

    /// What the member has to do.
    enum Action: Equatable {
        case nothing
        /// Have `turnEnded` called at the end of the turn.
        case awaitTurnEnd
        /// Leave the rooms, and send the backlog and a goodbye.
        case sayGoodbye(CloseReason)
        /// Leave the rooms, and close the socket without goodbye.
        case abandon(CloseReason)
        /// Close the socket: the rooms are left.
        case disconnect
        /// Shut our side down and wait for the peer's: to close the socket while bytes of the peer are
        /// unread would reset the connection and take the Close frame along.
        case shutDownWriting
    }

    private(set) var phase = Phase.open
    private(set) var peer = PeerSide.open

    /// Whether messages go to the member.
    var isOpen: Bool { phase == .open }

    /// Whether what the peer sends is looked at.
    var readsPeer: Bool { peer == .open && phase != .ended }

    /// We end the connection.
    mutating func close(_ reason: CloseReason) -> Action {
        switch phase {
        case .open, .failed: phase = .closing
        case .closing, .ended: return .nothing
        }
        return .sayGoodbye(reason)
    }

    /// The peer's Close frame has come.
    ///
    /// - Parameter hasBacklog: whether something is still to be written.
    mutating func peerClosed(hasBacklog: Bool) -> Action {
        guard readsPeer else { return .nothing }
        peer = .closed
        switch phase {
        case .open:
            phase = .closing
            return .sayGoodbye(.closedByPeer)
        case .closing where !hasBacklog: return end(.disconnect)
        case .failed, .closing, .ended: return .nothing
        }
    }

    /// The peer has broken the protocol.
    mutating func peerViolated(_ reason: CloseReason) -> Action {
        guard readsPeer else { return .nothing }
        peer = .broken
        return close(reason)
    }

    /// A write has failed, or the backlog is too long.
    mutating func fail(_ reason: CloseReason) -> Action {
        guard phase == .open else { return .nothing }
        phase = .failed(reason)
        return .awaitTurnEnd
    }

    /// No one walks through rooms any more.
    mutating func turnEnded() -> Action {
        guard case .failed(let failure) = phase else { return .nothing }
        if failure == .slowConsumer { return close(.slowConsumer) }
        return end(.abandon(failure))
    }

    /// Everything is written.
    mutating func backlogWritten() -> Action {
        guard phase == .closing else { return .nothing }
        switch peer {
        // The peer's Close frame is awaited, until the deadline.
        case .open: return .nothing
        case .closed: return end(.disconnect)
        // The peer's end is awaited, until the deadline.
        case .broken, .mute: return .shutDownWriting
        }
    }

    /// The connection is over: the peer has ended it, it is broken, or the time for the goodbye has run out.
    mutating func connectionEnded() -> Action {
        switch phase {
        case .open, .failed: return end(.abandon(.lost))
        case .closing: return end(.disconnect)
        case .ended: return .nothing
        }
    }

    private mutating func end(_ action: Action) -> Action {
        self = MemberState(phase: .ended)
        return action
    }
}
