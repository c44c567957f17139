"""What the gateway's commands cost Redis itself: CPU time of its main thread, and memory. Each command alone, the next
one after its answer, and together with others, as a busy Redis finds them. For scripts/capacity."""

import asyncio
import json
import selectors
import socket
import statistics
import threading
import time
from pathlib import Path

from client import open_socket
from clients import CONNECTIONS, HeldRooms, handshakes, request, tokens
from free_ports import free_ports
from processes import REDIS_SERVER, ProcessError
from redis_client import encode, read_reply

SIZES = [128, 1024]
RECEIVERS = [0, 1, 4, 16, 64]
TOGETHER = 50
# Of equal parts the one in the middle counts, since other work on the machine disturbs few of them.
PARTS = 9
ALONE_COUNT, TOGETHER_COUNT = 250, 2500
# Records that a node looks up with one command (Gateway: Limits).
LOOKED_UP = 500
HANDSHAKES_ALONE, HANDSHAKES_TOGETHER = 100, 500
CLIENTS = 5000
CHANNELS = 10_000
NOTICES = 1000
MASTERS, SLOTS = 3, 16384
START_SECONDS = 20
OPTIONS = ["--heartbeat-timeout", "1h", "--token-ttl", "2h", "--maximum-connections", "19600"]


def redis_costs(bench, say):
    """Microseconds of CPU and bytes of memory."""
    results = {"publish": _publish(bench, say), "problems": []}
    server = bench.start("ours", options=OPTIONS)
    try:
        results["commands"] = asyncio.run(_commands(bench, say, server.port))
        results["durable"] = asyncio.run(_durable(bench, say))
        results["memory"] = _memory(bench, say, server.port)
    finally:
        bench.stop(server)
    try:
        results["bus"] = _bus(bench, say)
    except ProcessError as error:
        # A server without Cluster, or one before Redis 7.
        results["problems"].append(f"no cluster: {error}")
    return results


