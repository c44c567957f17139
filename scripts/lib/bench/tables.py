"""The tables of docs/PERFORMANCE.md as Markdown; each ends with an end of line."""

import statistics

import summary
from servers import NAMES, TITLES
from tls import TITLES as TLS_TITLES
from tls import TOGETHER, rate

HEADS = ["", "CPU s a million", "user + system", "p50 ms", "p99 ms", "deliveries/s", "memory a connection",
         "CPU a handshake"]
# A node with many rooms: what changes by more must be told.
TOLD_CHANGE = 0.10
CORES = ["gatewayCores", "redisCores", "toolCores"]


def table(heads, rows):
    """A Markdown table."""
    lines = [heads, *rows]
    texts = ["| " + " | ".join(line) + " |" for line in lines]
    return "\n".join([texts[0], "|" + "---|" * len(heads), *texts[1:], ""])


def comparison(servers):
    """One row of the load table: a line for each server, and what went wrong."""
    lines, problems = [], []
    for name in [name for name in NAMES if name in servers]:
        lines.append(_compared(servers, name))
        problems += [f"- {TITLES[name]}: {problem}" for problem in servers[name]["problems"]]
    if not problems:
        return table(HEADS, lines)
    return table(HEADS, lines) + "\n".join(["", "Out of order in at least one run:", "", *problems, ""])


def _compared(servers, name):
    values = servers[name]
    is_floor = name == summary.floor_of(servers)

    def cell(figure, digits, unit=""):
        text = summary.number(values[figure], digits) + unit
        share = summary.ratio(servers, name, figure)
        return text if share is None or is_floor else f"{text} ({share:.2f}×)"

    spread = "" if values["spread"] is None else f" ±{50 * values['spread']:.0f} %"
    return [
        TITLES[name] + (" *" if is_floor else ""), cell("total", 2) + spread,
        f"{summary.number(values['user'], 2)} + {summary.number(values['system'], 2)}", cell("p50", 2),
        cell("p99", 2), cell("rate", 0), cell("rss", 0, " B"), cell("handshake", 0, " µs")]


def memory(points):
    """Bytes a connection of each server, by the number of clients."""
    counts = sorted({point["clients"] for point in points})
    rows = []
    for name in [name for name in NAMES if any(point["server"] == name for point in points)]:
        found = {point["clients"]: point for point in points if point["server"] == name}
        fresh = statistics.median(point["before"] for point in found.values())
        rows.append([TITLES[name], f"{fresh / 2**20:.1f} MiB",
                     *[f"{found[count]['perConnection']:,.0f} B" for count in counts]])
    return table(["", "fresh", *[f"{count:,} clients" for count in counts]], rows)


def request_cost(cost):
    total = cost["userMicroseconds"] + cost["systemMicroseconds"]
    return f"{total:.1f} µs (user {cost['userMicroseconds']:.1f}, system {cost['systemMicroseconds']:.1f})"


def handshake_cost(points):
    ours, floor = (statistics.median(point["microseconds"] for point in points if point["server"] == name)
                   for name in ["ours", "floor-register"])
    return f"{ours:.1f} µs ({ours / floor:.2f}× the floor's {floor:.1f})"


def start_time(times):
    median = statistics.median(times)
    return f"{median:.1f} ms (median of {len(times)}, {min(times):.1f} to {max(times):.1f})"


def idle_cost(idle):
    total = idle["userPercent"] + idle["systemPercent"]
    return (f"{idle['clients']:,} clients: {total:.1f} % of a core (user {idle['userPercent']:.1f}, "
            f"system {idle['systemPercent']:.1f}) over {idle['seconds']:.0f} s with {idle['heartbeats']:,} "
            f"heartbeat requests; of Redis {idle['redisPercent']:.1f} %")


def redis_costs(results):
    """(title, alone, together, digits, unit) for each command, and what memory it takes."""
    found = [(f"PUBLISH of {point['bytes']:,} B to {point['receivers']} node{'s' * (point['receivers'] != 1)}", point, "µs")
             for point in results["publish"]]
    found += [(f"durable notice of {point['bytes']:,} B to none", point, "µs") for point in results["durable"]]
    commands = results["commands"]
    found += [(title, commands[name], "µs") for name, title in [
        ("issue", "token"), ("heartbeat", "heartbeat: renewal"), ("confirm", "heartbeat: look-up by the client's node"),
        ("handshake", "handshake, with its subscription"), ("lookUp", "a record, looked up with 499 others")]]
    if "bus" in results:
        found += [(f"PUBLISH in a cluster of {results['bus']['nodes']} masters, {title}",
                   {how: results["bus"][how][name] for how in ("alone", "together")}, "µs")
                  for name, title in [("publishing", "its own master"), ("other", "each other one")]]
    return found


