"""What compression costs and saves: the same loads to clients that take compressed messages and to clients that do
not, and a message by itself, whose own cost no deliveries hide."""

import asyncio
import re

from client import get
from loads import figures, measure, measure_running

SIZES = ["128B", "512B", "4KiB"]
# Every size is compressed, also one that would not be by default.
OPTIONS = ["--compression", "on", "--compression-minimum-bytes", "1"]
# One message on its way, so that both ways make as many writes: clients that inflate are slower, and their server would
# join fewer messages.
ROOM = ["--clients", 1000, "--window", 1]
SINGLE = ["--clients", 1, "--window", 64]
MEMORY_CLIENTS = 10_000


def compression(bench, say, runs, seconds):
    """Both ways, in turns."""
    return {
        "loads": [_load(bench, say, size, run, is_compressed, seconds)
                  for size in SIZES for run in range(runs) for is_compressed in (False, True)],
        "memory": [_memory(bench, say, is_compressed) for is_compressed in (False, True)],
    }


def _load(bench, say, size, run, is_compressed, seconds):
    own = ["--compression"] if is_compressed else []
    times = ["--payload", size, "--warmup", "1s", "--duration", f"{seconds}s", *own]
    options = OPTIONS if is_compressed else []
    room, wire = measure_running(bench, "ours", [*ROOM, *times], options, lambda: _wire_bytes(bench))
    single, _ = measure_running(bench, "ours", [*SINGLE, *times], options, lambda: None)
    cpu = single["server"]["cpu"]
    result = {
        "size": size, "run": run, "isCompressed": is_compressed, "wireBytes": wire,
        "delivery": figures(room)["total"],
        "message": 1e6 * (cpu["userSeconds"] + cpu["systemSeconds"]) / single["messages"]["measured"],
        "problems": room["problems"] + single["problems"]}
    say(f"compression: {size}, {'on' if is_compressed else 'off'}: {wire:.0f} bytes a delivery, "
        f"{result['delivery']:.3f} s CPU a million deliveries, {result['message']:.2f} µs a message to one client")
    return result


def _wire_bytes(bench):
    """Bytes of a delivery: the node's own counts."""
    _, text = asyncio.run(get(bench.admin_port, "/metrics"))

    def value(name):
        return int(re.search(rf"^{name} (\d+)$".encode(), text, re.MULTILINE)[1])
    return value("roomcast_written_bytes_total") / max(1, value("roomcast_frames_delivered_total"))


def _memory(bench, say, is_compressed):
    report = measure(bench, "ours", [
        "--clients", MEMORY_CLIENTS, "--warmup", "0s", "--duration", "2s",
        *(["--compression"] if is_compressed else [])], gateway_options=OPTIONS if is_compressed else [])
    server = report["server"]
    bytes_each = (server["residentBytesAtEnd"] - server["residentBytesBefore"]) / MEMORY_CLIENTS
    say(f"compression: {'on' if is_compressed else 'off'}, {bytes_each:,.0f} B a connection")
    return {"isCompressed": is_compressed, "perConnection": bytes_each, "problems": report["problems"]}