def cpu_microseconds(pid):
    """CPU time of the main thread, to the nanosecond."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1000


class Session:
    """A blocking connection, and what is needed to send commands over it."""

    def __init__(self, port):
        self._socket = socket.create_connection(("127.0.0.1", port), 10)
        self._file = self._socket.makefile("rb")

    def call(self, *words):
        self._socket.sendall(encode(words))
        return self._reply()

    def repeat(self, command, count, together):
        """Sends an encoded command so often, so many at a time."""
        for _ in range(count // together):
            self._socket.sendall(command * together)
            for _ in range(together):
                self._reply()

    def _reply(self):
        line = self._file.readline()
        if not line.endswith(b"\r\n") or line.startswith(b"-"):
            raise ProcessError(f"Redis answers {line!r}")
        if line.startswith(b"$"):
            return self._file.read(int(line[1:]) + 2)[:-2]
        if line.startswith(b"*"):
            return [self._reply() for _ in range(int(line[1:]))]
        return line[1:-2]

    def close(self):
        self._file.close()
        self._socket.close()


class Receivers:
    """Connections that have subscribed to a channel and are read all the time."""

    def __init__(self, port, channel, count):
        self._selector, self._end = selectors.DefaultSelector(), False
        for _ in range(count):
            connection = socket.create_connection(("127.0.0.1", port), 10)
            connection.sendall(encode(["SUBSCRIBE", channel]))
            connection.recv(4096)
            self._selector.register(connection, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self):
        while not self._end:
            for key, _ in self._selector.select(0.05) if self._selector.get_map() else []:
                key.fileobj.recv(1 << 20)
            if not self._selector.get_map():
                return

    def close(self):
        self._end = True
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()
        self._selector.close()


def _measured(pid, count, work):
    """Microseconds each, of `count` that `work` does."""
    parts = []
    for _ in range(PARTS):
        before = cpu_microseconds(pid)
        work()
        parts.append((cpu_microseconds(pid) - before) / count)
    return statistics.median(parts)


def _both(pid, session, command):
    return {"alone": _measured(pid, ALONE_COUNT, lambda: session.repeat(command, ALONE_COUNT, 1)),
            "together": _measured(pid, TOGETHER_COUNT, lambda: session.repeat(command, TOGETHER_COUNT, TOGETHER))}


def _publish(bench, say):
    """A PUBLISH to so many nodes."""
    points = []
    for size in SIZES:
        command = encode(["PUBLISH", "room:cost", "x" * size])
        for count in RECEIVERS:
            receivers, session = Receivers(bench.redis_port, "room:cost", count), Session(bench.redis_port)
            try:
                session.repeat(command, TOGETHER, TOGETHER)
                cost = _both(bench.redis.pid, session, command)
            finally:
                session.close()
                receivers.close()
            say(f"redis: PUBLISH of {size} B to {count} nodes: {cost['alone']:.1f} µs alone, "
                f"{cost['together']:.2f} together")
            points.append({"bytes": size, "receivers": count, **cost})
    return points


async def _commands(bench, say, port):
    """What requests to the gateway cost Redis, and what a node asks by itself."""
    pid, results = bench.redis.pid, {}

    async def measured(work, count):
        parts = []
        for number in range(PARTS):
            before = cpu_microseconds(pid)
            await work(number)
            parts.append((cpu_microseconds(pid) - before) / count)
        return statistics.median(parts)

    async def requested(paths, count):
        return await measured(lambda _: request(port, paths, count), count)

    issue = [f"/get/token?isLogin=true&userId=bench-{number}" for number in range(CONNECTIONS)]
    results["issue"] = {"alone": await requested(issue[:1], ALONE_COUNT),
                        "together": await requested(issue, TOGETHER_COUNT)}
    keys = await tokens(port, PARTS * (HANDSHAKES_ALONE + HANDSHAKES_TOGETHER))
    # One alone leaves at once, but the next one then waits for others: it has no cost of its own.
    results["heartbeat"] = {"together": await requested(
        [f"/heartbeat?token={key}" for key in keys[:CONNECTIONS]], TOGETHER_COUNT)}
    # A room for each, so that the subscription counts as well.
    targets = [f"/ws?token={key}&roomIds=cost-{number}" for number, key in enumerate(keys)]
    sockets = []

    async def one_by_one(_):
        for _ in range(HANDSHAKES_ALONE):
            sockets.append(await open_socket(f"ws://127.0.0.1:{port}{targets.pop()}"))

    async def at_once(_):
        sockets.extend(await handshakes(port, [targets.pop() for _ in range(HANDSHAKES_TOGETHER)]))

    results["handshake"] = {"alone": await measured(one_by_one, HANDSHAKES_ALONE),
                            "together": await measured(at_once, HANDSHAKES_TOGETHER)}
    for each in sockets:
        each.transport.abort()
    session = Session(bench.redis_port)
    results["confirm"] = _both(pid, session, encode(["PTTL", f"client:{keys[0]}"]))
    look_up = encode(["EXISTS", *(f"client:{key}" for key in keys[:LOOKED_UP])])
    results["lookUp"] = {"together": _measured(pid, LOOKED_UP * 50, lambda: session.repeat(look_up, 50, 1))}
    session.close()
    for name, cost in results.items():
        say(f"redis: {name}: " + ", ".join(f"{value:.2f} µs {how}" for how, value in cost.items()))
    return results


async def _durable(bench, say):
    """A durable notice that no one receives, and what each takes of memory. The gateway has loaded the functions."""
    points, session = [], Session(bench.redis_port)
    for size in SIZES:
        notice = json.dumps({"type": "notice", "data": "x" * (size - 30)})
        # The same notice to rooms of their own: each history is at its limit soon, as those of busy rooms are.
        command = encode(["FCALL", "roomcast_publish", 1, f"room:durable-{size}", notice])
        session.repeat(command, NOTICES, TOGETHER)
        memory = int(session.call("MEMORY", "USAGE", f"room:durable-{size}", "SAMPLES", 0))
        point = {"bytes": len(notice), "bytesANotice": memory / NOTICES}
        point.update(_both(bench.redis.pid, session, command))
        say(f"redis: durable notice of {size} B: {point['alone']:.1f} µs alone, {point['together']:.1f} together, "
            f"{point['bytesANotice']:.0f} B")
        points.append(point)
    session.close()
    return points


def _used_memory(session):
    text = session.call("INFO", "memory").decode()
    return int(text.partition("used_memory:")[2].split()[0])


def _memory(bench, say, port):
    """Bytes of a token that is connected, of a channel, and of each further node that has it."""
    session = Session(bench.redis_port)
    session.call("FLUSHALL")
    names = [f"room:channel-{number}" for number in range(CHANNELS)]
    subscribers, used = [], [_used_memory(session)]
    for _ in range(2):
        subscriber = Session(bench.redis_port)
        for name in names:
            subscriber.call("SUBSCRIBE", name)
        subscribers.append(subscriber)
        used.append(_used_memory(session))
    for subscriber in subscribers:
        subscriber.close()
    channel, further = ((later - earlier) / CHANNELS for earlier, later in zip(used, used[1:]))
    before = _settled_memory(session)
    held = HeldRooms(port, CLIENTS)
    try:
        client = (_used_memory(session) - before) / CLIENTS
    finally:
        held.close()
        session.close()
    # Each of them is in two rooms that no one else is in.
    result = {"token": client - 2 * channel, "channel": channel, "furtherNode": further}
    say("redis: " + ", ".join(f"{name} {size:.0f} B" for name, size in result.items()))
    return result


def _settled_memory(session):
    """What is used when closed connections have been freed."""
    used, deadline = _used_memory(session), time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        time.sleep(0.3)
        before, used = used, _used_memory(session)
        if abs(used - before) < 4096:
            break
    return used


def _bus(bench, say):
    """A PUBLISH that no one receives, at a master of a cluster: that master, and each of the others."""
    state = bench.state / "cluster"
    ports = free_ports(2 * MASTERS)
    nodes, sessions = [], []
    try:
        for number in range(MASTERS):
            directory = state / str(number)
            directory.mkdir(parents=True, exist_ok=True)
            (directory / "nodes.conf").unlink(missing_ok=True)
            nodes.append(bench.processes.start(f"redis-cluster-{number}", [
                REDIS_SERVER, "--port", ports[number], "--cluster-port", ports[MASTERS + number], "--bind", "127.0.0.1",
                "--dir", directory, "--save", "", "--appendonly", "no", "--cluster-enabled", "yes"]))
        for number, node in enumerate(nodes):
            bench.processes.wait_until(node, lambda number=number: _answers(ports[number]))
            sessions.append(Session(ports[number]))
            first, next_first = (SLOTS * place // MASTERS for place in (number, number + 1))
            sessions[number].call("CLUSTER", "ADDSLOTSRANGE", first, next_first - 1)
            sessions[number].call("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for number in range(1, MASTERS):
            sessions[0].call("CLUSTER", "MEET", "127.0.0.1", ports[number], ports[MASTERS + number])
        _wait(lambda: all(_cluster(session, "cluster_state") == "ok"
                          and _cluster(session, "cluster_known_nodes") == str(MASTERS) for session in sessions))
        command, results = encode(["PUBLISH", "room:cost", "x" * SIZES[0]]), {"nodes": MASTERS, "bytes": SIZES[0]}
        for name, count, together in [("alone", ALONE_COUNT, 1), ("together", TOGETHER_COUNT, TOGETHER)]:
            parts = [_bus_part(nodes, sessions, command, count, together) for _ in range(PARTS)]
            publishing, other = map(statistics.median, zip(*parts))
            results[name] = {"publishing": publishing, "other": other}
            say(f"redis: PUBLISH in a cluster of {MASTERS} masters, {name}: {publishing:.2f} µs at its master, "
                f"{other:.2f} at each other")
        return results
    finally:
        for session in sessions:
            session.close()
        bench.processes.stop(*nodes)


def _bus_part(nodes, sessions, command, count, together):
    """Microseconds a PUBLISH at the first node: its own, and those of one of the others."""
    before = [cpu_microseconds(node.pid) for node in nodes]
    heard = [_heard(session) for session in sessions[1:]]
    sessions[0].repeat(command, count, together)
    _wait(lambda: all(_heard(session) >= first + count for session, first in zip(sessions[1:], heard)))
    publishing, *others = ((cpu_microseconds(node.pid) - first) / count for node, first in zip(nodes, before))
    return publishing, sum(others) / len(others)


def _answers(port):
    try:
        session = Session(port)
    except OSError:
        return False
    session.close()
    return True


def _wait(condition):
    deadline = time.monotonic() + START_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise ProcessError(f"not within {START_SECONDS} s")
        time.sleep(0.05)


def _cluster(session, name):
    lines = dict(line.split(":", 1) for line in session.call("CLUSTER", "INFO").decode().split("\r\n") if ":" in line)
    return lines.get(name, "0")


def _heard(session):
    return int(_cluster(session, "cluster_stats_messages_publish_received"))
