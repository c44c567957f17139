"""What goes wrong, by the choice of a seeded generator, and how long it takes until all is well again."""

import asyncio
import math
import os
import signal
import time
from dataclasses import dataclass, field

from histories import START, DurableRoom, parse_id
from redis_client import RedisRefusal

RECOVERY_SECONDS = 45
# All has to be well for so long before a fault counts as over: what it has cut may not have been noticed yet.
CALM_SECONDS = 0.5
POLL_SECONDS = 0.02
# A drain closes its clients over the drain time and waits 6 s more for their answers.
DRAIN_END_SECONDS = 15
# A gap ends when the node has found back and all its rooms are subscribed. A gap that is longer excuses too much.
GAP_LATE_SECONDS = 8.0
# Nodes look at the epoch every 2 s, and come back to Redis before that. Who reads late hears late.
TOLD_SECONDS = 10
LATE_READER_SECONDS = 60
# The longest run of the CLI.
CLI_SECONDS = 25
TOKEN_GONE = 4003
# Redis goes back by what it has written in this time, and by some bytes more, so that a command is cut in two.
ROLLBACK_SECONDS = (0.1, 2.5)
ROLLBACK_MOST_BYTES = 300
# Entries among which the end of a stream before a rollback is looked for.
ROLLBACK_LOOK_COUNT = 200
# A room keeps its newest notice, which is returned.
TRIM = """
redis.call('XTRIM', KEYS[1], 'MAXLEN', 1)
local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
return newest and newest[1] or '0-0'
"""
DELETE = """
local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
redis.call('DEL', KEYS[1])
return newest and newest[1] or '0-0'
"""
EMPTY = """
local time = redis.call('TIME')
redis.call('FLUSHALL')
return time[1] * 1000 + math.floor(time[2] / 1000)
"""


@dataclass
class Fault:
    kind: str
    began_at: float
    details: dict = field(default_factory=dict)
    # When the fault itself was over: the process is back, the pause has ended.
    ended_at: float = 0.0
    # From when on Redis is there without what it has lost, if it has lost anything.
    lost_at: float | None = None
    # Seconds from its beginning until every client was connected and every node ready.
    recovery_seconds: float | None = None

    def concerns(self, room):
        """Whether notices of the room may be lost with it: of every room, unless it says of which ones."""
        return room.name in self.details.get("rooms", [room.name])


