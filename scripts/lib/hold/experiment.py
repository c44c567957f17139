"""What scripts/hold and scripts/storm share: an option or two, Redis, load tests, and the way of a run."""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from processes import (
    DeployedRedis, ProcessError, Processes, ignore_end_signals, only_run, raise_at_end_signals)

POLL_SECONDS = 0.1


def say(text):
    print(f"==> {text}", file=sys.stderr, flush=True)


def parser(name, description, epilog, clients, clients_help):
    """A parser with the options of both; `clients` is the default of N."""
    result = argparse.ArgumentParser(
        prog=f"scripts/{name}", allow_abbrev=False, epilog=epilog,
        description=f"{description} Everything stays on loopback, and the script stops all of it at the end.")
    result.add_argument(
        "clients", metavar="N", nargs="?", type=int, default=clients, help=f"{clients_help} (default {clients})")
    result.add_argument("--json", action="store_true", help="one JSON object on stdout instead of the table")
    result.add_argument("--binaries", type=Path, required=True, help=argparse.SUPPRESS)
    return result


class Experiment:
    """One run: `start`, `follow` until it is over, and the `result` with its `problems`, shown as a `table`."""

    def __init__(self, options, processes):
        self.options = options
        self.processes = processes

    def start_redis(self, port):
        self.redis = DeployedRedis(self.processes, port)
        self.processes.wait_until(self.redis.process.start(), self.redis.is_ready)

    def start_loadtest(self, name, gateway_ports, clients, *arguments):
        """Its report goes into a file, which `report` reads."""
        gateways = ",".join(f"127.0.0.1:{port}" for port in gateway_ports)
        with open(self.processes.directory / f"{name}.json", "wb") as output:
            return self.processes.start(name, [
                self.options.binaries / "loadtest", "--json", "--quiet", "--gateway", gateways,
                "--clients", clients, *arguments,
            ], {"LOADTEST_REDIS": self.redis.url("publisher")}, stdout=output)

    def report(self, loadtest):
        text = (self.processes.directory / f"{loadtest.name}.json").read_text()
        if not text:
            raise ProcessError(f"{loadtest.name} ended with {loadtest.exit_code}: {loadtest.log_end()}")
        return json.loads(text)


def run(kind, options):
    """Runs an experiment; returns the exit code."""
    with only_run(kind.name) as directory:
        processes = Processes(directory)
        experiment = kind(options, processes)
        try:
            say(f"Starting Redis, {experiment.parts()}; logs: {directory}")
            experiment.start()
            experiment.follow()
        finally:
            ignore_end_signals()
            say("Stopping")
            killed = processes.stop_all()
        result = experiment.result()
        result["problems"] = experiment.problems(result, killed)
        print(json.dumps(result) if options.json else experiment.table(result))
        return 1 if result["problems"] else 0


def main(kind, options):
    """Runs an experiment, unless something stands in its way, and exits."""
    try:
        obstacles = kind.obstacles(options)
        if obstacles:
            raise ProcessError("; ".join(obstacles))
        raise_at_end_signals()
        sys.exit(run(kind, options))
    except (ProcessError, OSError, subprocess.SubprocessError) as error:
        sys.exit(f"scripts/{kind.name}: {error}")
