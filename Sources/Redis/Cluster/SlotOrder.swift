// Keeps the commands of a slot in the order in which they were given, also over redirections. Pure.

import EventLoop

/// The commands of each slot that are on their way, and those that wait behind one that is sent elsewhere.
///
///     flowing ── a command is redirected ──▶ held: it follows its redirection alone. Gathered are those behind it that
///         the master sends away as well, and those that are given meanwhile
///     held ── it has its outcome, and no other is on its way ──▶ releasing: the gathered ones leave, in order
///     releasing ── none is left ──▶ flowing
///
/// All that flow go to one master, even if the map names another one meanwhile: it would answer before those that the
/// first one has still to send away. Behind a command without an outcome nothing of its slot is sent until none is on
/// its way: whoever gives it once more must not find that the next one was earlier.
struct SlotOrder<Command> {
    typealias Address = RedisURL.Address

    enum Way: Equatable {
        case go(to: Address)
        /// It is gathered.
        case wait
        /// For the reason for which a command before it has no outcome.
        case fail(String)
    }

    enum Redirected: Equatable {
        /// It goes on, alone.
        case follow
        case wait
        case fail(String)
    }

    private enum State { case flowing, held, releasing }

    private struct Line {
        var state = State.flowing
        var master: Address
        /// On their way to it, without the one that is redirected.
        var count = 0
        var isOneAlone = false
        var failure: String?
        /// The master has sent them away.
        var turnedAway = Fifo<Command>()
        /// Behind those.
        var given = Fifo<Command>()
    }

    /// By slot; only those with commands on their way.
    private var lines: [Int: Line] = [:]

    /// Takes a command.
    ///
    /// - Parameter owner: the master that has the slot, as the map says.
    mutating func enter(_ command: Command, slot: Int, owner: Address) -> Way {
        guard let line = lines[slot] else {
            lines[slot] = Line(master: owner, count: 1)
            return .go(to: owner)
        }
        if let failure = line.failure { return .fail(failure) }
        guard line.state == .flowing else {
            lines[slot]?.given.append(command)
            return .wait
        }
        lines[slot]?.count += 1
        return .go(to: line.master)
    }

    /// A master sends a command elsewhere, or asks to try again.
    ///
    /// - Parameter isAlone: whether it was redirected before.
    mutating func redirected(_ command: Command, slot: Int, isAlone: Bool) -> Redirected {
        if let failure = lines[slot]?.failure { return .fail(failure) }
        guard !isAlone, var line = lines.removeValue(forKey: slot) else { return .follow }
        defer { lines[slot] = line }
        line.count -= 1
        guard line.state == .flowing else {
            line.turnedAway.append(command)
            return .wait
        }
        (line.state, line.isOneAlone) = (.held, true)
        return .follow
    }

    /// A command has its outcome.
    ///
    /// - Parameter failure: why the outcome is unknown; nil if it is known.
    mutating func ended(slot: Int, isAlone: Bool, failure: String?) {
        guard var line = lines[slot] else { return }
        line.failure = line.failure ?? failure
        if isAlone { line.isOneAlone = false } else { line.count -= 1 }
        lines[slot] = line.state == .flowing && line.count == 0 ? nil : line
    }

    /// Whether the gathered commands of a slot are to leave now: `next` gives them, to the last one.
    mutating func beginRelease(slot: Int) -> Bool {
        guard let line = lines[slot], line.state == .held, !line.isOneAlone, line.count == 0 else {
            return false
        }
        lines[slot]?.state = .releasing
        return true
    }

    /// The next gathered command, and where it goes.
    ///
    /// - Parameter owner: the master that has the slot, as the map says; nil if it names none.
    mutating func next(slot: Int, owner: Address?) -> (command: Command, failure: String?)? {
        guard var line = lines.removeValue(forKey: slot) else { return nil }
        line.master = owner ?? line.master
        let command = line.turnedAway.takeFirst() ?? line.given.takeFirst()
        if command == nil { line.state = .flowing } else { line.count += 1 }
        if line.count > 0 { lines[slot] = line }
        return command.map { ($0, line.failure) }
    }
}
