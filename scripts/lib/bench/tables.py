"""The tables of docs/PERFORMANCE.md, and the lines for the terminal."""

import statistics

import own
import summary
from servers import NAMES, TITLES

OWN = ["memory", "requests", "start", "idle", "rooms", "workers", "held"]
# What a change by more than this must be told, of the figures of a node with many rooms.
TOLD_CHANGE = 0.10


def table(heads, rows):
    """A Markdown table and an empty line."""
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows] + [""]


def comparison(servers):
    """One row of the load table: a line for each server."""
    heads = ["", "CPU s a million (spread)", "user + system", "p50 ms", "p99 ms", "deliveries/s", "memory a connection",
             "CPU a handshake"]
    floor = summary.floor_of(servers)
    lines, notes = [], []
    for name in [name for name in NAMES if name in servers]:
        values = servers[name]

        def cell(figure, digits, unit="", values=values, name=name):
            text = summary.number(values[figure], digits) + unit
            share = summary.ratio(servers, name, figure)
            return text if share is None or name == floor else f"{text} ({share:.2f}×)"

        spread = "" if values["spread"] is None else f" ±{50 * values['spread']:.0f} %"
        lines.append([
            TITLES[name] + (" *" if name == floor else ""), cell("total", 2) + spread,
            f"{summary.number(values['user'], 2)} + {summary.number(values['system'], 2)}", cell("p50", 2),
            cell("p99", 2), cell("rate", 0), cell("rss", 0, " B"), cell("handshake", 0, " µs")])
        notes += [f"- {TITLES[name]}: {problem}" for problem in values["problems"]]
    return table(heads, lines) + (["Not in order in at least one run:", "", *notes, ""] if notes else [])


def own_sections(results):
    """The sections of the gateway alone."""
    return [*_memory(results["memory"]), *_service(results), *_rooms(results["rooms"]),
            *_workers(results["workers"], results["machine"]["cores"]), *_held(results["held"])]


def own_text(results):
    """The figures of the gateway alone, a line each, for whatever was measured."""
    lines = []
    for point in results.get("memory", []):
        lines.append(f"memory     {point['server']}, {point['clients']:,} clients: "
                     f"{point['perConnection']:,.0f} B a connection")
    for name, cost in results.get("requests", {}).items():
        lines.append(f"request    {name}: {_cost(cost)}")
    if "start" in results:
        lines.append(f"start      {statistics.median(results['start']):.0f} ms to ready")
    if "idle" in results:
        lines.append(f"idle       {_idle(results['idle'])}")
    for rooms, held in _sustained(results.get("rooms", [])).items():
        lines.append(f"rooms      {rooms:,}: {held['offered'] if held else 0:,.0f} deliveries/s held")
    for workers, rate in _worker_rates(results.get("workers", [])).items():
        lines.append(f"workers    {workers}: {rate:,.0f} deliveries/s")
    for row, title, without, many in _held_figures(results.get("held", [])):
        lines.append(f"held       row {row}, {title}: {_change(without, many)}")
    for name in ["memory", "idle", "workers", "held"]:
        found = results.get(name, [])
        for result in found if isinstance(found, list) else [found]:
            lines += [f"  ! {name}: {problem}" for problem in result["problems"]]
    return lines


def _cost(cost):
    total = cost["userMicroseconds"] + cost["systemMicroseconds"]
    return f"{total:.1f} µs (user {cost['userMicroseconds']:.1f}, system {cost['systemMicroseconds']:.1f})"


def _idle(idle):
    total = idle["userPercent"] + idle["systemPercent"]
    return (f"{idle['clients']:,} clients: {total:.1f} % of a core (user {idle['userPercent']:.1f}, system "
            f"{idle['systemPercent']:.1f}) over {idle['seconds']:.0f} s with {idle['heartbeats']:,} heartbeats")


def _memory(points):
    counts = sorted({point["clients"] for point in points})
    names = [name for name in NAMES if any(point["server"] == name for point in points)]
    rows = []
    for name in names:
        found = {point["clients"]: point for point in points if point["server"] == name}
        rows.append([TITLES[name], f"{statistics.median(p['before'] for p in found.values()) / 2**20:.1f} MiB",
                     *[f"{found[count]['perConnection']:,.0f} B" for count in counts]])
    return [
        "## Memory", "",
        "Resident memory at rest, 2 s after the last handshake, less that of the fresh process, for each connection. "
        "The kernel's memory for a socket is not in it; it is the same for all.", "",
        *table(["", "fresh", *[f"{count:,} clients" for count in counts]], rows),
        "![Memory](performance/memory.svg)", ""]


