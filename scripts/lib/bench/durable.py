"""What durable rooms cost: the same loads plain and durable, messages by themselves, clients that resume, and a node
that was cut off from Redis."""

import asyncio
import re
import time

from client import get
from clients import HeldRooms, handshakes, fill_room, tokens
from loads import ROWS, figures, measure
from processes import cpu_seconds

ROW_NAMES = ["A", "C"]
# One receiver, so that what a message costs by itself is not hidden by what its deliveries cost.
MESSAGE_OPTIONS = ["--clients", 1, "--rooms", 1, "--payload", "128B", "--window", 64]
RESUMES, MISSED = 1000, 100
HELD_CLIENTS = 10_000
OPTIONS = ["--heartbeat-timeout", "1h", "--token-ttl", "2h", "--maximum-connections", "19600"]
OUTAGE_SECONDS = 30
NOTICE = '{"type":"notice","data":{"pad":"%s"}}' % ("x" * 94)


def durable(bench, say, runs, seconds):
    return {
        "rows": [_row(bench, say, row, run, is_durable, seconds) for row in ROW_NAMES for run in range(runs)
                 for is_durable in (False, True)],
        "messages": [_messages(bench, say, run, is_durable, seconds) for run in range(runs)
                     for is_durable in (False, True)],
        "resumes": _resumes(bench, say), "outage": _outage(bench, say),
    }


def _measure(bench, options, is_durable, seconds):
    """The report of a load, and the seconds that Redis has used."""
    before = sum(cpu_seconds(bench.redis.pid))
    report = measure(bench, "ours", [
        *options, *(["--durable"] if is_durable else []), "--warmup", "1s", "--duration", f"{seconds}s"])
    return report, sum(cpu_seconds(bench.redis.pid)) - before


def _row(bench, say, row, run, is_durable, seconds):
    report, _ = _measure(bench, ROWS[row].options, is_durable, seconds)
    values = figures(report)
    say(f"durable: row {row}, {'durable' if is_durable else 'plain'}, CPU {values['total']:.3f} s a million "
        f"deliveries, p50 {values['p50']:.2f} ms")
    return {"row": row, "run": run, "isDurable": is_durable, "figures": values, "problems": report["problems"]}


def _messages(bench, say, run, is_durable, seconds):
    report, redis = _measure(bench, MESSAGE_OPTIONS, is_durable, seconds)
    cpu, messages = report["server"]["cpu"], report["messages"]
    result = {
        "run": run, "isDurable": is_durable, "problems": report["problems"],
        "nodeMicroseconds": 1e6 * (cpu["userSeconds"] + cpu["systemSeconds"]) / messages["measured"],
        "redisMicroseconds": 1e6 * redis / messages["published"],
        "perSecond": messages["measured"] / report["measuredSeconds"]}
    say(f"durable: a {'durable' if is_durable else 'plain'} message, node {result['nodeMicroseconds']:.2f} µs, Redis "
        f"{result['redisMicroseconds']:.2f} µs")
    return result


def _resumes(bench, say):
    """Microseconds of CPU a handshake: plain; of clients that have missed MISSED notices which the node's memory
    holds; and of such whose notices have to be read, for each of them by itself."""
    results = {}
    for name, rooms in [("plain", 1), ("ring", 1), ("read", RESUMES)]:
        server = bench.start("ours", options=OPTIONS)
        try:
            results[name] = asyncio.run(_resume(bench, server, name, rooms))
        finally:
            bench.stop(server)
        say(f"durable: {name} handshake, node {results[name]['nodeMicroseconds']:.0f} µs, Redis "
            f"{results[name]['redisMicroseconds']:.0f} µs")
    return results


async def _resume(bench, server, name, rooms):
    keys = await tokens(server.port, RESUMES + 1)
    epoch, first = None, {}
    if name != "plain":
        # The first one tells the epoch, and keeps the ring of its room.
        one = await handshakes(server.port, [f"/ws?token={keys[0]}&roomIds=resumed-0&since="])
        epoch = re.search(rb'"since":"([a-z0-9]{8})\.', await one[0].recv(decode=False))[1].decode()
        for room in range(rooms):
            first[room] = (await fill_room(bench.redis_port, f"room:resumed-{room}", NOTICE, MISSED + 1)).decode()
    targets = []
    for number, token in enumerate(keys[1:]):
        room = number % rooms
        since = f"&since={epoch}.{first[room]}" if epoch else ""
        targets.append(f"/ws?token={token}&roomIds=resumed-{room}{since}")
    before = [sum(cpu_seconds(pid)) for pid in (server.process.pid, bench.redis.pid)]
    sockets = await handshakes(server.port, targets)
    if epoch:
        for socket in sockets:
            # The resume frame, and all that it has missed.
            for _ in range(1 + MISSED):
                await socket.recv(decode=False)
    after = [sum(cpu_seconds(pid)) for pid in (server.process.pid, bench.redis.pid)]
    for socket in sockets:
        socket.transport.abort()
    node, redis = (1e6 * (last - first) / RESUMES for first, last in zip(before, after))
    return {"nodeMicroseconds": node, "redisMicroseconds": redis}


def _outage(bench, say):
    """Seconds from the cut of the subscriber's link until all rooms are proven to have missed nothing."""
    server = bench.start("ours", options=OPTIONS)
    held = None
    try:
        held = HeldRooms(server.port, HELD_CLIENTS, since="&since=")
        count = 2 * HELD_CLIENTS
        before = _reads(bench)
        started = time.monotonic()
        bench.redis_command("CLIENT KILL TYPE pubsub")
        while _reads(bench) < before + count and time.monotonic() < started + OUTAGE_SECONDS:
            time.sleep(0.01)
        seconds, reads = time.monotonic() - started, _reads(bench) - before
    finally:
        if held:
            held.close()
        bench.stop(server)
    say(f"durable: {count} rooms proven after {seconds:.2f} s, {reads} reads")
    return {"rooms": count, "seconds": seconds, "reads": reads,
            "problems": [] if reads >= count else [f"only {reads} rooms were proven"]}


def _reads(bench):
    status, text = asyncio.run(get(bench.admin_port, "/metrics"))
    found = re.search(rb"^roomcast_history_reads_total (\d+)$", text, re.MULTILINE)
    return int(found[1]) if status == 200 and found else 0
