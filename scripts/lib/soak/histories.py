"""What was published durably, and what each client has got of it, over all its connections. Knows nothing of sockets.

A notice is known by its id. A client has one track for each of its rooms: from the first `resume` frame on it is owed
every notice that Redis has answered, each once and in the order of ids, up to a `resume` frame that says `lost`.
"""

import json
import math
import re
from array import array
from dataclasses import dataclass

from ledger import NEVER, Room, Stay, read_notice

HEAD = re.compile(rb'\{"id":"(\d{1,16}-\d{1,16})","room":"([^"\\]+)",')
RESUME = b'{"type":"resume","data":'
GAP = b'{"type":"gap","data":'
START = (-1, -1)


def parse_id(text):
    """(ms, n); ids of a room rise in this order."""
    milliseconds, number = text.split(b"-" if isinstance(text, bytes) else "-")
    return int(milliseconds), int(number)


def parse_position(text):
    """The id in a position, `<epoch>.<ms>-<n>`."""
    return parse_id(text.partition(".")[2])


class DurableRoom(Room):
    """A room whose notices Redis keeps, and every id that was ever seen in it: in an answer or in a frame."""

    def __init__(self, name, padding_bytes, limit):
        super().__init__(name, padding_bytes)
        self.limit = limit
        # By the order in which they became known: the id, its notice's number, when, and when Redis has answered.
        self.ids, self.numbers = [], array("L")
        self.known_at, self.answered_at = array("d"), array("d")
        self._indices = {}
        # Those that a client was given.
        self._given = set()
        # Times at which Redis lost data of this room: (the newest id that is left, the newest that may be lost, fault).
        self.rollbacks = []
        self.is_contradictory = False

    def index(self, text, number, now):
        """Where an id stands in the lists. It belongs to one notice for ever."""
        found = self._indices.get(text)
        if found is None:
            found = self._indices[text] = len(self.ids)
            self.ids.append(parse_id(text))
            self.numbers.append(number)
            self.known_at.append(now)
            self.answered_at.append(NEVER)
        elif self.numbers[found] != number:
            self.is_contradictory = True
        return found

    def given(self, text, number, now):
        """Where an id stands with which a client got this notice."""
        index = self.index(text, number, now)
        self._given.add(self.ids[index])
        return index

    def was_given(self, notice_id):
        """Whether any client got the notice with this id."""
        return notice_id in self._given

    def stored(self, number, text, now):
        """Redis has said that it keeps this notice under this id."""
        index = self.index(text, number, now)
        self.answered_at[index] = min(self.answered_at[index], now)
        self.answered[number] = min(self.answered[number], now)

    @property
    def newest_answered(self):
        """The newest id that is owed and that Redis still had when it was looked at; START when there is none."""
        return max((each for each, answered in zip(self.ids, self.answered_at)
                    if answered != NEVER and self.fault_that_lost(each) is None), default=START)

    def fault_that_lost(self, notice_id, following=None):
        """The fault with which Redis has lost this notice; None while it has it, or had it until it was trimmed.
        If a client was given the `following` one before the fault, the fault is no excuse."""
        for left, newest, fault in self.rollbacks:
            if left < notice_id <= newest and (following is None or following > newest):
                return fault
        return None

    def count_behind(self, notice_id, at):
        """How many notices were known behind this one at that time."""
        return sum(notice_id < each and known <= at for each, known in zip(self.ids, self.known_at))

    def frame(self, index, text):
        payload = self.payload(self.numbers[index])
        return b'{"id":"%s","room":"%s",' % (text, self.name.encode()) + payload[1:]

    def repeated(self):
        """Notices that are in Redis more than once."""
        kept = {}
        for notice_id, number in zip(self.ids, self.numbers):
            if self.fault_that_lost(notice_id) is None:
                kept[number] = kept.get(number, 0) + 1
        return sum(count > 1 for count in kept.values())


@dataclass
class Resume:
    """An entry of a `resume` frame."""
    at: float
    since: tuple
    lost: bool
    # Whether it came with the 101, and not in the middle of a connection.
    is_first: bool
    # What the client had: its position, and since when. None without one.
    asked: tuple | None
    moved_at: float
    # Whether it reads late, or did so when its position came.
    reads_late: bool


