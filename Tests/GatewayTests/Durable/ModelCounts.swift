// What has happened in the model. Pure value.

/// How much has happened in runs of the model.
struct ModelCounts: CustomStringConvertible {
    var delivered = 0
    var toldLost = 0
    var filled = 0
    var parts = 0
    /// Pairs of a client and a notice that Redis has lost, without a word to the client, though a node had
    /// handed the notice on.
    var silentThoughSeen = 0
    /// Positions that were said to be lost, though their notices are there: of a cluster.
    var wronglyLost = 0
    /// Messages that came late to rooms that had just started, and went to no one: of a cluster.
    var lateAtStart = 0
    var missingEchoes = 0
    var twiceAtStart = 0
    /// Losses that were told behind what came after them: of a cluster.
    var toldLate = 0
    /// What clients of a cluster have dropped because of its id.
    var duplicates = 0
    var busLosses = 0
    var slotMoves = 0

    mutating func add(_ other: ModelCounts) {
        delivered += other.delivered
        toldLost += other.toldLost
        filled += other.filled
        parts += other.parts
        silentThoughSeen += other.silentThoughSeen
        wronglyLost += other.wronglyLost
        lateAtStart += other.lateAtStart
        missingEchoes += other.missingEchoes
        twiceAtStart += other.twiceAtStart
        toldLate += other.toldLate
        duplicates += other.duplicates
        busLosses += other.busLosses
        slotMoves += other.slotMoves
    }

    var description: String {
        "delivered \(delivered), told lost \(toldLost), filled \(filled), parts \(parts), "
            + "silent though seen \(silentThoughSeen), wrongly lost \(wronglyLost), late at start \(lateAtStart), twice \(twiceAtStart), duplicates \(duplicates), told late \(toldLate), "
            + "missing echoes \(missingEchoes), lost by the bus \(busLosses), steps of moves \(slotMoves)"
    }
}