def redis(results):
    """CPU of Redis for each command, and its memory."""
    memory = results["memory"]
    rows = [[title, f"{cost['alone']:.1f} {unit}" if "alone" in cost else "", f"{cost['together']:.2f} {unit}"]
            for title, cost, unit in redis_costs(results)]
    sizes = [["memory of a connected client's token", f"{memory['token']:.0f} B"],
             ["memory of a channel", f"{memory['channel']:.0f} B"],
             ["memory of a channel at each further node", f"{memory['furtherNode']:.0f} B"],
             *[[f"memory of a durable notice of {point['bytes']:,} B, of 1,000", f"{point['bytesANotice']:.0f} B"]
               for point in results["durable"]]]
    return table(["", "alone", "together"], rows) + "\n" + table(["", ""], sizes)


def service(results):
    """Requests, start and idle clients."""
    return table(["", ""], [
        *[[f"`{name}`, CPU a request", request_cost(cost)] for name, cost in results["requests"].items()],
        *[["handshake with its registration, CPU", handshake_cost(results[name])]
          for name in ["handshakes"] if name in results],
        ["start to ready", start_time(results["start"])],
        ["idle connections with a heartbeat every 25 s", idle_cost(results["idle"])],
        *[["idle connections with `--heartbeat pong`", idle_cost(results["pong"])] for _ in range("pong" in results)]])


def sustained(steps):
    """For each number of rooms the step that was held, also for longer, or None."""
    best = {}
    for step in steps:
        best.setdefault(step["rooms"], None)
        if step.get("isConfirmed"):
            best[step["rooms"]] = step
    return best


def rooms(steps):
    """What was held, and the lowest rate that was not."""
    rows = []
    for count, held in sustained(steps).items():
        missed = min((step for step in steps if step["rooms"] == count and step["limit"]),
                     key=lambda step: step["offered"])
        figures = ["–"] * 5 if held is None else [
            f"{held['messagesPerSecond']:,}", f"{held['offered']:,.0f}", f"{held['p50']:.1f}",
            f"{held['p99']:.1f}", f"{held['total']:.2f}"]
        rows.append([f"{count:,}", *figures, f"{missed['offered']:,.0f} ({missed['limit']})"])
    return table(["rooms", "messages/s held", "deliveries/s held", "p50 ms", "p99 ms", "CPU s a million",
                  "deliveries/s not held"], rows)


def worker_rates(results):
    """{workers: median deliveries a second}"""
    return {count: statistics.median(result["rate"] for result in results if result["workers"] == count)
            for count in sorted({result["workers"] for result in results})}


def workers(results, cores):
    """Deliveries a second, who used the cores, and whether that says anything about the second worker."""
    rates = worker_rates(results)
    used = {count: [statistics.median(result[figure] for result in results if result["workers"] == count)
                    for figure in CORES] for count in rates}
    rows = [[str(count), f"{rate:,.0f} ({rate / rates[1]:.2f}×)", *[f"{share:.2f}" for share in used[count]],
             f"{sum(used[count]):.2f}"] for count, rate in rates.items()]
    text = table(["workers", "deliveries/s", "gateway", "Redis", "load generator", "together"], rows)
    if sum(used[1]) < 0.85 * cores:
        return text
    return text + (
        f"\nWith one worker already, gateway, Redis and load generator use {sum(used[1]):.2f} of the "
        f"{cores} cores. A second\nworker can only take its time from them: this does not tell what it adds where "
        "clients are on other machines.\n")


def held_figures(results):
    """(row, title, median without, median with held rooms, what equal runs differ by) for what may move."""
    found = []
    for row in sorted({result["row"] for result in results}):
        for figure, title in [("total", "CPU s a million"), ("p50", "p50 ms"), ("p99", "p99 ms"),
                              ("rate", "deliveries/s")]:
            groups = [[result["figures"][figure] for result in results
                       if result["row"] == row and bool(result["held"]) == is_held]
                      for is_held in (False, True)]
            without, many = map(statistics.median, groups)
            spread = max((max(group) - min(group)) / statistics.median(group) for group in groups)
            found.append((row, title, without, many, spread))
    return found


def durable_figures(results):
    """(title, plain, durable, digits, unit): medians of what was measured both ways."""
    def medians(items, value):
        return [statistics.median(value(item) for item in items if item["isDurable"] == is_durable)
                for is_durable in (False, True)]

    found = []
    for row in sorted({result["row"] for result in results["rows"]}):
        runs = [result for result in results["rows"] if result["row"] == row]
        for figure, title, digits in [("total", "CPU s a million deliveries", 2), ("p50", "p50 ms", 2),
                                      ("p99", "p99 ms", 2)]:
            found.append((f"row {row}, {title}", *medians(runs, lambda run: run["figures"][figure]), digits))
    for figure, title in [("nodeMicroseconds", "node"), ("redisMicroseconds", "Redis")]:
        found.append((f"a message to one client, µs of {title}",
                      *medians(results["messages"], lambda run: run[figure]), 2))
    return found


