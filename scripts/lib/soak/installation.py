"""The processes of a soak: redis-server, three gateways and nginx, as deployments run them. Each can be ended and
started again; what ends by itself is a failure."""

import asyncio
import os
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path

import plain_http
from redis_session import RedisSession

ROOT = Path(__file__).resolve().parent.parent.parent.parent
START_SECONDS = 30
STOP_SECONDS = 15
POLL_SECONDS = 0.02
NODE_COUNT = 3
DRAIN_SECONDS = 3


class SoakError(Exception):
    """One line for the user."""


class Process:
    """A program that is started, perhaps several times; `run` counts how often."""

    def __init__(self, directory, name, command, environment):
        self.name = name
        self.run = 0
        self.log = directory / f"{name}.log"
        self._command, self._environment = command, environment
        self._popen = None
        self._should_run = False
        self.log.unlink(missing_ok=True)

    @property
    def pid(self):
        return self._popen.pid

    def start(self):
        """The kernel ends it if this script is killed; Ctrl-C does not reach it."""
        with open(self.log, "ab") as log:
            self._popen = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", *map(str, self._command)],
                env={**os.environ, **self._environment}, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True)
        self.run += 1
        self._should_run = True

    def signal(self, number):
        """A signal after which it may end."""
        if number not in (signal.SIGSTOP, signal.SIGCONT):
            self._should_run = False
        if self._popen is not None and self._popen.poll() is None:
            self._popen.send_signal(number)

    def expect_end(self):
        self._should_run = False

    async def ended(self, seconds=STOP_SECONDS):
        """Its exit code."""
        deadline = time.monotonic() + seconds
        while self._popen.poll() is None:
            if time.monotonic() >= deadline:
                raise SoakError(f"{self.name} did not end within {seconds} s (its log: {self.log})")
            await asyncio.sleep(POLL_SECONDS)
        return self._popen.returncode

    def check(self):
        if self._should_run and self._popen.poll() is not None:
            lines = self.log.read_text(errors="replace").splitlines()[-3:]
            raise SoakError(f"{self.name} ended with {self._popen.returncode}: {' / '.join(lines)} "
                            f"(its log: {self.log})")

    def stop(self):
        """Ends it for good, also when it was stopped; returns whether it had to be killed."""
        self._should_run = False
        if self._popen is None or self._popen.poll() is not None:
            return False
        for number in (signal.SIGCONT, signal.SIGTERM):
            self._popen.send_signal(number)
        try:
            self._popen.wait(STOP_SECONDS)
            return False
        except subprocess.TimeoutExpired:
            os.killpg(self._popen.pid, signal.SIGKILL)
            self._popen.wait()
            return True


def free_ports(count):
    tool = ROOT / "scripts/lib/free_ports.py"
    command = [sys.executable, tool, str(count)]
    return [int(line) for line in subprocess.run(
        command, check=True, capture_output=True, text=True).stdout.split()]


class Installation:
    """All processes, their ports, and sessions to Redis as the users of deploy/redis.conf."""

    def __init__(self, directory, binaries):
        self.directory, self.binaries = directory, binaries
        help_text = subprocess.run(
            [binaries / "gateway", "--help"], check=True, capture_output=True, text=True).stdout
        self.declares_gaps = "--gap-notice" in help_text
        self.port, self.redis_port, *ports = free_ports(2 + 2 * NODE_COUNT)
        self._ports, self.admin_ports = ports[:NODE_COUNT], ports[NODE_COUNT:]
        users = ("GATEWAY", "PUBLISHER", "OPERATOR")
        self._passwords = {f"ROOMCAST_{user}_PASSWORD": secrets.token_hex(24) for user in users}
        self.redis = Process(directory, "redis", [
            ROOT / "deploy/redis-start", directory, "--port", self.redis_port, "--dir", directory,
        ], self._passwords)
        self.nodes = [self._node(number) for number in range(1, NODE_COUNT + 1)]
        gateways = " ".join(f"127.0.0.1:{port}" for port in self._ports)
        self.nginx = Process(directory, "nginx", [ROOT / "deploy/nginx-start", directory], {
            "NGINX_LISTEN": f"127.0.0.1:{self.port}", "NGINX_GATEWAYS": gateways})

    def _node(self, number):
        # Rooms are left soon, so that leaving and joining again happens often; queues are short, so that slow
        # clients are cut while they are looked at.
        options = ["--workers", "2", "--unsubscribe-grace", "2s", "--maximum-queue-bytes", "256KiB"]
        if self.declares_gaps:
            options += ["--gap-notice", "on"]
        return Process(self.directory, f"node-{number}", [self.binaries / "gateway", *options], {
            "GATEWAY_LISTEN": f"127.0.0.1:{self._ports[number - 1]}",
            "GATEWAY_ADMIN_LISTEN": f"127.0.0.1:{self.admin_ports[number - 1]}",
            "GATEWAY_REDIS": f"redis://gateway@127.0.0.1:{self.redis_port}",
            "GATEWAY_REDIS_PASSWORD": self.password("gateway"), "GATEWAY_NODE_ID": f"node-{number}",
            "GATEWAY_TRUSTED_PROXIES": "127.0.0.1/32", "GATEWAY_DRAIN_TIME": f"{DRAIN_SECONDS}s"})

    def password(self, user):
        return self._passwords[f"ROOMCAST_{user.upper()}_PASSWORD"]

    def session(self, user):
        return RedisSession(self.redis_port, user, self.password(user))

    @property
    def processes(self):
        return [self.redis, *self.nodes, self.nginx]

    async def start(self):
        self.redis.start()
        await self.redis_answers()
        for node in self.nodes:
            node.start()
        for node in self.nodes:
            await self.node_is_ready(node)
        self.nginx.start()
        await self.nginx_answers()

    async def _wait(self, process, is_ready):
        deadline = time.monotonic() + START_SECONDS
        while not await is_ready():
            process.check()
            if time.monotonic() >= deadline:
                raise SoakError(f"{process.name} was not ready within {START_SECONDS} s (its log: {process.log})")
            await asyncio.sleep(POLL_SECONDS)

    async def redis_answers(self):
        async def is_ready():
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.redis_port)
            except OSError:
                return False
            writer.close()
            return True
        await self._wait(self.redis, is_ready)

    async def node_is_ready(self, node):
        port = self.admin_ports[self.nodes.index(node)]
        await self._wait(node, lambda: self._answers(port, "/readyz", 200))

    async def nginx_answers(self):
        # A path that only a gateway knows to be unknown.
        await self._wait(self.nginx, lambda: self._answers(self.port, "/", 404))

    async def _answers(self, port, path, wanted):
        try:
            status, _ = await plain_http.get(port, path)
        except (OSError, EOFError):
            return False
        return status == wanted

    def signal_nginx(self, number):
        """To nginx itself: nginx-start would let tunnels end first."""
        if number != signal.SIGHUP:
            self.nginx.expect_end()
        os.kill(int((self.directory / "nginx.pid").read_text()), number)

    def check(self):
        for process in self.processes:
            process.check()

    def stop(self):
        """Ends all, nginx first: nobody is left to be drained. Returns who had to be killed."""
        if (self.directory / "nginx.pid").exists() and self.nginx.run > 0:
            self.nginx.expect_end()
            try:
                self.signal_nginx(signal.SIGTERM)
            except (ProcessLookupError, ValueError):
                pass
        return [process.name for process in reversed(self.processes) if process.stop()]
