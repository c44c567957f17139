"""What was measured on: everything that a reader needs to judge the figures."""

import os
import pathlib
import platform
import re
import subprocess

from processes import REDIS_SERVER


def describe():
    return {
        "processor": _processor(), "cores": os.cpu_count(),
        "memoryGiB": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30,
        "system": _distribution(), "kernel": platform.release(),
        "swift": _version(["swift", "--version"], r"Swift version (\S+)"),
        "redis": _version([REDIS_SERVER, "--version"], r"v=(\S+)"),
        "nginx": _version(["nginx", "-v"], r"nginx/(\S+)"),
        "nchan": _version(["dpkg-query", "-W", "-f", "${Version}", "libnginx-mod-nchan"], r"(?:\d+:)?(\S+)"),
        "compiler": _version(["cc", "--version"], r"(.+)"),
        "version": _version([os.environ["BENCH_BINARIES"] + "/gateway", "--version"], r"(\d\S+)"),
    }


def _version(command, pattern):
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    except OSError:
        return "?"
    match = re.search(pattern, done.stdout + done.stderr)
    return match[1] if match and done.returncode == 0 else "?"


def _processor():
    match = re.search(r"model name\s*:\s*(.+)", pathlib.Path("/proc/cpuinfo").read_text())
    return match[1] if match else platform.machine()


def _distribution():
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.system()
