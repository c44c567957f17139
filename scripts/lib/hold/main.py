"""Holds N clients in one room on this machine. Started by scripts/hold, which builds the programs first."""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import limits
import report
import samples as measure
from deployment import start_gateways, start_nginx
from free_ports import free_ports
from processes import (
    DeployedRedis, ProcessError, Processes, children, ignore_end_signals, only_run, raise_at_end_signals)

SAMPLE_SECONDS = 1.0
PROGRESS_SECONDS = 5.0
POLL_SECONDS = 0.1


def say(text):
    print(f"==> {text}", file=sys.stderr, flush=True)


def read_options():
    parser = argparse.ArgumentParser(
        prog="scripts/hold", allow_abbrev=False,
        description="Starts Redis and as many gateways as N clients need (a process needs a descriptor for each "
        "connection), holds the clients in one room with a heartbeat every 25 s each, sends notices to all of "
        "them, and reports CPU, memory and times. Everything stays on loopback, and the script stops all of it "
        "at the end.",
        epilog="Exit: 0 all clients stayed connected and received every notice once; 1 otherwise; 2 wrong usage.")
    parser.add_argument(
        "clients", metavar="N", nargs="?", type=int, default=100_000, help="clients (default 100000)")
    parser.add_argument(
        "--hold", metavar="SECONDS", type=float, default=60, help="how long to hold all (default 60)")
    parser.add_argument(
        "--every", metavar="SECONDS", type=float, default=5, help="time between notices (default 5)")
    parser.add_argument(
        "--connect-rate", metavar="N", type=int, default=2000,
        help="handshakes a second at most (default 2000)")
    parser.add_argument(
        "--gateways", metavar="N", type=int, help="processes (default: as few as N clients need)")
    parser.add_argument("--nginx", action="store_true", help="connect through nginx")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout instead of the table")
    parser.add_argument("--binaries", type=Path, required=True, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not 1 <= options.clients <= 960_000:
        parser.error("N: expected 1 to 960000")
    if not 1 <= options.every <= 100 or not options.every < options.hold <= 86_400:
        parser.error("--every: expected 1 to 100, and less than --hold (86400 at most)")
    if not 1 <= options.connect_rate <= 100_000:
        parser.error("--connect-rate: expected 1 to 100000")
    if options.gateways is None:
        options.gateways = limits.gateways_for(options.clients)
    if not 1 <= options.gateways <= min(200, options.clients):
        parser.error("--gateways: expected 1 to 200, and no more than N")
    return options


class Hold:
    """One run: start, sample until the load test has ended, judge."""

    def __init__(self, options, processes):
        self.options = options
        self.processes = processes
        self.samples = []
        self.memory = {}
        self.most_socket_buffer_bytes = 0

    def start(self):
        count, nginx_count = self.options.gateways, 0
        if self.options.nginx:
            nginx_count = limits.nginx_workers_for(self.options.clients)
        self.kernel_before = measure.kernel_memory()
        redis_port, *ports = free_ports(1 + 2 * count + nginx_count)
        gateway_ports, self.admin_ports = ports[:count], ports[count:2 * count]
        nginx_ports = ports[2 * count:]
        self.redis = DeployedRedis(self.processes, redis_port)
        self.processes.wait_until(self.redis.process.start(), self.redis.is_ready)
        # least_conn keeps the gateways equal but for a few: each nginx counts for itself.
        maximum = limits.processes_for(self.options.clients, count) + 2 * nginx_count
        self.gateways = start_gateways(
            self.processes, self.options.binaries / "gateway", self.redis, gateway_ports, self.admin_ports, maximum)
        self.nginx = start_nginx(
            self.processes, nginx_ports, gateway_ports, limits.descriptors_per_process() - 64)
        self.start_loadtest(nginx_ports or gateway_ports)

    def start_loadtest(self, ports):
        options = self.options
        self.result_path = self.processes.directory / "loadtest.json"
        with open(self.result_path, "wb") as output:
            self.loadtest = self.processes.start("loadtest", [
                options.binaries / "loadtest", "--json", "--quiet",
                "--gateway", ",".join(f"127.0.0.1:{port}" for port in ports),
                "--clients", options.clients, "--rooms", 1, "--connect-rate", options.connect_rate,
                "--rate", f"{1 / options.every:.6f}", "--warmup", "2s",
                "--duration", f"{options.hold * 1000:.0f}ms", "--settle", "30s",
                "--pids", ",".join(str(process.pid) for process in self.gateways),
            ], {"LOADTEST_REDIS": self.redis.url("publisher")}, stdout=output)
        self.loadtest.should_run = False

    def follow(self):
        """Samples once a second until the load test has ended."""
        next_sample = next_progress = time.monotonic()
        pids = [process.pid for process in self.gateways]
        while self.loadtest.exit_code is None:
            self.processes.check()
            now = time.monotonic()
            if now >= next_sample:
                next_sample = now + SAMPLE_SECONDS
                sample = measure.Sample(pids, self.admin_ports)
                self.samples.append(sample)
                self.look_at_memory(sample)
            if now >= next_progress and self.samples:
                next_progress = now + PROGRESS_SECONDS
                last = self.samples[-1]
                say(f"{last.connections} of {self.options.clients} clients, {last.deliveries} deliveries")
            time.sleep(POLL_SECONDS)

    def look_at_memory(self, sample):
        """Once all have been there for half of the time: all notices of a kind have passed by then."""
        kernel = measure.kernel_memory()
        self.most_socket_buffer_bytes = max(self.most_socket_buffer_bytes, kernel["socketBufferBytes"])
        if self.memory or sample.connections < self.options.clients:
            return
        full = next(each for each in self.samples if each.connections >= self.options.clients)
        if sample.time < full.time + self.options.hold / 2:
            return
        workers = [pid for process in self.nginx for pid in [process.pid, *children(process.pid)]]
        self.memory = {
            "gateways": measure.memory([process.pid for process in self.gateways]),
            "redis": measure.memory([self.redis.process.pid]),
            "nginx": measure.memory(workers),
            "loadProcesses": measure.memory(children(self.loadtest.pid)),
            "kernel": {
                "slabBytes": kernel["slabBytes"] - self.kernel_before["slabBytes"],
                "socketBufferBytes": kernel["socketBufferBytes"],
                "tcpSockets": kernel["tcpSockets"],
            },
        }

    def result(self):
        text = self.result_path.read_text()
        if not text:
            raise ProcessError(f"loadtest ended with {self.loadtest.exit_code}: {self.loadtest.log_end()}")
        if self.memory:
            self.memory["kernel"]["mostSocketBufferBytes"] = self.most_socket_buffer_bytes
        return {
            "clients": self.options.clients, "gateways": len(self.gateways), "nginxWorkers": len(self.nginx),
            "holdSeconds": self.options.hold, "everySeconds": self.options.every,
            "hold": report.hold_figures(self.samples, self.options.clients, self.options.hold),
            "memory": self.memory, "loadtest": json.loads(text),
        }


def run(options):
    with only_run("hold") as directory:
        processes = Processes(directory)
        hold = Hold(options, processes)
        try:
            say(f"Starting Redis, gateways ({options.gateways}) and {options.clients} clients; "
                f"logs: {directory}")
            hold.start()
            hold.follow()
        finally:
            ignore_end_signals()
            say("Stopping")
            killed = processes.stop_all()
        result = hold.result()
        result["problems"] = report.problems(result, killed)
        print(json.dumps(result) if options.json else report.table(result))
        return 1 if result["problems"] else 0


def main():
    options = read_options()
    obstacles = limits.obstacles(options.clients, options.gateways, options.nginx)
    if obstacles:
        raise ProcessError("; ".join(obstacles))
    raise_at_end_signals()
    return run(options)


try:
    sys.exit(main())
except (ProcessError, OSError, subprocess.SubprocessError) as error:
    sys.exit(f"scripts/hold: {error}")
