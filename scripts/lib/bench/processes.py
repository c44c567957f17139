"""The processes of a benchmark: started in their own process groups, so that Ctrl-C reaches only the script,
and ended by it. If the script is killed, the kernel ends them."""

import os
import pathlib
import resource
import signal
import socket
import subprocess
import sys
import time

STOP_SECONDS = 15
READY_SECONDS = 20


class BenchError(Exception):
    """The benchmark cannot go on; the text says why."""


def use_all_descriptors(needed):
    """Raises the soft limit, which all children inherit, to the hard one."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise BenchError(f"the descriptor limit is {hard}, {needed} are needed: raise it with ulimit -Hn")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


class Processes:
    """All that runs in the background. `directory` gets one log for each name."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.running = []

    def start(self, name, command, stdout=None):
        """Starts `command`; its output goes to NAME.log unless `stdout` says otherwise."""
        with open(self.directory / f"{name}.log", "wb") as log:
            process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", *map(str, command)],
                stdin=subprocess.DEVNULL, stdout=stdout or log, stderr=log, start_new_session=True)
        process.name = name
        self.running.append(process)
        return process

    def log_end(self, name):
        """The last lines that `name` wrote, for an error's text."""
        lines = (self.directory / f"{name}.log").read_text(errors="replace").splitlines()
        return "\n".join(lines[-8:])

    def wait_until(self, process, condition, interval=0.02):
        """Asks `condition` again and again while `process` runs."""
        deadline = time.monotonic() + READY_SECONDS
        while not condition():
            if process.poll() is not None:
                end = self.log_end(process.name)
                raise BenchError(f"{process.name} ended with {process.returncode}:\n{end}")
            if time.monotonic() > deadline:
                raise BenchError(f"{process.name} was not ready within {READY_SECONDS} s")
            time.sleep(interval)

    def stop(self, process):
        """Ends the process and all of its group."""
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                print(f"{process.name} had to be killed", file=sys.stderr)
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()
        self.running.remove(process)

    def stop_all(self):
        """Ends everything, last started first."""
        for process in reversed(list(self.running)):
            self.stop(process)


def is_listening(port):
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def http_status(port, path):
    """The status code of a GET, 0 when there is no answer."""
    try:
        with socket.create_connection(("127.0.0.1", port), 2) as client:
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
            words = client.recv(4096).split(b" ", 2)
            return int(words[1]) if len(words) == 3 else 0
    except OSError:
        return 0


def cpu_seconds(pid):
    """User and system time of a process since its start."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks = os.sysconf("SC_CLK_TCK")
    return int(fields[11]) / ticks, int(fields[12]) / ticks
