"""What processes and kernel use at a moment, from /proc, and what gateways count, from their /metrics."""

import os
import time
from pathlib import Path

from processes import cpu_seconds, opener

PAGE_BYTES = os.sysconf("SC_PAGESIZE")
# A gateway answers from memory; a busy machine can keep it waiting.
METRICS_SECONDS = 10


def memory(pids):
    """Resident and proportional bytes (a shared page counted in part), added up."""
    total = {"residentBytes": 0, "proportionalBytes": 0}
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            words = line.split()
            if words[0] == "Rss:":
                total["residentBytes"] += int(words[1]) * 1024
            elif words[0] == "Pss:":
                total["proportionalBytes"] += int(words[1]) * 1024
    return total


def kernel_memory():
    """Slab of the whole machine (sockets, descriptors, epoll entries), and bytes queued in TCP sockets."""
    slab = 0
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("Slab:"):
            slab = int(line.split()[1]) * 1024
    for line in Path("/proc/net/sockstat").read_text().splitlines():
        if line.startswith("TCP:"):
            words = line.split()
            return {
                "slabBytes": slab,
                "socketBufferBytes": int(words[words.index("mem") + 1]) * PAGE_BYTES,
                "tcpSockets": int(words[words.index("inuse") + 1]),
            }
    raise OSError("/proc/net/sockstat has no line for TCP")


def metrics(port, has_labels=False):
    """The samples of a gateway, by name: those without labels, or all of them, with their labels."""
    with opener.open(f"http://127.0.0.1:{port}/metrics", timeout=METRICS_SECONDS) as answer:
        text = answer.read().decode()
    values = {}
    for line in text.splitlines():
        name, _, value = line.rpartition(" ")
        if name and not line.startswith("#") and (has_labels or "{" not in name):
            values[name] = float(value)
    return values


class Sample:
    """Gateways at one moment: CPU time, open connections, deliveries."""

    def __init__(self, pids, admin_ports):
        self.cpu_seconds = sum(sum(cpu_seconds(pid)) for pid in pids)
        self.time = time.monotonic()
        answers = [metrics(port) for port in admin_ports]
        self.connections = int(sum(answer["roomcast_connections"] for answer in answers))
        self.deliveries = int(sum(answer["roomcast_frames_delivered_total"] for answer in answers))


def quiet_and_busy(samples):
    """Splits the gateways' CPU time between two samples each into spans with and without deliveries.

    Returns (seconds, CPU seconds) of the quiet spans, and (seconds, CPU seconds, deliveries) of the others.
    The spans before and after one with deliveries are none of the quiet ones: they may hold part of it.
    """
    spans = list(zip(samples, samples[1:]))
    is_busy = [after.deliveries > before.deliveries for before, after in spans]
    quiet, busy = [0.0, 0.0], [0.0, 0.0, 0]
    for index, (before, after) in enumerate(spans):
        seconds, cpu = after.time - before.time, after.cpu_seconds - before.cpu_seconds
        if any(is_busy[max(0, index - 1):index + 2]):
            busy[0] += seconds
            busy[1] += cpu
            busy[2] += after.deliveries - before.deliveries
        else:
            quiet[0] += seconds
            quiet[1] += cpu
    return quiet, busy
