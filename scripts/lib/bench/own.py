"""The measurements of the gateway alone: memory, requests, start, idle clients, throughput against rooms,
two workers, many held rooms. Each returns what goes into the raw results."""

import asyncio
import math
import threading
import time

from clients import CONNECTIONS, HeldRooms, request, tokens
from loads import ROWS, figures, measure, run_load
from processes import cpu_seconds
from redis_costs import cpu_microseconds

# A client at rest beats every 25 s: a whole number of periods has the mean load.
IDLE_SECONDS = 50
QUICK_IDLE_SECONDS = 25
REQUESTS = 100_000
STARTS = 10
SATURATION_LATENCY_MS = 1000
SATURATION_SHARE = 0.98
# Deliveries a second: where the search begins, and below which it is given up.
FIRST_TARGET, LEAST_TARGET = 100_000, 1000
# The search is short. A rate that is a tenth too high leaves a second's worth of messages behind in the time of
# the confirmation.
SEARCHING_SECONDS, CONFIRMING_SECONDS = 2, 10
ROOM_COUNTS = [1, 10, 100, 1000, 5000]
HELD_OPTIONS = ["--heartbeat-timeout", "1h", "--token-ttl", "2h", "--maximum-connections", "19600"]


def memory(bench, say, names, client_counts):
    """Resident memory of fresh servers before and after so many clients have connected and come to rest."""
    points = []
    for name in names:
        for clients in client_counts:
            say(f"memory: {name}, {clients} clients")
            report = measure(bench, name, ["--clients", clients, "--warmup", "0s", "--duration", "2s"])
            server = report["server"]
            before, after = server["residentBytesBefore"], server["residentBytesAtEnd"]
            points.append({
                "server": name, "clients": clients, "before": before, "after": after,
                "perConnection": (after - before) / clients, "problems": report["problems"]})
    return points


