"""Where each durable notice went that a client was owed: it has come, a loss was told that a fault explains, a cluster has
lost it and no node can know, or nowhere (a defect)."""

import math
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict

from faults import TOLD_SECONDS
from histories import START
from installation import UNSUBSCRIBE_GRACE_SECONDS
from ledger import NEVER

EXAMPLES = 20
# For so long after a master is replaced nodes may not have looked at it.
LOOK_SECONDS = 2
# Of a client that has missed a notice without a word.
RESUMES = 6


class Account:
    """The sum over all clients."""

    def __init__(self, faults, stays=()):
        """`stays`: of all clients that resume."""
        self._faults = faults
        # By room: they hold it in their nodes.
        self._stays = defaultdict(list)
        for stay in sorted(stays, key=lambda each: each.opened_at):
            for name in stay.tracks:
                self._stays[name].append(stay)
        self.counts = Counter(dict.fromkeys(
            ["delivered", "told", "unwitnessed", "silent", "duplicates", "outOfOrder", "falseAlarms", "wrongSince", "untold"], 0))
        # By what explains them: resume entries with a loss, and notices that lie behind them.
        self.losses, self.told = Counter(), Counter()
        # From the end of a fault to the loss that was told of it, of clients that were connected.
        self.told_after = []
        self.examples = []
        self._example_counts = Counter()
        self._owed = {}

    @property
    def expected(self):
        return sum(self.counts[name] for name in ("delivered", "told", "unwitnessed", "silent"))

    def judge(self, client, track, is_connected):
        """`is_connected`: whether the run is over and it lived to the end."""
        self.counts["wrongSince"] += track.wrong_since
        if not track.resumes:
            return
        cursor, seen = START, set()
        resumes = iter([*track.resumes, (len(track.taken) + 1, None)])
        at, resume = next(resumes)
        for place in range(len(track.taken) + 1):
            while at == place:
                cursor = self._resumed(client, track, resume, cursor)
                at, resume = next(resumes)
            if place < len(track.taken):
                cursor = self._taken(client, track, track.taken[place], cursor, seen)
        if is_connected:
            self._miss(client, track, cursor, None)

    def _taken(self, client, track, index, cursor, seen):
        notice_id = track.room.ids[index]
        if index in seen:
            self._enter("duplicates", client, track, notice_id)
            return cursor
        seen.add(index)
        self.counts["delivered"] += 1
        if notice_id <= cursor:
            self._enter("outOfOrder", client, track, notice_id)
            return cursor
        self._miss(client, track, cursor, notice_id)
        return notice_id

    def _resumed(self, client, track, resume, cursor):
        if not resume.lost:
            if cursor == START:
                return resume.since
            return cursor
        reason = self._faults.explanation_of_loss(track.room, resume)
        self.losses[reason or "unexplained"] += 1
        if reason is None:
            self._enter("falseAlarms", client, track, resume.since, at=resume.at, asked=resume.asked,
                        movedAt=resume.moved_at, isFirst=resume.is_first)
        missed = sum(1 for _ in self._between(track.room, cursor, resume.since, is_closed=True))
        self.told[reason or "unexplained"] += missed
        self.counts["told"] += missed
        return max(cursor, resume.since)

    def _between(self, room, first, last, is_closed=False):
        """The ids that are owed behind the first and before the last (all when it is None)."""
        if room.name not in self._owed:
            owed = sorted(
                notice_id for notice_id, answered in zip(room.ids, room.answered_at) if answered != NEVER)
            self._owed[room.name] = owed
        owed = self._owed[room.name]
        end = len(owed) if last is None else bisect_right(owed, last) if is_closed else bisect_left(owed, last)
        return owed[bisect_right(owed, first):end]

    def _miss(self, client, track, first, last):
        for notice_id in self._between(track.room, first, last):
            fault = track.room.fault_that_lost(notice_id, last)
            if fault is not None and fault.lost_at is not None and track.resumes[0][1].at >= fault.lost_at:
                # It came into the room when the notice was gone.
                continue
            if fault is not None and self._is_told_of(track, fault):
                self.counts["told"] += 1
                self.told[fault.kind] += 1
            elif fault is not None and self._faults.answers_early and not self._is_witnessed(track.room, notice_id, fault):
                self.counts["unwitnessed"] += 1
            else:
                self._enter("silent", client, track, notice_id, behind=first, before=last,
                            lostBy=fault and fault.kind, at=fault and fault.began_at,
                            resumes=[vars(resume) for _, resume in track.resumes[-RESUMES:]])

    def _is_witnessed(self, room, notice_id, fault):
        """Whether a node has had the notice, and has held the room until it could see that it is lost."""
        if not room.was_given(notice_id):
            return False
        answered_at = room.answered_at[room.ids.index(notice_id)]
        lost_at = fault.details.get("replacedAt", fault.ended_at) + LOOK_SECONDS
        stays = self._stays[room.name]
        return any(
            # One whose node is not known may have been at any.
            self._held_until([stay for stay in stays if stay.node in (node, None)], answered_at) >= lost_at
            for node in {stay.node for stay in stays})

    @staticmethod
    def _held_until(stays, since):
        """How long these keep the room in their node that had it at that time."""
        until = -math.inf
        for stay in stays:
            if stay.opened_at <= max(since, until):
                left = stay.ended_at + UNSUBSCRIBE_GRACE_SECONDS
                until = max(until, left if left >= since else -math.inf)
        return until

    @staticmethod
    def _is_told_of(track, fault):
        return any(resume.lost and fault.began_at <= resume.at <= fault.ended_at + TOLD_SECONDS
                   for _, resume in track.resumes)

    def judge_promptness(self, client, stay):
        """A connection that outlives a loss of Redis' data hears of it."""
        for fault in self._faults.losses_of_data:
            if stay.reads_late or stay.opened_at > fault.began_at or stay.ended_at < fault.ended_at + TOLD_SECONDS:
                continue
            for track in stay.tracks.values():
                if not fault.concerns(track.room) or not track.resumes or track.resumes[0][1].at > fault.began_at:
                    continue
                told = [resume.at for _, resume in track.resumes
                        if resume.lost and fault.began_at <= resume.at <= fault.ended_at + TOLD_SECONDS]
                if told:
                    self.told_after.append(max(0, told[0] - fault.ended_at))
                else:
                    self._enter("untold", client, track, None, fault=fault.kind, at=fault.began_at)

    def _enter(self, found, client, track, notice_id, **details):
        self.counts[found] += 1
        if self._example_counts[found] < EXAMPLES:
            self._example_counts[found] += 1
            self.examples.append({
                "class": found, "client": client.number, "kind": client.kind, "room": track.room.name,
                "id": notice_id, **details})
