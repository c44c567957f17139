"""What was published, and what each connection has got of it. Knows nothing of sockets.

A notice carries its room and its number in the room. A connection is owed every notice that was sent after its 101
had been received and whose PUBLISH was answered before its end was seen. Times are seconds of the monotonic clock.
"""

import math
from array import array

NEVER = math.inf
PREFIX = b'{"type":"notice","data":{"room":"'
MIDDLE = b'","number":'
TAIL = b',"padding":"'


class Room:
    """The notices of one room: when each was sent, and when Redis answered (NEVER: nobody knows of an answer)."""

    def __init__(self, name, padding_bytes):
        self.name = name
        self.sent = array("d")
        self.answered = array("d")
        self._end = b'","number":%d,"padding":"' + b"x" * padding_bytes + b'"}'
        self._start = b'{"room":"' + name.encode()

    def next(self, now):
        """Numbers a notice that is about to be sent."""
        self.sent.append(now)
        self.answered.append(NEVER)
        return len(self.sent) - 1

    def data(self, number):
        """The notice's data, from which its receiver tells whether it came unchanged."""
        return self._start + self._end % number

    def payload(self, number):
        return b'{"type":"notice","data":' + self.data(number) + b"}"


def read_notice(payload):
    """The name of the room and the number of a payload; None if it is none of ours."""
    if not payload.startswith(PREFIX):
        return None
    name_end = payload.find(MIDDLE, len(PREFIX))
    number_end = payload.find(TAIL, name_end)
    digits = payload[name_end + len(MIDDLE):number_end]
    if name_end < 0 or number_end < 0 or not digits.isdigit():
        return None
    return payload[len(PREFIX):name_end].decode(), int(digits)


class Seat:
    """What one connection has got of one room."""

    __slots__ = ("room", "owed_from", "last", "holes", "delivered", "duplicates", "disordered", "end")

    def __init__(self, room):
        self.room = room
        self.owed_from = len(room.sent)
        self.last = -1
        # Numbers that were passed over, as (first, last).
        self.holes = []
        self.delivered = self.duplicates = self.disordered = 0
        # One past the last number that was sent before the end; None while the connection lives.
        self.end = None

    @property
    def due(self):
        """The number that should come next."""
        return max(self.last + 1, self.owed_from)

    def take(self, number):
        if number > self.last:
            first = self.due
            if first < number:
                self.holes.append((first, number - 1))
            self.last = number
            self.delivered += number >= self.owed_from and (self.end is None or number < self.end)
            return
        for index, (first, last) in enumerate(self.holes):
            if first <= number <= last:
                parts = [(first, number - 1), (number + 1, last)]
                self.holes[index:index + 1] = [part for part in parts if part[0] <= part[1]]
                self.delivered += 1
                self.disordered += 1
                return
        self.duplicates += 1

    def close(self):
        if self.end is None:
            self.end = len(self.room.sent)

    @property
    def tail(self):
        """The numbers that were still to come at the end."""
        end = len(self.room.sent) if self.end is None else self.end
        return range(self.due, end)

    @property
    def is_complete(self):
        """Whether everything that Redis has answered is there, holes aside."""
        return all(self.room.answered[number] == NEVER for number in self.tail)


class Stay:
    """One connection from its 101 to its end.

    ending: how it ended: `left` and `aborted` (by this client), `drained` (1001), `slow` (1013), `closed` (another
    code), `cut` (no Close frame), `over` (it lived to the end of the run).
    """

    def __init__(self, kind, rooms, now):
        self.kind = kind
        self.seats = {room.name: Seat(room) for room in rooms}
        self.node = None
        self.opened_at = now
        self.ended_at = None
        self.ending = None
        self.code = None
        # Gaps that were declared to this connection: (from, to, for each room what should have come next).
        self.gaps = []
        # Whether it ever stopped to read, by its own will: it may see everything late, its end as well.
        self.reads_late = False
        self.misrouted = self.altered = 0

    def take(self, payload, now=None):
        """Enters a notice; returns False when it is none (a gap, or nothing known)."""
        notice = read_notice(payload)
        if notice is None:
            return False
        name, number = notice
        seat = self.seats.get(name)
        if seat is None:
            self.misrouted += 1
        elif number >= len(seat.room.sent) or payload != seat.room.payload(number):
            self.altered += 1
        else:
            seat.take(number)
        return True

    def end(self, ending, now, code=None):
        """The first end counts: what comes after a goodbye is not owed any more."""
        if self.ended_at is not None:
            return
        self.ended_at, self.ending, self.code = now, ending, code
        for seat in self.seats.values():
            seat.close()
