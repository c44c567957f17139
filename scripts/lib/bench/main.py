"""The benchmark's order of events; scripts/bench builds everything and starts this."""

import argparse
import datetime
import json
import os
import pathlib
import shlex
import sys
import time

import deflate
import durable
import machine
import own
import redis_costs
import report
import summary
import terminal
import tls
from loads import ROWS, figures, measure
from processes import ProcessError, Processes, ignore_end_signals, raise_at_end_signals, use_all_descriptors
from servers import NAMES, Bench

OWN = ["memory", "requests", "handshakes", "start", "idle", "pong", "redis", "rooms", "workers", "held", "durable",
       "compression", "tls"]
QUICK_ROWS = ["A", "A1", "C"]
DESCRIPTORS = 20_000


def listed(allowed):
    def parse(text):
        names = text.split(",")
        unknown = [name for name in names if name not in allowed]
        if unknown:
            raise argparse.ArgumentTypeError(f"'{unknown[0]}' is not one of {','.join(allowed)}")
        return [name for name in allowed if name in names]
    return parse


def positive(text):
    if not text.isdigit() or not 1 <= int(text) <= 99:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number from 1 to 99")
    return int(text)


def read_options():
    parser = argparse.ArgumentParser(
        prog="scripts/bench", description="Measures the gateway against the floor and nginx with nchan.")
    parser.add_argument("--quick", action="store_true",
                        help="rows A, A1 and C of the gateway and the floor, once and short")
    parser.add_argument("--runs", type=positive, help="runs of each row, the table has their medians (3)")
    parser.add_argument("--seconds", type=positive, help="length of a run (5)")
    parser.add_argument("--rows", type=listed([*ROWS, *OWN]), metavar="LIST",
                        help=f"of {','.join([*ROWS, *OWN])} (all)")
    parser.add_argument("--servers", type=listed(NAMES), metavar="LIST", help=f"of {','.join(NAMES)} (all)")
    parser.add_argument("--no-docs", action="store_true", help="do not write docs/PERFORMANCE.md")
    options = parser.parse_args()
    options.is_whole = not (options.quick or options.rows or options.servers)
    options.runs = options.runs or (1 if options.quick else 3)
    options.rows = options.rows or (QUICK_ROWS if options.quick else [*ROWS, *OWN])
    options.servers = options.servers or (["ours", "floor-send", "floor-coalesce"] if options.quick else NAMES)
    options.seconds = options.seconds or (2 if options.quick else 5)
    return options


def say(text):
    print(f"    {text}", flush=True)


def compare(bench, options, runs):
    """All runs of the table: the servers take turns within a row, so that drift hits all alike."""
    for row in [row for row in options.rows if row in ROWS]:
        print(f"==> Row {row}: {ROWS[row].title}", flush=True)
        for run in range(options.runs):
            for name in options.servers:
                load = measure(bench, name, [
                    *ROWS[row].options, "--warmup", "1s", "--duration", f"{options.seconds}s"])
                values = figures(load)
                say(f"{name}: {summary.number(values['total'], 3)} s CPU a million deliveries, "
                    f"p99 {values['p99']:.1f} ms" + "".join(f"; {problem}" for problem in load["problems"]))
                runs.append({
                    "row": row, "server": name, "run": run, "figures": values,
                    "problems": load["problems"], "report": load})


def measure_own(bench, options, results):
    """The gateway alone. Memory is measured of the other servers too."""
    if any(row in OWN for row in options.rows):
        print("==> The gateway alone", flush=True)
    clients = 10_000 if options.quick else 15_000
    names = [name for name in ["ours", "floor-send", "nchan"] if name in options.servers]
    steps = {
        "memory": lambda: own.memory(bench, say, names, sorted({1000, 5000, 10_000, clients})),
        "requests": lambda: own.requests(bench, say),
        "handshakes": lambda: own.handshakes(bench, say, options.runs),
        "start": lambda: own.start_times(bench, say),
        "idle": lambda: own.idle(
            bench, say, clients, own.QUICK_IDLE_SECONDS if options.quick else own.IDLE_SECONDS),
        "pong": lambda: own.idle(
            bench, say, clients, own.QUICK_IDLE_SECONDS if options.quick else own.IDLE_SECONDS, "pong"),
        "redis": lambda: redis_costs.redis_costs(bench, say),
        "rooms": lambda: own.throughput(bench, say),
        "workers": lambda: own.two_workers(bench, say, options.runs, options.seconds),
        "held": lambda: own.held_rooms(bench, say, options.runs, options.seconds),
        "durable": lambda: durable.durable(bench, say, options.runs, options.seconds),
        "compression": lambda: deflate.compression(bench, say, options.runs, options.seconds),
        "tls": lambda: tls.tls(bench, say, options.runs, options.seconds),
    }
    for name, step in steps.items():
        if name in options.rows:
            results[name] = step()


def write_raw(root, results):
    path = root / ".run/bench" / f"{results['started'].replace(':', '')}.json"
    path.write_text(json.dumps(results, indent=1))
    return path


def main():
    options = read_options()
    root = pathlib.Path(os.environ["BENCH_ROOT"])
    state = root / ".run/bench"
    started = time.monotonic()
    raise_at_end_signals()
    processes = Processes(state / "log")
    results = {"runs": []}
    try:
        use_all_descriptors(DESCRIPTORS)
        bench = Bench(root, os.environ["BENCH_BINARIES"], os.environ["BENCH_FLOOR"], state, processes)
        results.update({
            "started": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            "command": shlex.join(["scripts/bench", *sys.argv[1:]]), "machine": machine.describe(),
            "runCount": options.runs, "rowSeconds": options.seconds,
        })
        bench.start_redis()
        compare(bench, options, results["runs"])
        measure_own(bench, options, results)
        results["seconds"] = time.monotonic() - started
    except ProcessError as error:
        sys.exit(f"scripts/bench: {error}")
    finally:
        ignore_end_signals()
        processes.stop_all()
        # Also of a run that was ended: what took long to measure is not lost.
        if results["runs"] or any(name in results for name in OWN):
            print(f"\nRaw results: {write_raw(root, results).relative_to(root)}")
    lines = ["", *terminal.comparison(summary.medians(results["runs"])), *terminal.own(results)]
    print("\n".join(lines))
    if options.is_whole and not options.no_docs:
        report.write(results, root)
        print("Written: docs/PERFORMANCE.md, docs/performance/*.svg")


if __name__ == "__main__":
    main()