class Faults:
    """Each kind once in a random order, then again in another order. The first node is never ended: its memory and
    descriptors tell of the whole run."""

    names = ("kill node", "drain node", "stop redis", "restart redis", "cut subscribers", "cut commands",
             "reload nginx", "restart nginx")
    # Those that end connections without a Close frame.
    cutting = {"kill node", "restart nginx"}
    # Those that part nodes from Redis; how long before one of them the last sign of life may have been.
    parting = {"stop redis", "restart redis", "cut subscribers"}
    gap_early_seconds = 2.5
    # Those of the durable soak only: Redis loses its newest data, all of it, or the older notices of all rooms, or all
    # of some room's.
    durable_names = ("roll back redis", "empty redis", "trim rooms", "delete room")
    busy_disk = "restart redis while its disk is busy"
    losing = {"roll back redis", "empty redis", busy_disk}
    # Those with which tokens of absent clients may be gone, and those in which Redis takes no notices.
    forgetting = {"restart redis", *losing}
    # Whether publishers have their answer before the servers at which nodes listen have the notice: it may be lost before
    # any node has had it, or wait there and come at once with others.
    answers_early = False
    refusing = {"restart redis", busy_disk, "cut commands", "stop redis", "roll back redis"}

    def __init__(self, installation, operator, publisher, random, is_well, kinds=None, rooms=()):
        self._installation, self._rooms = installation, rooms
        self._operator, self._publisher = operator, publisher
        self._random, self._is_well = random, is_well
        # The method of "kill node" is _kill_node.
        self.kinds = {kind: getattr(self, "_" + kind.replace(" ", "_")) for kind in kinds or self.names}
        self._is_durable = any(isinstance(room, DurableRoom) for room in rooms)
        self._bag = []
        self.done = []
        self.problems = []

    async def one(self):
        """One fault, from its beginning to the recovery."""
        if not self._bag:
            self._bag = list(self.kinds)
            self._random.shuffle(self._bag)
        kind = self._bag.pop()
        await self._prepare()
        fault = Fault(kind, time.monotonic())
        self.done.append(fault)
        await self.kinds[kind](fault)
        fault.ended_at = time.monotonic()
        await self._recovered(fault)

    async def _prepare(self):
        """Waits until nothing is left of the fault before that nobody waits for otherwise."""

    async def _recovered(self, fault):
        bad_at = fault.ended_at if fault.ended_at - fault.began_at > CALM_SECONDS else fault.began_at
        while True:
            now = time.monotonic()
            if not self._is_well():
                bad_at = now
            if now - bad_at >= CALM_SECONDS and now - fault.ended_at >= CALM_SECONDS:
                fault.recovery_seconds = bad_at - fault.began_at
                return
            if now - fault.ended_at > RECOVERY_SECONDS:
                self.problems.append(f"not everybody was connected again {RECOVERY_SECONDS} s after: {fault.kind}")
                return
            await asyncio.sleep(POLL_SECONDS)

    # What may come of them

    def explains_end(self, stay):
        """Whether one of the faults has ended this connection, without a Close frame or with 1001."""
        kinds = self.cutting if stay.ending == "cut" else ["drain node"]
        return any(
            fault.kind in kinds and fault.details.get("node") in (None, stay.node or fault.details.get("node"))
            and fault.began_at <= stay.ended_at
            and (stay.reads_late or stay.ended_at <= (fault.ended_at or stay.ended_at) + 1)
            for fault in self.done)

    def explains_gap(self, start, end):
        """Whether a fault has parted nodes from Redis at that time; `end` is None for a gap without an end."""
        return end is not None and any(
            fault.kind in self.parting and fault.began_at - self.gap_early_seconds <= start
            and end <= fault.ended_at + GAP_LATE_SECONDS for fault in self.done)

    def explains_lost_token(self, issued_at, at):
        """Whether Redis has lost its data between the two."""
        return any(
            fault.kind in self.forgetting and fault.began_at <= at and issued_at <= (fault.ended_at or at) for fault in self.done)

    def explains_refused_publish(self, start, end):
        return any(
            fault.kind in self.refusing and fault.began_at <= end and start <= (fault.ended_at or end) + 1
            for fault in self.done)

    def explains_close(self, stay):
        """Whether a close code says that the token is gone, and it is; or that a client is too slow that comes back for
        what it has not got, or cannot help it. A node that was parted from Redis fills in at once what it has missed
        meanwhile, and so does a server of a cluster; a room with much traffic brings more of it than the short queues here
        hold."""
        if stay.ending == "slow":
            is_reader = stay.kind in ("reading", "stuck", "slow") and not stay.reads_late
            return (self._is_durable or self.answers_early) and is_reader and any(
                fault.kind in {*self.parting, *self.losing} and fault.began_at <= stay.ended_at
                and stay.ended_at <= (fault.ended_at or stay.ended_at) + GAP_LATE_SECONDS for fault in self.done)
        return stay.code == TOKEN_GONE and self.explains_lost_token(stay.opened_at, stay.ended_at)

    def explains_refused_beat(self, issued_at, at):
        """Whether the token was lost under a node that had no reason to write it again."""
        return any(fault.kind in self.losing and fault.began_at <= at and issued_at <= (fault.ended_at or at)
                   for fault in self.done)

    def explains_missing(self, at):
        """Whether Redis may have lost what a run of the CLI has stored that ended at that time."""
        return any(fault.kind in {"trim rooms", "delete room", *self.losing} and fault.began_at <= at
                   and at - CLI_SECONDS <= fault.ended_at for fault in self.done)

    @property
    def losses_of_data(self):
        """Faults with which answered notices were lost that nodes had handed on."""
        return [fault for fault in self.done if fault.kind in self.losing and fault.details.get("lost") != 0]

    def explanation_of_loss(self, room, resume):
        """The kind of fault for which a client may be told that it has lost notices of this room; None without one."""
        if resume.asked is None:
            return None
        patience = LATE_READER_SECONDS if resume.reads_late else TOLD_SECONDS
        for fault in self.done:
            is_due = fault.began_at <= resume.at
            is_meant = fault.kind in self.losing and fault.concerns(room)
            if is_due and is_meant and resume.moved_at <= fault.ended_at + patience and (
                    resume.is_first or resume.at <= fault.ended_at + patience):
                return fault.kind
            first_kept = fault.details.get("firstKept", {}).get(room.name)
            if is_due and first_kept is not None and resume.asked < first_kept:
                return fault.kind
        if room.count_behind(resume.asked, resume.at) >= room.limit:
            return "limit of the room"
        return None

    # The kinds

    async def _kill_node(self, fault):
        node = self._random.choice(self._installation.nodes[1:])
        fault.details["node"] = node.name
        node.signal(signal.SIGKILL)
        await node.ended()
        await asyncio.sleep(self._random.uniform(0, 2))
        await self._start_node(node)

    async def _drain_node(self, fault):
        node = self._random.choice(self._installation.nodes[1:])
        fault.details["node"] = node.name
        node.signal(signal.SIGTERM)
        code = await node.ended(DRAIN_END_SECONDS)
        if code != 0:
            self.problems.append(f"{node.name} ended its drain with {code}")
        await self._start_node(node)

    async def _start_node(self, node):
        node.start()
        await self._installation.node_is_ready(node)

    async def _stop_redis(self, fault):
        seconds = self._random.uniform(1, 8)
        fault.details["seconds"] = round(seconds, 1)
        redis = self._installation.redis
        redis.signal(signal.SIGSTOP)
        await asyncio.sleep(seconds)
        redis.signal(signal.SIGCONT)

    async def _restart_redis(self, fault):
        redis = self._installation.redis
        redis.signal(signal.SIGKILL)
        await redis.ended()
        newest = (int(time.time() * 1000), math.inf)
        await asyncio.sleep(self._random.uniform(0, 2))
        fault.lost_at = time.monotonic()
        redis.start()
        await self._installation.redis_answers()
        if self._is_durable:
            # While an fsync is under way Redis answers before it writes: what a kill then takes away has to be told.
            await self._look_for_losses(fault, newest)
            if fault.details["lost"] > 0:
                fault.kind = self.busy_disk

    async def _cut_subscribers(self, fault):
        await self._cut(fault, "pubsub")

    async def _cut_commands(self, fault):
        await self._cut(fault, "normal")

    async def _cut(self, fault, kind):
        fault.details["connections"] = await self._ask("CLIENT", "KILL", "TYPE", kind)

    async def _reload_nginx(self, fault):
        self._installation.signal_nginx(signal.SIGHUP)

    async def _restart_nginx(self, fault):
        nginx = self._installation.nginx
        self._installation.signal_nginx(signal.SIGTERM)
        await nginx.ended()
        await asyncio.sleep(self._random.uniform(0, 1))
        nginx.start()
        await self._installation.nginx_answers()

    # Those of the durable soak

    async def _roll_back_redis(self, fault):
        """As after a failover to a replica that lags: what Redis has answered last is gone."""
        redis, size = self._installation.redis, self._installation.server.append_only_file().stat().st_size
        await asyncio.sleep(self._random.uniform(*ROLLBACK_SECONDS))
        redis.signal(signal.SIGKILL)
        await redis.ended()
        newest = (int(time.time() * 1000), math.inf)
        file = self._installation.server.append_only_file()
        # If Redis has begun another file meanwhile, that one is cut.
        left = max(0, min(size, file.stat().st_size) - self._random.randrange(ROLLBACK_MOST_BYTES))
        fault.details["bytes"] = file.stat().st_size - left
        os.truncate(file, left)
        fault.lost_at = time.monotonic()
        redis.start()
        await self._installation.redis_answers()
        await self._look_for_losses(fault, newest)

    async def _look_for_losses(self, fault, newest):
        """Compares the ends of all rooms with what was answered until `newest`."""
        fault.details["lost"] = 0
        for room in self._rooms:
            entries = await self._ask(
                "XREVRANGE", f"room:{room.name}", "+", "-", "COUNT", ROLLBACK_LOOK_COUNT)
            # What was trimmed or deleted before is not lost now.
            gone = [(first[0], first[1] - 1) for first in (
                earlier.details.get("firstKept", {}).get(room.name) for earlier in self.done) if first is not None]
            found = [each for each in (parse_id(entry[0]) for entry in entries) if each <= newest]
            kept = max([START, *gone, *found])
            lost = sum(kept < each <= newest and room.fault_that_lost(each) is None for each in room.ids)
            if lost:
                room.rollbacks.append((kept, newest, fault))
                fault.details["lost"] += lost

    async def _empty_redis(self, fault):
        milliseconds = await self._ask("EVAL", EMPTY, 0)
        fault.lost_at = time.monotonic()
        for room in self._rooms:
            room.rollbacks.append((START, (milliseconds, math.inf), fault))

    async def _trim_rooms(self, fault):
        fault.details["firstKept"] = {
            room.name: parse_id(await self._ask("EVAL", TRIM, 1, f"room:{room.name}")) for room in self._rooms}

    async def _delete_room(self, fault):
        room = self._random.choice(self._rooms)
        newest = parse_id(await self._ask("EVAL", DELETE, 1, f"room:{room.name}"))
        fault.details["firstKept"] = {room.name: (newest[0], newest[1] + 1)}

    async def _ask(self, *words):
        """The reply to the operator's command, once Redis is there and has loaded its data."""
        while True:
            try:
                return await self._operator.send(*words)
            except (ConnectionError, RedisRefusal) as error:
                if isinstance(error, RedisRefusal) and not str(error).startswith("LOADING"):
                    raise
            await asyncio.sleep(POLL_SECONDS)
