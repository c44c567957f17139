"""Gaps that nodes declare: times in which a node was away from Redis, so that what was published meanwhile is lost.

Two ways to learn of them, and two questions: does a declared gap cover this notice for this connection? And which
gaps were declared, so that each can be asked for its reason?
"""

import json
import math

# A notice on its way at the edge of a gap is lost with it: between Redis' answer and the node.
EDGE_SECONDS = 0.25
# The same, when the gap's times are taken from the arrival of its frame: frame, node and this script may be late.
FRAME_EDGE_SECONDS = 1.0
SAME_SECONDS = 0.5


def overlaps(start, end, sent, answered, edge):
    return answered >= start - edge and sent <= end + edge


class PolledGaps:
    """From outside: a node's count of lost subscriber connections, and its readiness, asked several times a second.

    A gap begins at the last look before the count rose, and ends at the first look at which the subscriber is up.
    """

    title = "readiness and roomcast_redis_reconnects_total of the nodes"

    def __init__(self):
        self._gaps = {}
        self._looks = {}

    def look(self, node, run, count, is_up, asked_at, answered_at):
        """Enters what a node has said: asked and answered when, of which run of the node."""
        before = self._looks.get(node)
        self._looks[node] = (run, count, asked_at)
        gaps = self._gaps.setdefault(node, [])
        is_open = bool(gaps) and gaps[-1][1] is None
        if before is None or before[0] != run:
            if is_open:
                gaps[-1][1] = asked_at
            return
        if count > before[1] and not is_open:
            gaps.append([before[2], None])
            is_open = True
        if is_open and is_up:
            gaps[-1][1] = answered_at

    def take(self, stay, payload, now):
        """A message that is no notice: with this way there is none to expect."""
        return False

    def covers(self, stay, name, first, sent, answered, is_tail):
        """Whether a gap covers the notice, which is missing in the hole (or tail) that begins with number `first`."""
        # A connection whose node never became known may have been on any of them.
        nodes = [stay.node] if stay.node else list(self._gaps)
        return any(
            overlaps(start, answered if end is None else end, sent, answered, EDGE_SECONDS)
            for node in nodes for start, end in self._gaps.get(node, []))

    @property
    def declared(self):
        """All gaps: (node, from, to); `to` is None for one that has not ended."""
        return [(node, start, end) for node, gaps in self._gaps.items() for start, end in gaps]


class FrameGaps:
    """From the nodes themselves: {"type":"gap","data":{"rooms":[…],"ms":N}}, sent to each client whom it concerns.

    The frame comes before whatever was published behind the gap, so it must stand where the hole is: between the last
    notice before it and the first one after it. Only what was still to come when a connection ended may be excused
    by what its node has told others: the gap may have outlived the connection.
    """

    title = "the gap frames that clients get"

    def __init__(self):
        self._gaps = {}

    def look(self, node, run, count, is_up, asked_at, answered_at):
        """What the node says to its operator is not asked here."""

    def take(self, stay, payload, now):
        """Enters a gap frame; False when the message is none, or names a room that the connection is not in."""
        try:
            message = json.loads(payload)
            data = message["data"]
            names, seconds = list(data["rooms"]), data["ms"] / 1000
        except (ValueError, KeyError, TypeError):
            return False
        if message.get("type") != "gap" or not names or not set(names) <= set(stay.seats):
            return False
        # Who does not read sees the frame late; its gap may have been long before.
        times = (-math.inf if stay.reads_late else now - seconds, now)
        stay.gaps.append((*times, {name: stay.seats[name].due for name in names}))
        if not stay.reads_late:
            self._enter(stay.node, *times)
        return True

    def _enter(self, node, start, end):
        """The frames of one gap come to all clients of the node at about the same time."""
        gaps = self._gaps.setdefault(node, [])
        if gaps and abs(gaps[-1][0] - start) < SAME_SECONDS and end - gaps[-1][1] < SAME_SECONDS:
            gaps[-1] = (min(gaps[-1][0], start), end)
        else:
            gaps.append((start, end))

    def covers(self, stay, name, first, sent, answered, is_tail):
        if any(due.get(name) == first and overlaps(start, end, sent, answered, FRAME_EDGE_SECONDS)
               for start, end, due in stay.gaps):
            return True
        if not is_tail or stay.ending == "over":
            return False
        nodes = [stay.node] if stay.node else list(self._gaps)
        # Perhaps nobody else was in its room there; a node that does not hear Redis hears of no room.
        return any(
            overlaps(start, end, sent, answered, FRAME_EDGE_SECONDS)
            for node in nodes for start, end in self._gaps.get(node, []))

    @property
    def declared(self):
        """All gaps: (node, from, to); not those that only late readers were told of, as their time is not known."""
        return [(node, start, end) for node, gaps in self._gaps.items() for start, end in gaps]
