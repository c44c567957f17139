"""The servers that are compared, and the Redis in front of them. Each run gets a fresh server, so that no
run profits or suffers from memory that another left behind."""

import pathlib
import re
import resource
import socket
import subprocess

from free_ports import free_ports
from processes import REDIS_SERVER, ProcessError, children, http_status

NAMES = ["ours", "ours-plain", "floor-send", "floor-coalesce", "nchan"]
TITLES = {
    "ours": "Roomcast", "ours-plain": "Roomcast, io_uring off", "floor-send": "floor, send", "floor-coalesce": "floor, coalesce",
    "nchan": "nginx with nchan",
}


class Server:
    """A running server: `pids` to measure, `load_options` that tell the load generator how to reach it."""

    def __init__(self, name, process, pids, port, load_options):
        self.name, self.process, self.pids, self.port = name, process, pids, port
        self.load_options = load_options


class Bench:
    """What all measurements need: binaries, ports, background processes, Redis."""

    def __init__(self, root, binaries, floor, state, processes):
        self.root, self.binaries = pathlib.Path(root), pathlib.Path(binaries)
        self.floor, self.state, self.processes = pathlib.Path(floor), pathlib.Path(state), processes
        self.redis_port, self.port, self.admin_port = free_ports(3)
        self.redis = None

    @property
    def redis_url(self):
        return f"redis://127.0.0.1:{self.redis_port}"

    def start_redis(self):
        """A Redis that stores nothing, with the limits of deploy/redis.conf for subscribers."""
        self.redis = self.processes.start("redis", [
            REDIS_SERVER, "--port", self.redis_port, "--bind", "127.0.0.1", "--save", "",
            "--appendonly", "no", "--client-output-buffer-limit", "pubsub 64mb 16mb 10",
        ])
        self.processes.wait_until(self.redis, lambda: self.redis_command("PING") == "+PONG")

    def redis_command(self, command):
        """The first line of the answer; empty when there is none."""
        try:
            with socket.create_connection(("127.0.0.1", self.redis_port), 10) as client:
                client.sendall(f"{command}\r\n".encode())
                return client.recv(4096).decode().split("\r\n")[0]
        except OSError:
            return ""

    def start(self, name, workers=1, options=()):
        """Starts a server and waits until it is ready. `workers` and `options` are for the gateway only."""
        if self.redis_command("FLUSHALL") != "+OK":
            raise ProcessError("Redis does not answer")
        if name == "ours":
            return self._start_gateway(workers, options)
        if name == "ours-plain":
            return self._start_gateway(workers, ["--io-uring", "off", *options])
        if name == "nchan":
            return self._start_nchan()
        # Its variants: those of the table, and one that registers each upgrade.
        return self._start_floor(name)

    def stop(self, server):
        self.processes.stop(server.process)

    def start_gateway_process(self, workers=1, options=()):
        """The process alone, not yet ready."""
        return self.processes.start("gateway", [
            self.binaries / "gateway", "--listen", f"127.0.0.1:{self.port}",
            "--admin-listen", f"127.0.0.1:{self.admin_port}", "--redis", self.redis_url,
            "--workers", workers, "--drain-time", "0s", "--token-rate", 0, *options,
        ])

    def is_gateway_ready(self):
        return http_status(self.admin_port, "/readyz") == 200

    def _start_gateway(self, workers, options):
        process = self.start_gateway_process(workers, options)
        self.processes.wait_until(process, self.is_gateway_ready)
        return Server("ours", process, [process.pid], self.port, ["--redis", self.redis_url])

    def _start_floor(self, name):
        variant = name.removeprefix("floor-")
        process = self.processes.start(name, [self.floor, self.port, self.redis_port, variant])
        self.processes.wait_until(process, lambda: is_listening(self.port))
        return Server(name, process, [process.pid], self.port, [
            "--redis", self.redis_url, "--token", "none", "--path", "/sub/{room}"])

    def _start_nchan(self):
        state = self.state / "nchan"
        state.mkdir(parents=True, exist_ok=True)
        values = {
            "PORT": self.port, "STATE": state, "MODULES": nginx_modules_path(),
            "FILES": min(resource.getrlimit(resource.RLIMIT_NOFILE)[0], 65536),
        }
        text = (self.root / "Benchmarks/nchan.conf").read_text()
        configuration = state / "nginx.conf"
        configuration.write_text(re.sub(r"@([A-Z]+)@", lambda match: str(values[match[1]]), text))
        process = self.processes.start("nchan", ["nginx", "-p", state, "-c", configuration])
        self.processes.wait_until(process, lambda: is_listening(self.port) and children(process.pid))
        return Server("nchan", process, [process.pid, *children(process.pid)], self.port, [
            "--publish-url", f"http://127.0.0.1:{self.port}/pub/{{room}}",
            "--token", "none", "--path", "/sub/{room}"])


def is_listening(port):
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def nginx_modules_path():
    text = subprocess.run(["nginx", "-V"], capture_output=True, text=True, check=True).stderr
    match = re.search(r"--modules-path=(\S+)", text)
    return match[1] if match else "/usr/lib/nginx/modules"