class Track:
    """What one client has got of one room since it came into it."""

    def __init__(self, room):
        self.room = room
        self.position = None
        self.moved_at, self.moved_late = -math.inf, False
        # Indices of the room's ids; and at which of them a resume entry stands.
        self.taken = array("L")
        self.resumes = []
        self.wrong_since = 0

    def resume(self, entry, is_first, reads_late, now):
        asked = None if self.position is None else parse_position(self.position)
        since = entry["since"]
        if is_first and not entry["lost"] and self.position not in (None, since):
            self.wrong_since += 1
        self.resumes.append((len(self.taken), Resume(
            now, parse_position(since), entry["lost"], is_first, asked, self.moved_at, reads_late or self.moved_late)))
        self.position, self.moved_at, self.moved_late = since, now, reads_late

    def take(self, text, payload, reads_late, now):
        """A notice's frame; False when its bytes are not those that were published."""
        notice = read_notice(b"{" + payload[HEAD.match(payload).end():])
        if notice is None or notice[0] != self.room.name or notice[1] >= len(self.room.sent):
            return False
        index = self.room.given(text, notice[1], now)
        if payload != self.room.frame(index, text):
            return False
        self.taken.append(index)
        if self.position is not None:
            self.position = self.position.partition(".")[0] + "." + text.decode()
        self.moved_at, self.moved_late = now, reads_late
        return True

    @property
    def newest(self):
        """The last id that it has got, or from which on it is owed."""
        last = self.room.ids[self.taken[-1]] if self.taken else START
        return max(last, self.resumes[-1][1].since) if self.resumes else last


class DurableStay(Stay):
    """One connection of an opted-in client: what it gets belongs to the client's journey."""

    def __init__(self, kind, names, journey, now):
        super().__init__(kind, [], now)
        self._names, self.tracks = names, dict(journey.tracks)
        # Whether the first frame has come, which has to be a resume.
        self.has_begun = False
        self.disobediences = 0

    def take(self, payload, now):
        is_first, self.has_begun = not self.has_begun, True
        if payload.startswith(RESUME):
            return self._resume(payload, is_first, now)
        if is_first:
            self.disobediences += 1
        head = HEAD.match(payload)
        if head is None:
            return False
        track = self.tracks.get(head[2].decode())
        if track is None:
            self.misrouted += 1
        elif not track.take(head[1], payload, self.reads_late, now):
            self.altered += 1
        return True

    def _resume(self, payload, is_first, now):
        try:
            entries = json.loads(payload)["data"]["rooms"]
            for entry in entries:
                track = self.tracks[entry["room"]]
                track.resume(entry, is_first, self.reads_late, now)
        except (ValueError, KeyError, TypeError):
            return False
        names = [entry["room"] for entry in entries]
        if is_first and names != self._names or not is_first and not all(entry["lost"] for entry in entries):
            self.disobediences += 1
        return True


class PlainStay(Stay):
    """One connection of a client that has not opted in: in durable rooms, too, it gets each notice at most once, and in
    the order of ids."""

    def __init__(self, kind, rooms, now):
        super().__init__(kind, [], now)
        self._rooms = {room.name: room for room in rooms}
        # For each room the ids that have come, and the greatest of them.
        self._seen = {room.name: {START} for room in rooms}
        self._last = dict.fromkeys(self._rooms, START)
        self.delivered = self.repeated = self.disordered = 0

    def take(self, payload, now):
        if payload.startswith(GAP):
            return True
        head = HEAD.match(payload)
        notice = head and read_notice(b"{" + payload[head.end():])
        if not notice:
            return False
        name = head[2].decode()
        room = self._rooms.get(name)
        if room is None:
            self.misrouted += 1
        elif notice[0] != name or notice[1] >= len(room.sent) or payload != room.frame(
                room.given(head[1], notice[1], now), head[1]):
            self.altered += 1
        else:
            self._enter(name, parse_id(head[1]))
        return True

    def _enter(self, name, notice_id):
        self.delivered += 1
        self.repeated += notice_id in self._seen[name]
        self.disordered += notice_id < self._last[name]
        self._seen[name].add(notice_id)
        self._last[name] = max(self._last[name], notice_id)


class Journey:
    """A client's rooms over all its connections."""

    def __init__(self, rooms):
        self.tracks = {}
        # Those of rooms that it has left, or whose positions it had to drop.
        self.ended = []
        self.enter(rooms)

    def enter(self, rooms):
        """Goes into these rooms, and out of all others."""
        names = {room.name for room in rooms}
        self.ended += [track for name, track in self.tracks.items() if name not in names]
        self.tracks = {room.name: self.tracks.get(room.name) or Track(room) for room in rooms}

    def drop_positions(self):
        self.ended += self.tracks.values()
        self.tracks = {name: Track(track.room) for name, track in self.tracks.items()}

    def since(self, names):
        return ",".join(self.tracks[name].position or "" for name in names)

    def has_all(self, newest):
        """Whether it has the newest notice of each of its rooms."""
        return all(track.resumes and track.newest >= newest[name] for name, track in self.tracks.items())
