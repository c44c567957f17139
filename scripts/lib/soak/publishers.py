"""Numbered notices at a steady rate: into most rooms over one connection to Redis, into one by the publisher CLI."""

import asyncio
import json
import os
import time
from collections import Counter

from histories import HEAD
from ledger import read_notice
from redis_client import RedisRefusal

BATCH_COUNT = 10
BATCH_SECONDS = 2.0
# What waits in a Redis that stands still comes at once when it goes on: more of it than a client's queue may hold
# would end clients that do read.
MOST_UNANSWERED_BYTES = 128 * 1024
# Redis may stand still for longer than the CLI waits by itself.
ANSWER_TIMEOUT = "20s"
AGAIN_SECONDS = 0.05
STOP_SECONDS = 30


class Publishers:
    """`start` begins, `stop` ends after the last answer."""

    cli_options = ()

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
            self._send(room, number)

    def _send(self, room, number):
        payload = room.payload(number)
        future = self._session.send(*self._command(room, number, payload))
        self._unanswered.add(future)
        self._unanswered_bytes[room.name] += len(payload)
        future.add_done_callback(lambda done: self._answered(room, number, len(payload), done))

    def _command(self, room, number, payload):
        return "PUBLISH", f"room:{room.name}", payload

    def _answered(self, room, number, byte_count, future):
        self._unanswered.discard(future)
        self._unanswered_bytes[room.name] -= byte_count
        if future.exception() is None:
            self._succeeded(room, number, future.result())
        else:
            self._failed(room, number, future.exception())

    def _succeeded(self, room, number, reply):
        room.answered[number] = time.monotonic()

    def _failed(self, room, number, error):
        if isinstance(error, RedisRefusal):
            self.refusals.append(str(error))

    async def _publish_by_hand(self):
        room = self._by_hand
        environment = {**os.environ, **self._installation.server.environment("PUBLISHER", "publisher")}
        while not await self._stopped_within(BATCH_SECONDS):
            started = time.monotonic()
            numbers = [room.next(started) for _ in range(BATCH_COUNT)]
            lines = b"".join(
                b'{"room":%s,"type":"notice","data":%s}\n' % (json.dumps(room.name).encode(), room.data(number))
                for number in numbers)
            process = await asyncio.create_subprocess_exec(
                self._installation.binaries / "publisher", *self.cli_options, "--file", "-", "--quiet",
                "--timeout", ANSWER_TIMEOUT, env=environment, stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL)
            try:
                await process.communicate(lines)
            finally:
                if process.returncode is None:
                    process.kill()
            self.cli_runs += 1
            if process.returncode == 0:
                await self._published_by_hand(room, numbers)
            else:
                # Redis was away: what of it was published is not known, so nobody is owed it.
                self.cli_failures.append((started, time.monotonic()))

    async def _published_by_hand(self, room, numbers):
        ended = time.monotonic()
        for number in numbers:
            room.answered[number] = ended


class DurablePublishers(Publishers):
    """Each notice under a once key, sent again until there is an answer."""

    cli_options = ("--durable",)

    def __init__(self, installation, session, rates, by_hand, operator):
        super().__init__(installation, session, rates, by_hand)
        self._operator = operator
        # Those whose answer was lost, in their order.
        self._again = []
        # Notices of which the CLI says that they are stored, and which are not in Redis.
        self.not_stored = []

    def start(self):
        self._tasks.append(asyncio.create_task(self._send_again()))
        super().start()

    async def stop(self):
        self._stopping.set()
        deadline = time.monotonic() + STOP_SECONDS
        while (self._again or self._unanswered) and time.monotonic() < deadline:
            await asyncio.sleep(AGAIN_SECONDS)
        await super().stop()

    async def _send_again(self):
        while not self._stopping.is_set() or self._again or self._unanswered:
            await asyncio.sleep(AGAIN_SECONDS)
            if self._session.is_up:
                waiting, self._again = self._again, []
                for room, number in sorted(waiting, key=lambda each: each[1]):
                    self._send(room, number)

    def _command(self, room, number, payload):
        name = f"room:{room.name}"
        return "FCALL", "roomcast_publish", 2, name, f"once:{{{name}}}:{number}", payload, room.limit

    def _succeeded(self, room, number, reply):
        room.stored(number, reply[0], time.monotonic())

    def _failed(self, room, number, error):
        if isinstance(error, ConnectionError) or str(error).startswith("LOADING"):
            self._again.append((room, number))
        else:
            super()._failed(room, number, error)

    async def _published_by_hand(self, room, numbers):
        """The CLI does not say which ids it was given, so Redis is asked."""
        try:
            entries = await self._operator.send(
                "XREVRANGE", f"room:{room.name}", "+", "-", "COUNT", 2 * len(numbers))
        except (ConnectionError, RedisRefusal):
            return
        now, missing = time.monotonic(), set(numbers)
        for text, (_, frame) in entries:
            found = read_notice(b"{" + HEAD.sub(b"", frame, 1))
            if found is not None and found[1] in missing:
                missing.discard(found[1])
                room.stored(found[1], text, now)
        self.not_stored += [(number, now) for number in missing]