def _service(results):
    requests = results["requests"]
    connections = next(iter(requests.values()))["connections"]
    starts = results["start"]
    rows = [[f"`{name}`, CPU a request", _cost(cost)] for name, cost in requests.items()]
    rows.append(["start to ready", f"{statistics.median(starts):.0f} ms (median of {len(starts)}, "
                 f"{min(starts):.0f} to {max(starts):.0f})"])
    rows.append(["idle connections with a heartbeat every 25 s", _idle(results["idle"])])
    return [
        "## Requests, start, idle", "",
        f"Requests: {own.REQUESTS:,} over {connections} keep-alive connections without pipelining, each one with its "
        "round trip to Redis; the gateway's own CPU time. Ready: from exec to the first 200 of `/readyz`.", "",
        *table(["", ""], rows)]


def _sustained(steps):
    """For each number of rooms the step that was held, also for longer, or None."""
    best = {}
    for step in steps:
        best.setdefault(step["rooms"], None)
        if step.get("isConfirmed"):
            best[step["rooms"]] = step
    return best


def _rooms(steps):
    rows = []
    for rooms, held in _sustained(steps).items():
        missed = [step for step in steps if step["rooms"] == rooms and step["limit"]]
        first = min(missed, key=lambda step: step["offered"])
        rows.append([f"{rooms:,}"] + (
            [f"{held['messagesPerSecond']:,}", f"{held['offered']:,.0f}", f"{held['p50']:.1f}", f"{held['p99']:.1f}",
             f"{held['total']:.2f}"] if held else ["–"] * 5) + [f"{first['offered']:,.0f} ({first['limit']})"])
    return [
        "## Throughput against rooms", "",
        "10,000 clients, 128 B, one worker. The rate rises fourfold until it is not held, the distance is halved twice, and "
        f"the result must hold for {own.CONFIRMING_SECONDS} s. A rate that is a tenth too high is found out by its "
        f"latency in that time. Not held: p99 over {own.SATURATION_LATENCY_MS / 1000:g} s (latency), less than {own.SATURATION_SHARE:.0%} of the "
        "deliveries (arrivals), losses, or the publisher itself sends less (publishing: then the limit is not the "
        "gateway's).", "",
        *table(["rooms", "messages/s held", "deliveries/s held", "p50 ms", "p99 ms", "CPU s a million",
                "deliveries/s not held"], rows),
        "![Throughput](performance/throughput.svg)", ""]


def _worker_rates(results):
    counts = sorted({result["workers"] for result in results})
    return {count: statistics.median(r["rate"] for r in results if r["workers"] == count) for count in counts}


def _workers(results, cores):
    def median(count, figure):
        return statistics.median(result[figure] for result in results if result["workers"] == count)

    rates = _worker_rates(results)
    rows = [[str(count), f"{rates[count]:,.0f} ({rates[count] / rates[1]:.2f}×)",
             *[f"{median(count, figure):.2f}" for figure in ["gatewayCores", "redisCores", "toolCores"]],
             f"{sum(median(count, figure) for figure in ['gatewayCores', 'redisCores', 'toolCores']):.2f}"]
            for count in rates]
    lines = [
        "## Two workers", "", "Row A. CPU in cores: CPU seconds of each process a second of the run.", "",
        *table(["workers", "deliveries/s", "gateway", "Redis", "load generator", "together"], rows)]
    if sum(median(1, figure) for figure in ["gatewayCores", "redisCores", "toolCores"]) > 0.85 * cores:
        lines += [
            f"One worker, Redis and the load generator already use nearly all of the {cores} cores of this machine: "
            "the second worker can only take its time from the load generator, so this says nothing about what it "
            "adds on a machine of its own.", ""]
    return lines


def _held_figures(results):
    """(row, figure, median without, median with held rooms) for what may move."""
    found = []
    for row in sorted({result["row"] for result in results}):
        for figure, title, _ in summary.COLUMNS:
            if figure in ("user", "system"):
                continue
            without, many = (own.median_of([
                result["figures"][figure] for result in results
                if result["row"] == row and bool(result["held"]) == is_held]) for is_held in (False, True))
            if without and many is not None:
                found.append((row, title, without, many))
    return found


def _change(without, many):
    return f"{without:,.4g} → {many:,.4g} ({100 * (many / without - 1):+.0f} %)"


def _held(results):
    moved = [f"{title} of row {row}" for row, title, without, many in _held_figures(results)
             if abs(many / without - 1) > TOLD_CHANGE]
    verdict = f"Moved by more than {TOLD_CHANGE:.0%}: {', '.join(moved)}." if moved else \
        f"Nothing moved by more than {TOLD_CHANGE:.0%}."
    return [
        "## 20,000 rooms on a node", "",
        "Rows A and C again, on a node that is subscribed to 20,000 rooms: other clients, in two rooms each, hold what "
        "the row does not have, and nothing is published there. Both nodes have a heartbeat timeout of 1 h, so that "
        "the idle clients add nothing but their rooms.", "",
        *table(["row", "figure", "row's rooms only → 20,000 rooms"],
               [[row, title, _change(without, many)] for row, title, without, many in _held_figures(results)]),
        verdict, ""]
