"""What one client, message or delivery costs: from the raw results of scripts/bench (.run/bench/*.json), and where this
machine has none, from docs/performance/costs.json, which scripts/bench writes beside docs/PERFORMANCE.md."""

import json
import statistics
from pathlib import Path

COMMITTED = Path("docs/performance/costs.json")
RAW = Path(".run/bench")
HERE, ELSEWHERE = "this machine", f"not measured here, so from {COMMITTED}"


class CostError(Exception):
    """One line for the user."""


def _row(results, name, figure="total"):
    """The median of a row of the table, of the gateway."""
    values = [run["figures"][figure] for run in results["runs"] if run["row"] == name and run["server"] == "ours"]
    return statistics.median(value for value in values if value is not None)


def _median_of(items, figure, **wanted):
    return statistics.median(item[figure] for item in items if all(item[key] == value for key, value in wanted.items()))


def _idle(row):
    """CPU of a node and of Redis, µs a second and client."""
    node = 1e4 * (row["userPercent"] + row["systemPercent"]) / row["clients"]
    return {"node": node, "redis": 1e4 * row["redisPercent"] / row["clients"]}


def _memory(points):
    ours = [point for point in points if point["server"] == "ours"]
    most = max(ours, key=lambda point: point["clients"])
    return {"fresh": statistics.median(point["before"] for point in ours), "connection": most["perConnection"]}


def _durable(row):
    plain, durable = (_median_of(row["messages"], "nodeMicroseconds", isDurable=value) for value in (False, True))
    return {"message": plain, "durable": durable}


def _compression(row):
    """For each size: bytes of a delivery, µs of a delivery in a large room, µs of a message to one client."""
    points = []
    for size in dict.fromkeys(load["size"] for load in row["loads"]):
        point = {"bytes": int(size.removesuffix("KiB")) << 10 if size.endswith("KiB") else int(size.removesuffix("B"))}
        for figure in ["wireBytes", "delivery", "message"]:
            for name, value in [("off", False), ("on", True)]:
                point[f"{figure}-{name}"] = _median_of(row["loads"], figure, size=size, isCompressed=value)
        points.append(point)
    return points


def _redis(row):
    return {name: row[name] for name in ["publish", "commands", "durable", "memory", "bus"]}


# What is taken of each row of scripts/bench. A row of a run that lacks any of it counts as not measured.
ROWS = {
    "B": lambda results: _row(results, "B"),
    "C": lambda results: _row(results, "C"),
    "memory": lambda results: _memory(results["memory"]),
    "requests": lambda results: {
        name: cost["userMicroseconds"] + cost["systemMicroseconds"] for name, cost in results["requests"].items()},
    "handshakes": lambda results: _median_of(results["handshakes"], "microseconds", server="ours"),
    "idle": lambda results: _idle(results["idle"]),
    "pong": lambda results: _idle(results["pong"]),
    "durable": lambda results: _durable(results["durable"]),
    "compression": lambda results: _compression(results["compression"]),
    "redis": lambda results: _redis(results["redis"]),
}


def taken(results):
    """{row: what is taken of it} of whatever a run has measured."""
    found = {}
    for name, take in ROWS.items():
        try:
            found[name] = take(results)
        except (KeyError, ValueError, TypeError, IndexError):
            continue
    return found


def machine_text(machine):
    return f"{machine['processor']}, {machine['cores']} cores, Redis {machine['redis']}"


def measured(results):
    """A run's rows, each with its date and machine, as docs/performance/costs.json has them."""
    note = {"date": results["started"][:10], "machine": machine_text(results["machine"])}
    return {name: {**note, "costs": costs} for name, costs in taken(results).items()}


def write(results, root):
    """docs/performance/costs.json, from a whole run."""
    (Path(root) / COMMITTED).write_text(json.dumps(measured(results), indent=1) + "\n")


def _read(path):
    """The content of a raw result or of costs.json."""
    try:
        content = json.loads(path.read_text())
        return content if isinstance(content, dict) else {}
    except (OSError, ValueError) as error:
        raise CostError(f"{path}: {error}") from None


class Costs:
    """`rows`: {row: {"date", "machine", "place", "costs"}}."""

    def __init__(self, rows):
        missing = [name for name in ROWS if name not in rows]
        if missing:
            raise CostError(f"no costs of {', '.join(missing)}: run scripts/bench --rows {','.join(missing)}")
        self.rows = rows

    def __getitem__(self, row):
        return self.rows[row]["costs"]

    def sources(self):
        """Which rows are from where."""
        groups = {}
        for name in ROWS:
            row = self.rows[name]
            groups.setdefault((row["place"], row["date"], row["machine"]), []).append(name)
        return [{"rows": names, "place": place, "date": date, "machine": machine}
                for (place, date, machine), names in groups.items()]


def load(root, file=None):
    """The newest of each row, of this machine as far as possible. With `file` only what is in that file."""
    root = Path(root)
    if file is not None:
        content = _read(Path(file))
        return Costs(_placed(measured(content) if "runs" in content else content, str(file)))
    committed = root / COMMITTED
    rows = _placed(_read(committed) if committed.exists() else {}, ELSEWHERE)
    runs = []
    for path in (root / RAW).glob("*.json"):
        try:
            content = _read(path)
        except CostError:
            # A run that ended while it wrote.
            continue
        if "runs" in content:
            # A short run counts only where there is no other.
            runs.append(("--quick" not in content["command"], content["started"], content))
    for *_, content in sorted(runs, key=lambda run: run[:2]):
        rows.update(_placed(measured(content), HERE))
    return Costs(rows)


def _placed(rows, place):
    return {name: {**rows[name], "place": place} for name in ROWS if name in rows}
