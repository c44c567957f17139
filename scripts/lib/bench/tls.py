"""What TLS to Redis costs: round trips, commands sent together, and notices of the publisher, over a plain connection,
by rediss://, and through stunnel, where that is installed. Beside the figures stands the CPU time of all processes."""

import json
import resource
import shutil
import subprocess
import time

from free_ports import free_ports
from processes import REDIS_SERVER, ROOT, ProcessError, cpu_seconds

TITLES = {"plain": "redis plain", "tls": "rediss", "stunnel": "redis through stunnel"}
# Commands of a trip.
SINGLE, TOGETHER = 1, 50
NOTICES = 200_000
PADDING_BYTES = 100


def tls(bench, say, runs, seconds):
    """Points of all ways, which take turns. A Redis of its own listens with TLS and without."""
    redis = SecuredRedis(bench)
    try:
        redis.start()
        file = bench.state / "notices"
        line = json.dumps({"room": "bench", "type": "notice", "data": "x" * PADDING_BYTES})
        file.write_text(f"{line}\n" * NOTICES)
        return [_point(bench, say, redis, way, run, seconds, file) for run in range(runs) for way in redis.ways]
    finally:
        redis.stop()


class SecuredRedis:
    """A redis-server, and a tunnel to it by deploy/stunnel.conf."""

    def __init__(self, bench):
        self._bench = bench
        self._plain, self._secured, self._accepted = free_ports(3)
        certificates = bench.state / "certificates"
        shutil.rmtree(certificates, ignore_errors=True)
        subprocess.run([ROOT / "deploy/redis-certificates", certificates, "127.0.0.1", "localhost"], check=True)
        self._certificates, self.authority = certificates, certificates / "ca.crt"
        self.redis = self.tunnel = None

    def start(self):
        self.redis = self._bench.processes.start("redis-tls", [
            REDIS_SERVER, "--port", self._plain, "--tls-port", self._secured, "--bind", "127.0.0.1", "--save", "",
            "--appendonly", "no", "--tls-auth-clients", "no", "--tls-ca-cert-file", self.authority,
            "--tls-cert-file", self._certificates / "redis.crt", "--tls-key-file", self._certificates / "redis.key"])
        self._wait(self.redis, "plain")
        program = shutil.which("stunnel")
        if program:
            self.tunnel = self._bench.processes.start("stunnel", [program, self._tunnel_configuration()])
            self._wait(self.tunnel, "stunnel")

    def _wait(self, process, way):
        self._bench.processes.wait_until(process, lambda: subprocess.run(
            ["redis-cli", "-u", self.url(way), "PING"], capture_output=True, check=False).stdout == b"PONG\n")

    def _tunnel_configuration(self):
        text = (ROOT / "deploy/stunnel.conf").read_text()
        for example, own in [
                ("127.0.0.1:6380", f"127.0.0.1:{self._accepted}"),
                ("connect = redis.example:6379", f"connect = 127.0.0.1:{self._secured}"),
                ("redis.example", "localhost"), ("/etc/ssl/certs/ca-certificates.crt", str(self.authority))]:
            text = text.replace(example, own)
        path = self._bench.state / "stunnel.conf"
        path.write_text(text)
        return path

    def stop(self):
        self._bench.processes.stop(*[process for process in (self.tunnel, self.redis) if process is not None])

    @property
    def ways(self):
        return [way for way in TITLES if way != "stunnel" or self.tunnel is not None]

    def url(self, way):
        return {"plain": f"redis://127.0.0.1:{self._plain}", "tls": f"rediss://127.0.0.1:{self._secured}",
                "stunnel": f"redis://127.0.0.1:{self._accepted}"}[way]

    def cpu(self, way):
        """CPU seconds of Redis, and of the tunnel where it is in between."""
        return sum(sum(cpu_seconds(process.pid)) for process in (self.redis, self.tunnel if way == "stunnel" else None)
                   if process is not None)


def _point(bench, say, redis, way, run, seconds, file):
    point = {"way": way, "run": run, "problems": []}
    for name, count in [("single", SINGLE), ("together", TOGETHER)]:
        command = [bench.binaries / "RedisTrips", seconds, count, redis.url(way)]
        if way == "tls":
            command.append(redis.authority)
        point[name] = _measured(redis, way, command, json.loads)
    command = [bench.binaries / "publisher", "--redis", redis.url(way), "--file", file, "--quiet"]
    if way == "tls":
        command += ["--redis-ca", redis.authority]
    point["publisher"] = _measured(redis, way, command, lambda _: {"commands": NOTICES})
    say(f"tls: {TITLES[way]}: PING {point['single']['p50Microseconds']:.1f} µs, "
        f"{rate(point['together']):,.0f} commands/s, {rate(point['publisher']):,.0f} notices/s")
    return point


def _measured(redis, way, command, read):
    """Runs a program; what it says of itself, its own CPU time and that of the others."""
    others, own, started = redis.cpu(way), _children_cpu(), time.monotonic()
    ended = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    seconds = time.monotonic() - started
    if ended.returncode != 0:
        raise ProcessError(f"{command[0].name} ended with {ended.returncode}: {ended.stdout}{ended.stderr}")
    own = _children_cpu() - own
    # The kernel counts the others in ticks of 10 ms.
    return {"seconds": seconds, "cpuSeconds": own, "otherCpuSeconds": redis.cpu(way) - others, **read(ended.stdout)}


def _children_cpu():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def rate(part):
    return part["commands"] / part["seconds"]
