"""Where each notice that is missing went: into a declared gap, with its connection, or nowhere (a defect)."""

from collections import Counter

from ledger import NEVER

# What is on its way when a connection ends may be lost with it; what was published earlier than this may not.
FLIGHT_SECONDS = 1.0
EXAMPLES = 20
# How a connection ended, and what its last notices were then lost to.
CLASSES = {
    "cut": "lostWithConnection", "aborted": "lostWithConnection", "drained": "lostAtGoodbye", "left": "lostAtGoodbye",
}


class Verdict:
    """The sum over all connections. Everything here is owed: sent after the 101, answered before the end."""

    def __init__(self, gaps, faults):
        self._gaps, self._faults = gaps, faults
        self.counts = Counter(
            dict.fromkeys(["delivered", "lostInGap", "lostWithConnection", "lostAtGoodbye", "lostToSlowReader",
                           "lostOutside", "duplicates", "outOfOrder", "misrouted", "altered"], 0))
        # Some of each class.
        self.examples = []
        self._example_counts = Counter()
        # How long before an end the oldest notice was published that was lost with it, by class.
        self.oldest_seconds = Counter()

    @property
    def expected(self):
        lost = sum(count for name, count in self.counts.items() if name.startswith("lost"))
        return self.counts["delivered"] + lost

    def judge(self, stay):
        self.counts["misrouted"] += stay.misrouted
        self.counts["altered"] += stay.altered
        for name, seat in stay.seats.items():
            self.counts["delivered"] += seat.delivered
            self.counts["duplicates"] += seat.duplicates
            self.counts["outOfOrder"] += seat.disordered
            for first, last in seat.holes:
                for number in range(first, last + 1):
                    self._miss(stay, name, seat.room, first, number, False)
            for number in seat.tail:
                self._miss(stay, name, seat.room, seat.due, number, True)

    def _miss(self, stay, name, room, first, number, is_tail):
        sent, answered = room.sent[number], room.answered[number]
        if answered == NEVER or answered > stay.ended_at:
            return
        found = self._class(stay, name, first, sent, answered, is_tail)
        self.counts[found] += 1
        if found in CLASSES.values():
            self.oldest_seconds[found] = max(self.oldest_seconds[found], stay.ended_at - answered)
        if self._example_counts[found] < EXAMPLES:
            self._example_counts[found] += 1
            self.examples.append({
                "class": found, "kind": stay.kind, "node": stay.node, "room": name, "number": number,
                "isTail": is_tail, "opened": stay.opened_at, "sent": sent, "answered": answered,
                "ended": stay.ended_at, "ending": stay.ending, "code": stay.code})

    def _class(self, stay, name, first, sent, answered, is_tail):
        if self._gaps.covers(stay, name, first, sent, answered, is_tail):
            return "lostInGap"
        if not is_tail:
            return "lostOutside"
        if stay.ending == "slow" and self._faults.explains_close(stay) or stay.reads_late and (stay.ending == "slow" or stay.ending in CLASSES):
            # 1013 drops the backlog, also that of one that reads, if a fault has brought too much at once. Another end it learns late: what was published since is missing as well.
            return "lostToSlowReader"
        age = stay.ended_at - answered
        return CLASSES.get(stay.ending, "lostOutside") if age <= FLIGHT_SECONDS else "lostOutside"
