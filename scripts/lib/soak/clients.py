"""The clients: each gets a token, connects, beats, and comes back as the close codes tell it to.

regular  stays in its rooms for the whole run
churning leaves after some seconds, by a goodbye or without, and comes back into other rooms
stuck    stops to read for some seconds, now and then, in a room with much traffic
slow     reads less than its room brings
plain    as regular, in durable rooms, and does not resume
"""

import asyncio
import json
import time
from collections import Counter

from client import get
from connection import Connection, Refused
from faults import TOKEN_GONE
from histories import DurableStay, Journey, PlainStay
from ledger import Stay
from redis_client import RedisRefusal

BEAT_SECONDS = 20
BEAT_RETRY_SECONDS = (0.5, 1.5)
RECONNECT_SECONDS = 1.0
MOST_RETRY_SECONDS = 4.0
NODE_TRIES = 10
SLOW_PAUSE_SECONDS = 0.2
GOING_AWAY, SLOW_CONSUMER = 1001, 1013
# How often a client comes back into the rooms that it has left.
LOYALTY = 0.7


class Client:
    """One of the crowd. `run` lives until it is cancelled."""

    def __init__(self, crowd, number, kind):
        self._crowd, self.number, self.kind = crowd, number, kind
        self._random = crowd.random_for(number)
        self._token = None
        self._issued_at = 0.0
        self._connection = None
        self._failures = 0
        self._search = None
        self.rooms = crowd.rooms_for(kind, number, self._random)
        # What it has got over all its connections, if it resumes.
        self.journey = Journey(self.rooms) if crowd.resumes and kind != "plain" else None
        self.stay = None
        self.wants_connection = True
        # Whether it behaves as its kind does, to the point of not reading.
        self._is_held = True

    @property
    def is_connected(self):
        return self.stay is not None and self.stay.ended_at is None

    async def run(self):
        beats = asyncio.create_task(self._beat())
        try:
            await asyncio.sleep(self._random.uniform(0, self._crowd.spread_seconds))
            while True:
                is_connected = await self._connect()
                self.wants_connection = True
                if is_connected:
                    await self._live()
                    await self._connection.closed
                await asyncio.sleep(self._wait())
        finally:
            beats.cancel()
            if self._connection is not None and not self._connection.closed.done():
                self._connection.abort()

    def _wait(self):
        """A short random time, which grows with each attempt that fails."""
        most = min(RECONNECT_SECONDS * 2 ** min(self._failures, 4), MOST_RETRY_SECONDS)
        return self._random.uniform(0.02, most)

    # Connecting

    async def _connect(self):
        crowd = self._crowd
        try:
            if self._token is None:
                status, body = await get(crowd.port, f"/get/token?isLogin=true&userId={self.number}")
                if status != 200:
                    raise Refused(status, body)
                self._token, self._issued_at = json.loads(body)["data"], time.monotonic()
            names = [room.name for room in self.rooms]
            since = f"&since={self.journey.since(names)}" if self.journey else ""
            self._connection = await Connection.open(
                crowd.port, f"/ws?token={self._token}&roomIds={','.join(names)}{since}", self._opened, self._message,
                self._ended, is_slow=self.kind in ("stuck", "slow"))
        except Refused as refusal:
            crowd.refusals[refusal.status] += 1
            self._failures += 1
            if refusal.status == 500 and "Token error" in str(refusal.body):
                # Redis should have lost its data while this client was away.
                crowd.lost_tokens.append((self._issued_at, time.monotonic()))
                self._token = None
            return False
        except (OSError, EOFError):
            crowd.refusals["no answer"] += 1
            self._failures += 1
            return False
        self._failures = 0
        return True

    def _opened(self):
        now = time.monotonic()
        if self.journey:
            self.stay = DurableStay(self.kind, [room.name for room in self.rooms], self.journey, now)
        else:
            self.stay = (PlainStay if self._crowd.resumes else Stay)(self.kind, self.rooms, now)
        self._crowd.opened(self, self.stay)
        self._search = asyncio.create_task(self._find_node(self.stay, self._token))

    async def _find_node(self, stay, token):
        for _ in range(NODE_TRIES):
            try:
                # In this order: a node that is read behind a settled order is the new one.
                allotted, order, node = await asyncio.gather(*(
                    self._crowd.operator.send("HGET", f"client:{token}", field)
                    for field in ("allotted", "order", "node")))
            except (ConnectionError, RedisRefusal):
                node = order = allotted = None
            if int(order or 0) < int(allotted or 0):
                # The record still names the connection before: it is written anew just after the 101.
                node = None
            if stay.ended_at is not None:
                # The answer may be about the connection that came after it.
                return
            if node:
                stay.node = node.decode()
                return
            await asyncio.sleep(0.3)

    def _message(self, payload):
        stay, now = self.stay, time.monotonic()
        if not stay.take(payload, now) and not self._crowd.gaps.take(stay, payload, now):
            stay.altered += 1

    def _ended(self, code, at):
        stay = self.stay
        if stay.ended_at is not None:
            return
        ending = {None: "cut", GOING_AWAY: "drained", SLOW_CONSUMER: "slow"}.get(code, "closed")
        stay.end(ending, at, code)
        if code == TOKEN_GONE and self.journey:
            self.journey.drop_positions()
        self._crowd.ended(stay)

    # A connection's life

    async def _live(self):
        if self.kind == "slow" and self._is_held:
            self.stay.reads_late = True
            self._connection.pause_seconds = SLOW_PAUSE_SECONDS
        if self.kind == "stuck":
            await self._stop_reading_now_and_then()
        elif self.kind == "churning":
            await self._leave_after_a_while()

    async def _ends_within(self, seconds):
        """Whether the connection ends by itself in that time."""
        try:
            async with asyncio.timeout(seconds):
                await asyncio.shield(self._connection.closed)
        except TimeoutError:
            return False
        return True

    async def _leave_after_a_while(self):
        if await self._ends_within(self._random.uniform(4, 20)):
            return
        # Until it has tried to come back.
        self.wants_connection = False
        is_polite = self._random.random() < 0.5
        self.stay.end("left" if is_polite else "aborted", time.monotonic())
        self._crowd.ended(self.stay)
        if is_polite:
            await self._connection.leave()
        else:
            self._connection.abort()
        await asyncio.sleep(self._random.uniform(0.2, 5))
        if self.journey is None or self._random.random() > LOYALTY:
            self.rooms = self._crowd.rooms_for(self.kind, self.number, self._random)
        if self.journey:
            self.journey.enter(self.rooms)

    def read_on(self):
        self._is_held = False
        if self.is_connected:
            self._connection.pause_seconds = 0.0
            self._connection.resume()

    async def _stop_reading_now_and_then(self):
        while not await self._ends_within(self._random.uniform(3, 6)) and self._is_held:
            self.stay.reads_late = True
            self._connection.pause()
            await asyncio.sleep(self._random.uniform(12, 20))
            self._connection.resume()

    # Heartbeats

    async def _beat(self):
        wait = self._random.uniform(0, BEAT_SECONDS)
        while True:
            await asyncio.sleep(wait)
            wait = BEAT_SECONDS
            stay = self.stay
            if not self.is_connected or self._token is None:
                wait = 1.0
                continue
            try:
                status, _ = await get(self._crowd.port, f"/heartbeat?token={self._token}")
            except (OSError, EOFError):
                status = "no answer"
            if status == 500 and not self.is_connected or stay is not self.stay:
                continue
            self._crowd.beats[status] += 1
            if status == 500 and not stay.reads_late:
                # Who does not read may have been closed long ago.
                self._crowd.refused_beats.append({
                    "client": self.number, "kind": self.kind, "node": stay.node, "opened": stay.opened_at,
                    "issued": self._issued_at, "at": time.monotonic()})
            if status != 200:
                wait = self._random.uniform(*BEAT_RETRY_SECONDS)


