"""What the nodes say of themselves, several times a second: readiness, gaps, closes; and what /proc says of them."""

import asyncio
import os
import re
import time
from collections import Counter
from pathlib import Path

from client import HttpConnection, get

LOOK_SECONDS = 0.1
SUBSCRIBER = b"redis subscriber connection is down"
PAGE_BYTES = os.sysconf("SC_PAGESIZE")


# What nodes count of durable rooms, by its name in the result.
DURABLE_METRICS = {
    "current": 'roomcast_resumes_total{result="current"}', "ring": 'roomcast_resumes_total{result="ring"}',
    "read": 'roomcast_resumes_total{result="read"}', "lost": 'roomcast_resumes_total{result="lost"}',
    "reads": "roomcast_history_reads_total", "filled": "roomcast_history_filled_total",
}


def metric(text, name):
    match = re.search(rb"^" + re.escape(name.encode()) + rb" (\d+)$", text, re.MULTILINE)
    return int(match[1]) if match else 0


class NodeWatch:
    """Looks at one node for the whole run, through its restarts."""

    def __init__(self, process, port, gaps):
        self._process, self._port, self._gaps = process, port, gaps
        self._http = HttpConnection(port)
        self.is_ready = False
        # Counters of the runs before this one, and of this one at the last look.
        self._before, self._last, self._run = Counter(), Counter(), 0

    async def run(self):
        while True:
            try:
                await self._look()
            except (OSError, EOFError):
                self.is_ready = False
            await asyncio.sleep(LOOK_SECONDS)

    async def _look(self):
        run, asked_at = self._process.run, time.monotonic()
        text = (await self._http.get("/metrics")).body
        readiness = await self._http.get("/readyz")
        self.is_ready = readiness.status == 200
        if run != self._run:
            self._before += self._last
            self._run = run
        self._last = Counter({
            "subscriber": metric(text, 'roomcast_redis_reconnects_total{role="subscriber"}'),
            "slow": metric(text, 'roomcast_closes_total{code="1013"}'),
            "shed": metric(text, "roomcast_messages_shed_total"),
            **{name: metric(text, full) for name, full in DURABLE_METRICS.items()},
        })
        self._gaps.look(
            self._process.name, run, self._last["subscriber"], SUBSCRIBER not in readiness.body, asked_at, time.monotonic())

    @property
    def totals(self):
        return self._before + self._last

    async def footprint(self):
        """Resident bytes, and the descriptors that are no client's."""
        pid = self._process.pid
        # A connection of its own: the other one may be waiting for its answer.
        _, text = await get(self._port, "/metrics")
        descriptors = len(os.listdir(f"/proc/{pid}/fd"))
        connections = metric(text, "roomcast_connections")
        resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES
        return {
            "run": self._process.run, "residentBytes": resident, "descriptors": descriptors,
            "connections": connections,
            "ownDescriptors": descriptors - connections - metric(text, "roomcast_http_connections")}
