"""Medians of the runs, the floor of each row, and how figures are written."""

import statistics

FLOORS = ["floor-send", "floor-coalesce"]
# name, title, digits after the point
COLUMNS = [
    ("total", "CPU s/million", 3), ("user", "user", 3), ("system", "system", 3), ("p50", "p50 ms", 2),
    ("p99", "p99 ms", 2), ("rate", "deliveries/s", 0), ("rss", "RSS B/conn.", 0),
    ("handshake", "µs/handshake", 1),
]


def medians(runs):
    """{row: {server: {figure: median}}}, with the number of runs and their problems."""
    groups = {}
    for run in runs:
        groups.setdefault(run["row"], {}).setdefault(run["server"], []).append(run)
    return {row: {name: _median(group) for name, group in servers.items()}
            for row, servers in groups.items()}


def _median(group):
    result = {}
    for figure in group[0]["figures"]:
        known = [run["figures"][figure] for run in group if run["figures"][figure] is not None]
        result[figure] = statistics.median(known) if known else None
    totals = [run["figures"]["total"] for run in group if run["figures"]["total"] is not None]
    is_known = len(totals) > 1 and result["total"]
    result["spread"] = (max(totals) - min(totals)) / result["total"] if is_known else None
    result["runs"] = len(group)
    result["problems"] = sorted({problem for run in group for problem in run["problems"]})
    return result


def floor_of(servers):
    """The name of the variant that costs less CPU in this row, of those that lost nothing if there are such;
    None when neither was measured."""
    measured = [name for name in FLOORS if servers.get(name, {}).get("total")]
    if not measured:
        return None
    return min(measured, key=lambda name: (bool(servers[name]["problems"]), servers[name]["total"]))


def ratio(servers, name, figure):
    """The figure of a server divided by the floor's; None when there is nothing to divide by."""
    floor = floor_of(servers)
    if floor is None or not servers[floor].get(figure) or servers[name].get(figure) is None:
        return None
    return servers[name][figure] / servers[floor][figure]


def number(value, digits):
    return "–" if value is None else f"{value:,.{digits}f}"