def requests(bench, say):
    """CPU time of the gateway a request, in µs, over keep-alive connections without pipelining."""
    results = {}
    for name in ["/get/token", "/heartbeat"]:
        say(f"requests: {REQUESTS} of {name}")
        server = bench.start("ours")
        try:
            if name == "/heartbeat":
                paths = [f"{name}?token={token}" for token in asyncio.run(tokens(server.port, CONNECTIONS))]
            else:
                paths = [f"{name}?isLogin=true&userId=bench-{i}" for i in range(CONNECTIONS)]
            # What is done once, and memory that grows to its size, are not the cost of a request.
            asyncio.run(request(server.port, paths, REQUESTS // 20))
            before, started = cpu_seconds(server.process.pid), time.monotonic()
            asyncio.run(request(server.port, paths, REQUESTS))
            seconds = time.monotonic() - started
            after = cpu_seconds(server.process.pid)
        finally:
            bench.stop(server)
        user, system = (1e6 * (after[i] - before[i]) / REQUESTS for i in range(2))
        results[name] = {
            "requests": REQUESTS, "connections": CONNECTIONS, "userMicroseconds": user,
            "systemMicroseconds": system, "perSecond": REQUESTS / seconds}
    return results


def handshakes(bench, say, runs):
    """CPU of a handshake with its registration, in µs: the gateway's, and that of the floor with a command to
    Redis of the same size. The rows of the table compare with a floor that registers nothing."""
    points = []
    for run in range(runs):
        for name in ["ours", "floor-register"]:
            report = measure(bench, name, [*ROWS["C"].options, "--warmup", "0s", "--duration", "1s"])
            points.append({
                "server": name, "run": run, "microseconds": figures(report)["handshake"],
                "problems": report["problems"]})
            say(f"handshakes: {name}, {points[-1]['microseconds']:.1f} µs")
    return points


def start_times(bench, say):
    """Milliseconds from exec to the first 200 of /readyz."""
    say(f"start: {STARTS} times")
    times = []
    for _ in range(STARTS):
        started = time.monotonic()
        process = bench.start_gateway_process()
        try:
            bench.processes.wait_until(process, bench.is_gateway_ready, interval=0.001)
            times.append(1000 * (time.monotonic() - started))
        finally:
            bench.processes.stop(process)
    return times


def idle(bench, say, clients, seconds, mode="request"):
    """CPU share of the gateway, and of Redis, while clients do nothing but beat, in percent of a core."""
    say(f"idle: {clients} clients for {seconds} s, --heartbeat {mode}")
    options = [] if mode == "request" else ["--heartbeats", "off"]
    redis = CpuTrack(bench.redis.pid)
    try:
        report = measure(
            bench, "ours", ["--clients", clients, "--warmup", "0s", "--duration", f"{seconds}s", *options],
            gateway_options=["--heartbeat", mode])
    finally:
        redis.end()
    cpu = report["server"]["cpu"]
    measured = report["measuredSeconds"]
    return {
        "clients": clients, "seconds": measured, "heartbeats": report["heartbeats"]["sent"],
        "userPercent": 100 * cpu["userSeconds"] / measured,
        "systemPercent": 100 * cpu["systemSeconds"] / measured,
        # The gateway's end is the end of the track, and the load's is shortly before.
        "redisPercent": 100 * redis.share(QUICK_IDLE_SECONDS - 5, before_end=4), "problems": report["problems"]}


class CpuTrack:
    """CPU time of a process' main thread, looked at all the time, so that the share of any stretch is known."""

    def __init__(self, pid):
        self._pid, self._seen, self._end = pid, [], threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self):
        while not self._end.wait(0.1):
            self._seen.append((time.monotonic(), cpu_microseconds(self._pid) / 1e6))

    def end(self):
        self._end.set()
        self._thread.join()

    def share(self, seconds, before_end):
        """Of a core, for so many seconds that ended so long before the end."""
        last = self._seen[-1][0] - before_end
        stretch = [(at, used) for at, used in self._seen if last - seconds <= at <= last]
        (first, used_first), (last, used_last) = stretch[0], stretch[-1]
        return (used_last - used_first) / (last - first)


def throughput(bench, say):
    """Raises the rate fourfold until it is not held, halves the distance twice, holds the result longer."""
    return [step for rooms in ROOM_COUNTS for step in _climb(bench, say, rooms)]


def _climb(bench, say, rooms):
    steps = []

    def is_held(target, seconds=SEARCHING_SECONDS):
        """Whether so many deliveries a second are held."""
        steps.append(_step(bench, say, rooms, max(1, round(target * rooms / 10_000)), seconds))
        return not steps[-1]["limit"]

    target = FIRST_TARGET
    if is_held(target):
        while is_held(target * 4):
            target *= 4
    else:
        target /= 4
        while not is_held(target) and target > LEAST_TARGET:
            target /= 4
    for factor in [2, math.sqrt(2)]:
        if is_held(target * factor):
            target *= factor
    while not is_held(target, CONFIRMING_SECONDS) and target > LEAST_TARGET:
        target /= math.sqrt(2)
    steps[-1]["isConfirmed"] = not steps[-1]["limit"]
    return steps


def _step(bench, say, rooms, rate, seconds):
    receivers = 10_000 / rooms
    offered = rate * receivers
    report = measure(bench, "ours", [
        "--clients", 10_000, "--rooms", rooms, "--rate", rate, "--warmup", "1s",
        "--duration", f"{seconds}s", "--settle", "3s"])
    values = figures(report)
    # The beginning and the end fall between two messages: one more or less is no finding.
    least = SATURATION_SHARE * rate * report["measuredSeconds"] - 1
    limit = ""
    if report["messages"]["measured"] < least:
        limit = "publishing"
    elif report["deliveries"]["measured"] < least * receivers:
        limit = "arrivals"
    elif values["p99"] > SATURATION_LATENCY_MS:
        limit = "latency"
    elif has_lost(report):
        limit = "losses"
    state = f"not held: {limit}" if limit else "held"
    say(f"rooms: {rooms} rooms, {offered:,.0f} deliveries/s: p99 {values['p99']:.1f} ms, {state}")
    return {
        "rooms": rooms, "messagesPerSecond": rate, "offered": offered, "limit": limit,
        "p50": values["p50"], "p99": values["p99"], "total": values["total"], "problems": report["problems"]}


def has_lost(report):
    """Whether a delivery or a connection was lost or damaged; nothing else is the fault of the rate."""
    checked = report["deliveries"]["checked"]
    wrong = sum(count for finding, count in checked.items() if finding not in ("expected", "received"))
    return wrong > 0 or bool(report["connections"]["serverCloses"])


def two_workers(bench, say, runs, seconds):
    """Deliveries a second of one worker and of two, and who used the cores meanwhile."""
    results = []
    for run in range(runs):
        for workers in [1, 2]:
            redis_before = sum(cpu_seconds(bench.redis.pid))
            started = time.monotonic()
            report = measure(bench, "ours", [
                *ROWS["A"].options, "--warmup", "1s", "--duration", f"{seconds}s"], workers)
            redis = sum(cpu_seconds(bench.redis.pid)) - redis_before
            measured = report["measuredSeconds"]
            gateway, tool = report["server"]["cpu"], report["tool"]
            result = {
                "workers": workers, "run": run, "rate": report["deliveries"]["perSecond"],
                "gatewayCores": (gateway["userSeconds"] + gateway["systemSeconds"]) / measured,
                "toolCores": (tool["userSeconds"] + tool["systemSeconds"]) / measured,
                # Redis works while messages flow: the measured second and the one of warming up.
                "redisCores": redis / (measured + 1), "total": figures(report)["total"],
                "wallSeconds": time.monotonic() - started, "problems": report["problems"]}
            results.append(result)
            say(f"workers: {workers}, {result['rate']:,.0f} deliveries/s")
    return results


def held_rooms(bench, say, runs, seconds):
    """Rows A and C on a node that has 20,000 rooms, and on an equal one that has only theirs."""
    results = []
    for run in range(runs):
        for row in ["A", "C"]:
            # Row C has 1,000 rooms and 10,000 clients itself, and a process has 20,000 descriptors.
            for held_clients in [0, 10_000 if row == "A" else 9_500]:
                server = bench.start("ours", options=HELD_OPTIONS)
                held = None
                try:
                    held = HeldRooms(server.port, held_clients)
                    report = run_load(bench, server, [
                        *ROWS[row].options, "--warmup", "1s", "--duration", f"{seconds}s"])
                finally:
                    if held:
                        held.close()
                    bench.stop(server)
                values = figures(report)
                say(f"held: row {row}, {2 * held_clients} rooms held, CPU {values['total']:.3f}")
                results.append({
                    "row": row, "held": 2 * held_clients, "run": run, "figures": values,
                    "problems": report["problems"]})
    return results
