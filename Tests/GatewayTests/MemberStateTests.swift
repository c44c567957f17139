import Testing

@testable import Gateway

/// Every event in every state that a member can be in.
@Suite struct MemberStateTests {
    enum Event: CaseIterable {
        case close, peerClosed, peerClosedBehindBacklog, peerViolated, writeFailed, backlogTooLong, turnEnded
        case backlogWritten, connectionEnded
    }

    private static func apply(_ event: Event, to state: inout MemberState) -> MemberState.Action {
        switch event {
        case .close: state.close(.goingAway)
        case .peerClosed: state.peerClosed(hasBacklog: false)
        case .peerClosedBehindBacklog: state.peerClosed(hasBacklog: true)
        case .peerViolated: state.peerViolated(.protocolError)
        case .writeFailed: state.fail(.lost)
        case .backlogTooLong: state.fail(.slowConsumer)
        case .turnEnded: state.turnEnded()
        case .backlogWritten: state.backlogWritten()
        case .connectionEnded: state.connectionEnded()
        }
    }

    /// A state, by the events that lead to it, and what each event asks for there. Events that are not named
    /// ask for nothing.
    struct Row: Sendable {
        /// With which the connection begins.
        var peer = MemberState.PeerSide.open
        let path: [Event]
        let phase: MemberState.Phase
        let actions: [Event: MemberState.Action]
    }

    static let rows = [
        Row(
            path: [], phase: .open,
            actions: [
                .close: .sayGoodbye(.goingAway), .peerClosed: .sayGoodbye(.closedByPeer),
                .peerClosedBehindBacklog: .sayGoodbye(.closedByPeer),
                .peerViolated: .sayGoodbye(.protocolError),
                .writeFailed: .awaitTurnEnd, .backlogTooLong: .awaitTurnEnd,
                .connectionEnded: .abandon(.lost),
            ]),
        Row(
            path: [.writeFailed], phase: .failed(.lost),
            actions: [
                .close: .sayGoodbye(.goingAway), .peerViolated: .sayGoodbye(.protocolError),
                .turnEnded: .abandon(.lost), .connectionEnded: .abandon(.lost),
            ]),
        Row(
            path: [.backlogTooLong], phase: .failed(.slowConsumer),
            actions: [
                .close: .sayGoodbye(.goingAway), .peerViolated: .sayGoodbye(.protocolError),
                .turnEnded: .sayGoodbye(.slowConsumer), .connectionEnded: .abandon(.lost),
            ]),
        Row(
            path: [.writeFailed, .peerClosed], phase: .failed(.lost),
            actions: [
                .close: .sayGoodbye(.goingAway), .turnEnded: .abandon(.lost),
                .connectionEnded: .abandon(.lost),
            ]),
        Row(
            path: [.backlogTooLong, .peerClosed], phase: .failed(.slowConsumer),
            actions: [
                .close: .sayGoodbye(.goingAway), .turnEnded: .sayGoodbye(.slowConsumer),
                .connectionEnded: .abandon(.lost),
            ]),
        Row(
            path: [.close], phase: .closing,
            actions: [.peerClosed: .disconnect, .connectionEnded: .disconnect]),
        Row(
            path: [.close, .peerClosedBehindBacklog], phase: .closing,
            actions: [.backlogWritten: .disconnect, .connectionEnded: .disconnect]),
        Row(
            path: [.peerClosed], phase: .closing,
            actions: [.backlogWritten: .disconnect, .connectionEnded: .disconnect]),
        Row(
            path: [.backlogTooLong, .peerClosed, .turnEnded], phase: .closing,
            actions: [.backlogWritten: .disconnect, .connectionEnded: .disconnect]),
        Row(
            path: [.peerViolated], phase: .closing,
            actions: [.backlogWritten: .shutDownWriting, .connectionEnded: .disconnect]),
        Row(
            path: [.close, .peerViolated], phase: .closing,
            actions: [.backlogWritten: .shutDownWriting, .connectionEnded: .disconnect]),
        Row(path: [.connectionEnded], phase: .ended, actions: [:]),
        Row(path: [.close, .connectionEnded], phase: .ended, actions: [:]),
        Row(path: [.close, .peerClosed], phase: .ended, actions: [:]),
        Row(path: [.peerClosed, .backlogWritten], phase: .ended, actions: [:]),
        Row(path: [.writeFailed, .turnEnded], phase: .ended, actions: [:]),
        Row(
            peer: .mute, path: [], phase: .open,
            actions: [
                .close: .sayGoodbye(.goingAway), .writeFailed: .awaitTurnEnd, .backlogTooLong: .awaitTurnEnd,
                .connectionEnded: .abandon(.lost),
            ]),
        Row(
            peer: .mute, path: [.writeFailed], phase: .failed(.lost),
            actions: [
                .close: .sayGoodbye(.goingAway), .turnEnded: .abandon(.lost),
                .connectionEnded: .abandon(.lost),
            ]),
        Row(
            peer: .mute, path: [.backlogTooLong], phase: .failed(.slowConsumer),
            actions: [
                .close: .sayGoodbye(.goingAway), .turnEnded: .sayGoodbye(.slowConsumer),
                .connectionEnded: .abandon(.lost),
            ]),
        Row(
            peer: .mute, path: [.close], phase: .closing,
            actions: [.backlogWritten: .shutDownWriting, .connectionEnded: .disconnect]),
    ]

    private static func state(_ row: Row) -> MemberState {
        var state = MemberState(peer: row.peer)
        for event in row.path { _ = apply(event, to: &state) }
        return state
    }

    @Test(arguments: rows) func everyEventAsksForTheRightAction(row: Row) {
        #expect(Self.state(row).phase == row.phase)
        for event in Event.allCases {
            var state = Self.state(row)
            let action = Self.apply(event, to: &state)
            #expect(action == row.actions[event] ?? .nothing, "\(event) after \(row.path)")
        }
    }

    /// Whatever events come in whatever order: the rows above are all the states there are.
    @Test func noOtherStateCanBeReached() {
        let known = Self.rows.map(Self.state)
        for state in known {
            for event in Event.allCases {
                var next = state
                _ = Self.apply(event, to: &next)
                #expect(known.contains(next), "\(event) in \(state) leads to \(next)")
            }
        }
    }

    /// Rooms are left once, and the socket is closed once, on every way of up to six events.
    @Test func roomsAreLeftOnceAndTheSocketIsClosedOnce() {
        func walk(_ state: MemberState, left: Int, closed: Int, depth: Int) {
            #expect(left <= 1 && closed <= 1)
            guard depth > 0 else { return }
            for event in Event.allCases {
                var next = state
                switch Self.apply(event, to: &next) {
                case .sayGoodbye: walk(next, left: left + 1, closed: closed, depth: depth - 1)
                case .abandon: walk(next, left: left + 1, closed: closed + 1, depth: depth - 1)
                case .disconnect: walk(next, left: left, closed: closed + 1, depth: depth - 1)
                case .nothing, .awaitTurnEnd, .shutDownWriting:
                    if next != state { walk(next, left: left, closed: closed, depth: depth - 1) }
                }
            }
        }
        for peer in [MemberState.PeerSide.open, .mute] {
            walk(MemberState(peer: peer), left: 0, closed: 0, depth: 6)
        }
    }
}
