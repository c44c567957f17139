"""Runs of the load generator: the rows of the table, and how a run's report is read."""

import json
import os
import subprocess

from processes import ProcessError

CONNECT_RATE = 4000


class Row:
    """One load that every server gets. `options` are those of loadtest."""

    def __init__(self, title, clients, payload, *options, rooms=1):
        self.title, self.clients, self.payload, self.rooms = title, clients, payload, rooms
        self.options = ["--clients", clients, "--rooms", rooms, "--payload", payload, *options]


ROWS = {
    "A": Row("1,000 clients, 1 room, 512 B, 16 messages on their way", 1000, "512B", "--window", 16),
    "A1": Row("1,000 clients, 1 room, 512 B, 1 message on its way", 1000, "512B", "--window", 1),
    "B": Row("10,000 clients, 1 room, 128 B, 20 messages/s", 10000, "128B", "--rate", 20),
    "B5": Row("10,000 clients, 1 room, 128 B, 5 messages/s", 10000, "128B", "--rate", 5),
    "C": Row("10,000 clients, 1,000 rooms, 128 B, 2,000 messages/s", 10000, "128B", "--rate", 2000,
             rooms=1000),
}


def command_line(bench, server, options):
    return [
        bench.binaries / "loadtest", "--gateway", f"127.0.0.1:{server.port}", *server.load_options,
        "--pids", ",".join(map(str, server.pids)), "--connect-rate", CONNECT_RATE,
        "--json", "--quiet", *options,
    ]


def run_load(bench, server, options):
    """Runs loadtest against a server and returns its report. Losses and the like are in its `problems`.
    A machine too loaded for the run shows there too: the run is kept, and marked."""
    command = [str(word) for word in command_line(bench, server, options)]
    process = bench.processes.start("loadtest", command, stdout=subprocess.PIPE)
    process.should_run = False
    output = process.stdout.read()
    process.wait()
    process.stdout.close()
    bench.processes.stop(process)
    if process.exit_code not in (0, 1):
        raise ProcessError(f"loadtest ended with {process.exit_code}:\n{process.log_end()}")
    report = json.loads(output)
    bench.processes.check()
    report["command"] = " ".join([os.path.relpath(command[0], bench.root), *command[1:]])
    return report


def measure(bench, name, options, workers=1, gateway_options=()):
    """Runs one load against a fresh server."""
    return measure_running(bench, name, options, gateway_options, lambda: None, workers)[0]


def measure_running(bench, name, options, gateway_options, look, workers=1):
    """As `measure`, and what `look` finds before the server ends."""
    server = bench.start(name, workers, gateway_options)
    try:
        return run_load(bench, server, options), look()
    finally:
        bench.stop(server)


def figures(report):
    """The figures of the table. CPU: seconds for a million deliveries; latencies: ms; handshake: µs."""
    server, latency = report["server"], report["deliveries"]["latencyMicroseconds"]
    cpu = server["cpu"]
    user = cpu.get("userSecondsPerMillionDeliveries")
    system = cpu.get("systemSecondsPerMillionDeliveries")
    return {
        "user": user, "system": system, "total": None if user is None else user + system,
        "p50": latency["p50"] / 1000, "p90": latency["p90"] / 1000, "p99": latency["p99"] / 1000,
        "p999": latency["p999"] / 1000, "rate": report["deliveries"]["perSecond"],
        "rss": server.get("residentBytesPerConnection"), "handshake": server.get("handshakeCpuMicroseconds"),
    }
