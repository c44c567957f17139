"""What goes wrong, by the choice of a seeded generator, and how long it takes until all is well again."""

import asyncio
import signal
import time
from dataclasses import dataclass, field

RECOVERY_SECONDS = 45
# All has to be well for so long before a fault counts as over: what it has cut may not have been noticed yet.
CALM_SECONDS = 0.5
POLL_SECONDS = 0.02
# A drain closes its clients over the drain time and waits 6 s more for their answers.
DRAIN_END_SECONDS = 15
# A gap begins with the last sign of life before the fault, and ends when the node has found back and all its rooms
# are subscribed. A gap that is longer excuses too much.
GAP_EARLY_SECONDS = 2.5
GAP_LATE_SECONDS = 8.0


@dataclass
class Fault:
    kind: str
    began_at: float
    details: dict = field(default_factory=dict)
    # When the fault itself was over: the process is back, the pause has ended.
    ended_at: float = 0.0
    # Seconds from its beginning until every client was connected and every node ready.
    recovery_seconds: float | None = None


class Faults:
    """Each kind once in a random order, then again in another order. The first node is never ended: its memory and
    descriptors tell of the whole run."""

    names = ("kill node", "drain node", "stop redis", "restart redis", "cut subscribers", "cut commands",
             "reload nginx", "restart nginx")
    # Those that end connections without a Close frame, and those that part nodes from Redis.
    cutting = {"kill node", "restart nginx"}
    parting = {"stop redis", "restart redis", "cut subscribers"}

    def __init__(self, installation, operator, random, is_well, kinds=None):
        self._installation, self._operator = installation, operator
        self._random, self._is_well = random, is_well
        self.kinds = {
            "kill node": self._kill_node, "drain node": self._drain_node, "stop redis": self._stop_redis,
            "restart redis": self._restart_redis, "cut subscribers": self._cut_subscribers,
            "cut commands": self._cut_commands, "reload nginx": self._reload_nginx,
            "restart nginx": self._restart_nginx,
        }
        if kinds:
            self.kinds = {kind: self.kinds[kind] for kind in kinds}
        self._bag = []
        self.done = []
        self.problems = []

    async def one(self):
        """One fault, from its beginning to the recovery."""
        if not self._bag:
            self._bag = list(self.kinds)
            self._random.shuffle(self._bag)
        kind = self._bag.pop()
        fault = Fault(kind, time.monotonic())
        self.done.append(fault)
        await self.kinds[kind](fault)
        fault.ended_at = time.monotonic()
        await self._recovered(fault)

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
            fault.kind in self.parting and fault.began_at - GAP_EARLY_SECONDS <= start
            and end <= fault.ended_at + GAP_LATE_SECONDS for fault in self.done)

    def explains_lost_token(self, issued_at, at):
        """Whether Redis has lost its data between the two."""
        return any(
            fault.kind == "restart redis" and fault.began_at <= at and issued_at <= (fault.ended_at or at)
            for fault in self.done)

    def explains_refused_publish(self, start, end):
        return any(
            fault.kind in ("restart redis", "cut commands", "stop redis") and fault.began_at <= end
            and start <= (fault.ended_at or end) + 1 for fault in self.done)

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
        await asyncio.sleep(self._random.uniform(0, 2))
        redis.start()
        await self._installation.redis_answers()

    async def _cut_subscribers(self, fault):
        await self._cut(fault, "pubsub")

    async def _cut_commands(self, fault):
        await self._cut(fault, "normal")

    async def _cut(self, fault, kind):
        while not self._operator.is_up:
            await asyncio.sleep(POLL_SECONDS)
        fault.details["connections"] = await self._operator.send("CLIENT", "KILL", "TYPE", kind)

    async def _reload_nginx(self, fault):
        self._installation.signal_nginx(signal.SIGHUP)

    async def _restart_nginx(self, fault):
        nginx = self._installation.nginx
        self._installation.signal_nginx(signal.SIGTERM)
        await nginx.ended()
        await asyncio.sleep(self._random.uniform(0, 1))
        nginx.start()
        await self._installation.nginx_answers()
