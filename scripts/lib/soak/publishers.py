"""Numbered notices at a steady rate: into most rooms over one connection to Redis, into one by the publisher CLI."""

import asyncio
import json
import os
import time
from collections import Counter

from client import RedisRefusal

BATCH_COUNT = 10
BATCH_SECONDS = 2.0
# What waits in a Redis that stands still comes at once when it goes on: more of it than a client's queue may hold
# would end clients that do read.
MOST_UNANSWERED_BYTES = 128 * 1024
# Redis may stand still for longer than the CLI waits by itself.
ANSWER_TIMEOUT = "20s"


class Publishers:
    """`start` begins, `stop` ends after the last answer."""

    def __init__(self, installation, session, rates, by_hand):
        """`rates`: rooms and their notices a second. `by_hand`: the room of the CLI."""
        self._installation, self._session = installation, session
        self._rates, self._by_hand = rates, by_hand
        self._stopping = asyncio.Event()
        self._tasks = []
        self._unanswered = set()
        self._unanswered_bytes = Counter()
        self.cli_runs = 0
        # From when to when: those that did not publish all.
        self.cli_failures = []
        # What Redis has said instead of publishing.
        self.refusals = []

    def start(self):
        for index, (room, rate) in enumerate(self._rates):
            phase = index / len(self._rates) / rate
            self._tasks.append(asyncio.create_task(self._publish(room, 1 / rate, phase)))
        self._tasks.append(asyncio.create_task(self._publish_by_hand()))

    def check(self):
        for task in self._tasks:
            if task.done():
                task.result()

    async def stop(self):
        self._stopping.set()
        await asyncio.gather(*self._tasks)
        if self._unanswered:
            await asyncio.wait(self._unanswered, timeout=30)

    async def cancel(self):
        """Ends at once, whatever is unanswered."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _stopped_within(self, seconds):
        try:
            async with asyncio.timeout(max(0, seconds)):
                await self._stopping.wait()
        except TimeoutError:
            return False
        return True

    async def _publish(self, room, interval, phase):
        due = time.monotonic() + phase
        while not await self._stopped_within(due - time.monotonic()):
            now = time.monotonic()
            # A machine that stood still is not made up for.
            due = max(due + interval, now - 1)
            if not self._session.is_up or self._unanswered_bytes[room.name] >= MOST_UNANSWERED_BYTES:
                continue
            number = room.next(now)
            payload = room.payload(number)
            future = self._session.send("PUBLISH", f"room:{room.name}", payload)
            self._unanswered.add(future)
            self._unanswered_bytes[room.name] += len(payload)
            future.add_done_callback(
                lambda done, number=number, count=len(payload): self._answered(room, number, count, done))

    def _answered(self, room, number, byte_count, future):
        self._unanswered.discard(future)
        self._unanswered_bytes[room.name] -= byte_count
        if future.exception() is None:
            room.answered[number] = time.monotonic()
        elif isinstance(future.exception(), RedisRefusal):
            self.refusals.append(str(future.exception()))

    async def _publish_by_hand(self):
        room = self._by_hand
        environment = {
            **os.environ, "PUBLISHER_REDIS": f"redis://publisher@127.0.0.1:{self._installation.server.port}",
            "PUBLISHER_REDIS_PASSWORD": self._installation.server.password("publisher")}
        while not await self._stopped_within(BATCH_SECONDS):
            started = time.monotonic()
            numbers = [room.next(started) for _ in range(BATCH_COUNT)]
            lines = b"".join(
                b'{"room":%s,"type":"notice","data":%s}\n' % (json.dumps(room.name).encode(), room.data(number))
                for number in numbers)
            process = await asyncio.create_subprocess_exec(
                self._installation.binaries / "publisher", "--file", "-", "--quiet", "--timeout", ANSWER_TIMEOUT,
                env=environment, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL)
            try:
                await process.communicate(lines)
            finally:
                if process.returncode is None:
                    process.kill()
            self.cli_runs += 1
            if process.returncode == 0:
                ended = time.monotonic()
                for number in numbers:
                    room.answered[number] = ended
            else:
                # Redis was away: what of it was published is not known, so nobody is owed it.
                self.cli_failures.append((started, time.monotonic()))
