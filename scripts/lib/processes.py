"""The processes of a script or a test: each leads a session of its own, so that Ctrl-C reaches only the script,
which ends them; the kernel ends them if the script is killed. They can be started again."""

import asyncio
import ctypes
import fcntl
import os
import re
import resource
import secrets
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
START_SECONDS = 30
STOP_SECONDS = 15
POLL_SECONDS = 0.02
END_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PR_SET_PDEATHSIG = 1
# What the tests and measurements start; deploy/redis-start obeys the same variable.
REDIS_SERVER = os.environ.get("ROOMCAST_REDIS_SERVER") or "redis-server"
libc = ctypes.CDLL(None)
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class ProcessError(Exception):
    """One line for the user."""


def die_with_parent(number=signal.SIGTERM):
    """Run in a child between fork and exec."""
    libc.prctl(PR_SET_PDEATHSIG, number)


def clean_environment(extra):
    """The caller's environment without the variables that the programs read."""
    kept = {name: value for name, value in os.environ.items()
            if not name.startswith(("GATEWAY_", "LOADTEST_", "PUBLISHER_", "REDIS_"))}
    return kept | extra


class Process:
    """A program that is started, perhaps several times; `run` counts how often."""

    def __init__(self, name, command, environment, log):
        self.name, self.log, self.run = name, log, 0
        self._command, self._environment = list(map(str, command)), environment
        self._popen = None
        # Whether its end is a fault.
        self.should_run = False
        log.unlink(missing_ok=True)

    @property
    def pid(self):
        return self._popen.pid

    @property
    def exit_code(self):
        """None while it runs."""
        return self._popen.poll()

    @property
    def stdout(self):
        return self._popen.stdout

    def start(self, stdout=None):
        with open(self.log, "ab") as log:
            self._popen = subprocess.Popen(
                self._command, env=clean_environment(self._environment), stdin=subprocess.DEVNULL,
                stdout=stdout or log, stderr=log, start_new_session=True, preexec_fn=die_with_parent)
        self.run += 1
        self.should_run = True
        return self

    def signal(self, number):
        """Sends a signal; unless it only stops or continues, the process may end then."""
        if number not in (signal.SIGSTOP, signal.SIGCONT):
            self.should_run = False
        if self._popen is not None and self._popen.poll() is None:
            self._popen.send_signal(number)

    def wait(self, seconds=STOP_SECONDS):
        """Waits for the end; the exit code."""
        try:
            return self._popen.wait(seconds)
        except subprocess.TimeoutExpired:
            raise ProcessError(f"{self.name} did not end within {seconds} s (its log: {self.log})") from None

    async def ended(self, seconds=STOP_SECONDS):
        """As `wait`, while other tasks go on."""
        deadline = time.monotonic() + seconds
        while self.exit_code is None and time.monotonic() < deadline:
            await asyncio.sleep(POLL_SECONDS)
        return self.wait(0)

    def log_end(self):
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-8:])

    def check(self):
        """Raises when it has ended by itself."""
        if self.should_run and self.exit_code is not None:
            raise ProcessError(f"{self.name} ended with {self.exit_code} (its log: {self.log}):\n{self.log_end()}")

    def kill_rest(self):
        """Kills it and whatever it has started; whether it was still there itself."""
        if self._popen is None:
            return False
        was_running = self.exit_code is None
        self.should_run = False
        try:
            os.killpg(self._popen.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._popen.wait()
        return was_running


class Processes:
    """All that runs in the background; each has its output in DIRECTORY/NAME.log."""

    def __init__(self, directory):
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.all = []

    def add(self, name, command, environment=None):
        """A process that is not started yet."""
        process = Process(name, command, environment or {}, self.directory / f"{name}.log")
        self.all.append(process)
        return process

    def start(self, name, command, environment=None, stdout=None):
        return self.add(name, command, environment).start(stdout)

    def check(self):
        for process in self.all:
            process.check()

    def wait_until(self, process, is_ready, interval=POLL_SECONDS):
        """Asks again and again while everything runs."""
        deadline = time.monotonic() + START_SECONDS
        while not is_ready():
            self.check()
            if time.monotonic() >= deadline:
                raise ProcessError(f"{process.name} was not ready within {START_SECONDS} s (its log: {process.log})")
            time.sleep(interval)

    def stop(self, *processes):
        """Ends these and their groups, all at once; the names of those that had to be killed."""
        for process in processes:
            for number in (signal.SIGTERM, signal.SIGCONT):
                process.signal(number)
        deadline = time.monotonic() + STOP_SECONDS
        killed = []
        for process in processes:
            while process.run and process.exit_code is None and time.monotonic() < deadline:
                time.sleep(POLL_SECONDS)
            if process.kill_rest():
                killed.append(process.name)
            self.all.remove(process)
        return killed

    def stop_all(self):
        """Ends everything, the last one first and those of one kind (NAME-1, NAME-2 …) together."""
        kinds = {}
        for process in reversed(self.all):
            kinds.setdefault(re.sub(r"-\d+$", "", process.name), []).append(process)
        return [name for group in kinds.values() for name in self.stop(*group)]


def use_all_descriptors(needed):
    """Raises the soft limit, which all children inherit, to the hard one."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise ProcessError(f"the descriptor limit is {hard}, {needed} are needed: raise it with ulimit -Hn")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@contextmanager
def only_run(script):
    """The directory .run/SCRIPT, for one run of the script at a time."""
    directory = ROOT / ".run" / script
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o700)
    with open(directory / "lock", "w", encoding="ascii") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ProcessError(f"another scripts/{script} is running here") from None
        yield directory


def ignore_end_signals():
    """What ends the processes is not to be interrupted itself."""
    for number in END_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def raise_at_end_signals():
    """The first of them raises an error wherever the script is."""
    def interrupt(number, _):
        ignore_end_signals()
        raise ProcessError(f"interrupted by {signal.Signals(number).name}")
    for number in END_SIGNALS:
        signal.signal(number, interrupt)


def http_status(port, path):
    """The status of GET PATH on this machine, 0 when there is no answer."""
    try:
        with opener.open(f"http://127.0.0.1:{port}{path}", timeout=3) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except (OSError, ValueError):
        return 0


def fresh_passwords(*users):
    """The variables of deploy/redis-start, with passwords that nobody knows."""
    return {f"ROOMCAST_{user.upper()}_PASSWORD": secrets.token_hex(24) for user in users}


class DeployedRedis:
    """A redis-server as deployments start it, with the users of deploy/redis.conf; if `is_secured`, it listens with TLS
    alone, with certificates that are made anew. `options` are more options of redis-server."""

    def __init__(self, processes, port, is_secured=False, name="redis", passwords=None, options=()):
        self.port = port
        self._passwords = passwords or fresh_passwords("gateway", "publisher", "operator")
        # Each of several servers has a directory of its own.
        directory = processes.directory if name == "redis" else processes.directory / name
        directory.mkdir(mode=0o700, exist_ok=True)
        self._files = directory / "appendonlydir"
        # Those of an earlier run.
        shutil.rmtree(self._files, ignore_errors=True)
        (directory / "nodes.conf").unlink(missing_ok=True)
        # The file of the certificates' authority, if there is one.
        self.scheme, self.authority = "redis", None
        listening = ["--port", port]
        if is_secured:
            certificates = directory / "certificates"
            shutil.rmtree(certificates, ignore_errors=True)
            subprocess.run([ROOT / "deploy/redis-certificates", certificates, "127.0.0.1"], check=True)
            self.scheme, self.authority = "rediss", certificates / "ca.crt"
            listening = [
                "--port", 0, "--tls-port", port, "--tls-auth-clients", "no", "--tls-ca-cert-file", self.authority,
                "--tls-cert-file", certificates / "redis.crt", "--tls-key-file", certificates / "redis.key"]
        self.process = processes.add(
            name, [ROOT / "deploy/redis-start", directory, *listening, "--dir", directory, *options], self._passwords)

    @property
    def servers(self):
        return [self]

    async def form(self):
        """Makes the servers into what they are together: nothing, for a single one."""

    def password(self, user):
        return self._passwords[f"ROOMCAST_{user.upper()}_PASSWORD"]

    def url(self, user):
        return f"{self.scheme}://{user}:{self.password(user)}@127.0.0.1:{self.port}"

    def environment(self, program, user):
        """The variables with which a program connects as this user."""
        authority = {f"{program}_REDIS_CA": str(self.authority)} if self.authority else {}
        return {
            f"{program}_REDIS": f"{self.scheme}://{user}@127.0.0.1:{self.port}",
            f"{program}_REDIS_PASSWORD": self.password(user), **authority}

    def append_only_file(self):
        """The file that Redis appends to."""
        return max(self._files.glob("*.incr.aof"), key=lambda path: int(path.name.split(".")[-3]))

    def is_ready(self):
        ping = subprocess.run(
            ["redis-cli", "-u", f"{self.scheme}://127.0.0.1:{self.port}", "--user", "operator",
             *(["--cacert", self.authority] if self.authority else []), "ping"], capture_output=True, check=False,
            env={**os.environ, "REDISCLI_AUTH": self.password("operator")})
        return ping.stdout.strip() == b"PONG"


def cpu_seconds(pid):
    """User and system time of a process since its start."""
    # The name, in parentheses, may hold blanks.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks = os.sysconf("SC_CLK_TCK")
    return int(fields[11]) / ticks, int(fields[12]) / ticks


def children(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