def durable(results):
    """Plain and durable beside each other; clients that resume; rooms after an outage."""
    rows = [[title, summary.number(plain, digits), f"{summary.number(both, digits)} ({both / plain:.2f}×)"]
            for title, plain, both, digits in durable_figures(results)]
    resumes, outage = results["resumes"], results["outage"]
    plain = resumes["plain"]
    for name, title in [("ring", "from the node's memory"), ("read", "read from Redis for each")]:
        for part, who in [("nodeMicroseconds", "node"), ("redisMicroseconds", "Redis")]:
            rows.append([f"a handshake with 100 notices missed, {title}, µs of {who}", f"{plain[part]:.0f}",
                         f"{resumes[name][part]:.0f}"])
    rows.append([f"{outage['rooms']:,} rooms after a cut of the subscriber's link, all proven", "",
                 f"{outage['seconds']:.2f} s"])
    return table(["", "plain", "durable"], rows)


def compression_figures(results):
    """(title, off, on, digits): medians of what was measured both ways."""
    found = []
    for size in dict.fromkeys(load["size"] for load in results["loads"]):
        for figure, title, digits in [("wireBytes", "bytes on the wire", 0),
                                      ("delivery", "CPU s a million deliveries in a room of 1,000", 2),
                                      ("message", "µs of CPU a message to one client", 2)]:
            found.append((f"{size}: {title}", *(statistics.median(
                load[figure] for load in results["loads"]
                if load["size"] == size and load["isCompressed"] == is_compressed)
                for is_compressed in (False, True)), digits))
    off, on = (point["perConnection"] for point in results["memory"])
    return [*found, ("bytes of memory a connection", off, on, 0)]


def compression(results):
    return table(["", "off", "on"], [
        [title, summary.number(off, digits), f"{summary.number(on, digits)} ({on / off:.2f}×)"]
        for title, off, on, digits in compression_figures(results)])


def tls_figures(points):
    """(title, digits, values by way): medians. CPU: µs of the program and of all others, a command."""
    found = []
    for part, title in [("single", "PING alone"), ("together", f"PINGs, {TOGETHER} at a time"),
                        ("publisher", "publisher --file")]:
        def medians(value):
            return {way: statistics.median(value(point[part]) for point in points if point["way"] == way)
                    for way in TLS_TITLES if any(point["way"] == way for point in points)}
        if part == "single":
            found += [(f"{title}, {name} µs", 1, medians(lambda each, name=name: each[f"{name}Microseconds"]))
                      for name in ("p50", "p99")]
        else:
            found.append((f"{title}, a second", 0, medians(rate)))
        for name, who in [("cpuSeconds", "the program"), ("otherCpuSeconds", "Redis and tunnel")]:
            found.append((f"{title}, µs of CPU each, {who}", 2, medians(
                lambda each, name=name: 1e6 * each[name] / each["commands"])))
    return found


def tls(points):
    """Plain, TLS and the tunnel beside each other, with the ratio to plain."""
    def cell(values, way, digits):
        text = summary.number(values[way], digits)
        return text if way == "plain" or not values["plain"] else f"{text} ({values[way] / values['plain']:.2f}×)"

    figures = tls_figures(points)
    ways = list(figures[0][2])
    return table(["", *[TLS_TITLES[way] for way in ways]], [
        [title, *[cell(values, way, digits) for way in ways]] for title, digits, values in figures])


def change(without, many):
    digits = 0 if without > 1000 else 2
    before, after = summary.number(without, digits), summary.number(many, digits)
    return f"{before} → {after} ({100 * (many / without - 1):+.0f} %)"


def held(results):
    """The figures of a node with its own rooms only and with 20,000, and a verdict."""
    figures = held_figures(results)
    moved = [f"{title} of row {row}" for row, title, without, many, spread in figures
             if abs(many / without - 1) > max(TOLD_CHANGE, spread)]
    what = ", ".join(moved) or "nothing"
    return table(
        ["row", "figure", "its own rooms → 20,000 rooms", "equal runs differ by"],
        [[row, title, change(without, many), f"{100 * spread:.0f} %"]
         for row, title, without, many, spread in figures],
    ) + f"\nMoved by more than {TOLD_CHANGE:.0%}, and by more than equal runs differ: {what}.\n"
