"""The processes of a hold: started in their own sessions, ended in order, whatever happens in between."""

import os
import re
import secrets
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

START_SECONDS = 30
STOP_SECONDS = 15
POLL_SECONDS = 0.05
ROOT = Path(__file__).resolve().parent.parent.parent
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class HoldError(Exception):
    """One line for the user."""


class Processes:
    """Starts processes with their output in DIRECTORY/NAME.log, and stops them all."""

    def __init__(self, directory):
        self.directory = directory
        self.started = []

    def start(self, name, command, environment, stdout=None):
        """Starts a process that the kernel ends if this script is killed; Ctrl-C does not reach it."""
        with open(self.directory / f"{name}.log", "wb") as log:
            process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", *map(str, command)], env={**os.environ, **environment},
                stdin=subprocess.DEVNULL, stdout=stdout or log, stderr=log, start_new_session=True)
        process.name = name
        self.started.append(process)
        return process

    def log_of(self, process):
        return self.directory / f"{process.name}.log"

    def check(self):
        """Raises when one has ended that should run."""
        for process in self.started:
            if process.poll() is not None and not process.name.startswith("loadtest"):
                last = self.log_of(process).read_text(errors="replace").splitlines()[-1:]
                raise HoldError(f"{process.name} ended with {process.returncode}: {''.join(last)} "
                                f"(its log: {self.log_of(process)})")

    def wait_until(self, process, is_ready):
        deadline = time.monotonic() + START_SECONDS
        while not is_ready():
            self.check()
            if time.monotonic() >= deadline:
                raise HoldError(f"{process.name} was not ready within {START_SECONDS} s "
                                f"(its log: {self.log_of(process)})")
            time.sleep(POLL_SECONDS)

    def stop(self):
        """Ends all, the last one first: clients, nginx, gateways, Redis. Returns who had to be killed."""
        killed = []
        groups = {}
        for process in reversed(self.started):
            groups.setdefault(re.sub(r"-\d+$", "", process.name), []).append(process)
        for group in groups.values():
            for process in group:
                if process.poll() is None:
                    process.terminate()
            deadline = time.monotonic() + STOP_SECONDS
            for process in group:
                try:
                    process.wait(max(0, deadline - time.monotonic()))
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
                    killed.append(process.name)
        return killed


def answers(port, path, wanted):
    """Whether GET PATH on this machine has the wanted status."""
    try:
        with opener.open(f"http://127.0.0.1:{port}{path}", timeout=3) as answer:
            return answer.status == wanted
    except urllib.error.HTTPError as error:
        return error.code == wanted
    except OSError:
        return False


def free_ports(count):
    tool = ROOT / "scripts/lib/free_ports.py"
    command = [sys.executable, tool, str(count)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [int(line) for line in output.split()]


def start_redis(processes, port):
    """Starts Redis as deployments do; returns (process, the gateways' password, the publisher's)."""
    passwords = {"ROOMCAST_GATEWAY_PASSWORD": secrets.token_hex(24),
                 "ROOMCAST_PUBLISHER_PASSWORD": secrets.token_hex(24)}
    gateway, publisher = passwords.values()
    directory = processes.directory
    process = processes.start(
        "redis", [ROOT / "deploy/redis-start", directory, "--port", port, "--dir", directory], passwords)

    def is_ready():
        ping = subprocess.run(
            ["redis-cli", "-p", str(port), "--user", "publisher", "ping"], capture_output=True, check=False,
            env={**os.environ, "REDISCLI_AUTH": publisher})
        return ping.stdout.strip() == b"PONG"

    processes.wait_until(process, is_ready)
    return process, gateway, publisher


def start_gateways(processes, binary, redis_port, password, ports, admin_ports, maximum, environment=None):
    started = []
    for number, (port, admin_port) in enumerate(zip(ports, admin_ports), 1):
        started.append(processes.start(f"gateway-{number}", [binary, "--workers", 1], {
            "GATEWAY_LISTEN": f"127.0.0.1:{port}", "GATEWAY_ADMIN_LISTEN": f"127.0.0.1:{admin_port}",
            "GATEWAY_REDIS": f"redis://gateway@127.0.0.1:{redis_port}", "GATEWAY_REDIS_PASSWORD": password,
            "GATEWAY_NODE_ID": f"hold-{number}", "GATEWAY_MAXIMUM_CONNECTIONS": str(maximum),
            "GATEWAY_TRUSTED_PROXIES": "127.0.0.1/32", "GATEWAY_DRAIN_TIME": "2s", **(environment or {})}))
    for process, admin_port in zip(started, admin_ports):
        processes.wait_until(process, lambda: answers(admin_port, "/readyz", 200))
    return started


def start_nginx(processes, ports, gateway_ports, connections):
    """Starts an nginx with one worker process for each port, so that the tunnels are spread evenly."""
    program = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/local/sbin:/usr/sbin:/sbin")
    configuration = (ROOT / "deploy/nginx.conf").read_text()
    configuration = configuration.replace("worker_processes auto;", "worker_processes 1;")
    # All clients have one address here.
    configuration = re.sub(r"^ *limit_(req|conn) .*\n", "", configuration, flags=re.M)
    servers = "".join(f"server 127.0.0.1:{port} max_fails=1 fail_timeout=2s;\n" for port in gateway_ports)
    started = []
    for number, port in enumerate(ports, 1):
        directory = processes.directory / f"nginx-{number}"
        (directory / "temporary").mkdir(parents=True, exist_ok=True)
        (directory / "nginx.conf").write_text(configuration)
        (directory / "nginx-connections.conf").write_text(f"worker_connections {connections};\n")
        (directory / "nginx-listen.conf").write_text(f"listen 127.0.0.1:{port} backlog=4096;\n")
        (directory / "nginx-gateways.conf").write_text(servers)
        command = [program, "-e", "stderr", "-p", directory, "-c", directory / "nginx.conf"]
        started.append(processes.start(f"nginx-{number}", command, {}))
    for process, port in zip(started, ports):
        # A path that only a gateway knows to be unknown.
        processes.wait_until(process, lambda: answers(port, "/", 404))
    return started