class Crowd:
    """All clients, and what they have met."""

    def __init__(self, port, rooms, operator, gaps, random_for, spread_seconds, resumes):
        self.port, self.operator, self.gaps, self.resumes = port, operator, gaps, resumes
        self._rooms = rooms
        self.random_for = random_for
        self.spread_seconds = spread_seconds
        self.clients = []
        self.stays = []
        self.durable_stays, self.plain_stays = [], []
        self.refusals = Counter()
        self.beats = Counter()
        self.refused_beats = []
        # When each token was issued that was refused later, and when it was refused.
        self.lost_tokens = []
        self.endings = []
        self._tasks = []

    def start(self, counts):
        for kind, count in counts.items():
            for _ in range(count):
                client = Client(self, len(self.clients), kind)
                self.clients.append(client)
                self._tasks.append(asyncio.create_task(client.run()))

    def rooms_for(self, kind, number, random):
        halls, corners, heavy, by_hand = (self._rooms[name] for name in ("halls", "corners", "heavy", "byHand"))
        if kind in ("stuck", "slow", "reading"):
            return heavy
        if kind == "churning":
            corner = random.choice(corners)
            return [random.choice(halls), corner] if random.random() < 0.7 else [corner]
        first = halls[number % len(halls)]
        other = random.choice(halls)
        if number % 8 == 0:
            return [first, by_hand[0]]
        return [first] if other is first or number % 2 else [first, other]

    def opened(self, client, stay):
        self.stays.append(stay)
        if client.journey:
            self.durable_stays.append((client, stay))
        elif self.resumes:
            self.plain_stays.append(stay)

    def ended(self, stay):
        self.endings.append(stay)

    @property
    def missing_count(self):
        """Clients that should be connected and are not; those that are cut for their slowness do not count."""
        return sum(
            client.wants_connection and not client.is_connected and client.kind not in ("stuck", "slow")
            for client in self.clients)

    @property
    def tracks(self):
        """Of clients that resume, with their clients."""
        return [(client, track) for client in self.clients if client.journey
                for track in [*client.journey.ended, *client.journey.tracks.values()]]

    @property
    def connected_count(self):
        return sum(client.is_connected for client in self.clients)

    def check(self):
        """Raises what has ended a client that should never end."""
        for task in self._tasks:
            if task.done():
                task.result()

    def read_on(self):
        """Lets everybody read what is there for it, as fast as it comes: the run is about to end."""
        for client in self.clients:
            client.read_on()

    def finish(self, now):
        """The run is over: whatever is connected has lived to its end."""
        for stay in self.stays:
            stay.end("over", now)

    async def stop(self):
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
