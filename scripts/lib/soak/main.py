"""Runs Roomcast for minutes while faults happen, and accounts for every notice. Started by scripts/soak."""

import argparse
import asyncio
import json
import logging
import random
import subprocess
import sys
from pathlib import Path

import report
from cluster_faults import ClusterFaults
from faults import Faults
from processes import END_SIGNALS, ProcessError, ignore_end_signals, only_run


def read_options():
    parser = argparse.ArgumentParser(
        prog="scripts/soak", allow_abbrev=False,
        description="Starts Redis (or a Redis Cluster), three gateways and nginx; keeps clients connected, some of which come and go or read "
        "too slowly; publishes numbered notices; causes a fault every few seconds; and accounts for every notice of "
        "every connection. Everything stays on loopback, and the script stops all of it at the end.",
        epilog="Exit: 0 notices were lost only in declared gaps and with connections that ended (with --durable: only "
        "where a loss was told that a fault explains), none came twice, out of order or to the wrong client, and no "
        "node has grown; 1 otherwise; 2 wrong usage.")
    parser.add_argument(
        "minutes", metavar="MINUTES", nargs="?", type=float, default=30, help="length of the run (default 30)")
    parser.add_argument(
        "--seed", metavar="N", type=int, help="repeat the faults and clients' behaviour of the run with this seed")
    parser.add_argument(
        "--durable", action="store_true",
        help="publish durably to clients that resume, let Redis lose data as well, and account for every notice over "
        "all connections of a client")
    parser.add_argument(
        "--tls", action="store_true", help="a Redis with TLS alone: gateways, publisher and soak connect by rediss://")
    parser.add_argument(
        "--cluster", action="store_true",
        help="a Redis Cluster of three masters, each with a replica: masters die, freeze, change places and leave, and "
        "slots move")
    parser.add_argument("--clients", metavar="N", type=int, default=600, help="clients (default 600)")
    parser.add_argument(
        "--faults", metavar="LIST", help="only these kinds, separated by commas: "
        + ", ".join(Faults.names) + "; with --durable also: " + ", ".join(Faults.durable_names)
        + "; with --cluster: " + ", ".join(ClusterFaults.names) + "; with both also: "
        + ", ".join(ClusterFaults.durable_names))
    parser.add_argument("--json", metavar="PATH", type=Path, help="write the result to a file as well")
    parser.add_argument("--binaries", type=Path, required=True, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not 0.5 <= options.minutes <= 10_080:
        parser.error("MINUTES: expected 0.5 to 10080")
    if not 50 <= options.clients <= 5000:
        parser.error("--clients: expected 50 to 5000")
    if options.cluster and options.tls:
        parser.error("--tls: not together with --cluster")
    kinds = ClusterFaults if options.cluster else Faults
    names = [*kinds.names, *(kinds.durable_names if options.durable else ())]
    options.kinds = options.faults.split(",") if options.faults else names
    if not set(options.kinds) <= set(names):
        parser.error(f"--faults: expected some of {', '.join(names)}")
    if options.seed is None:
        options.seed = random.SystemRandom().randrange(1 << 32)
    return options


async def run(options, directory):
    # Here, so that --help needs no package.
    from installation import Installation
    from soak import Soak
    installation = Installation(directory, options.binaries.resolve(), options.durable, options.tls, options.cluster)
    task = asyncio.current_task()
    loop = asyncio.get_running_loop()
    for number in END_SIGNALS:
        loop.add_signal_handler(number, task.cancel)
    try:
        return await Soak(options, installation).run()
    except asyncio.CancelledError:
        raise ProcessError("interrupted") from None
    finally:
        for number in END_SIGNALS:
            loop.remove_signal_handler(number)
        ignore_end_signals()
        print("==> Stopping", file=sys.stderr)
        killed = installation.stop()
        if killed:
            print(f"scripts/soak: had to be killed in the end: {', '.join(killed)}", file=sys.stderr)


def main():
    options = read_options()
    with only_run("soak") as directory:
        # It warns of each write into a connection that a fault has just ended.
        logging.getLogger("asyncio").setLevel(logging.ERROR)
        result = asyncio.run(run(options, directory))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    print(report.table(result))
    for example in [*result["examples"], *result.get("durable", {}).get("examples", [])]:
        if not example["class"].startswith("lost") or example["class"] == "lostOutside":
            print(f"{example['class']}: {json.dumps(example)}", file=sys.stderr)
    return 1 if result["problems"] else 0


try:
    sys.exit(main())
except (ProcessError, OSError, subprocess.SubprocessError) as error:
    sys.exit(f"scripts/soak: {error}")
