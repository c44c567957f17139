"""Medians of the runs, the floor of each row, and the table on the terminal."""

import statistics

FLOORS = ["floor-send", "floor-coalesce"]
# name, title, digits after the point
COLUMNS = [
    ("total", "CPU s/million", 3), ("user", "user", 3), ("system", "system", 3), ("p50", "p50 ms", 2),
    ("p99", "p99 ms", 2), ("rate", "deliveries/s", 0), ("rss", "RSS B/conn.", 0),
    ("handshake", "µs/handshake", 1),
]
# Figures that get a ratio on the terminal.
RATIOS = ["total", "p99", "rss", "handshake"]


def medians(runs):
    """{row: {server: {figure: median}}}, with the number of runs and their problems."""
    groups = {}
    for run in runs:
        groups.setdefault(run["row"], {}).setdefault(run["server"], []).append(run)
    return {row: {name: _median(group) for name, group in servers.items()} for row, servers in groups.items()}


def _median(group):
    result = {}
    for figure in group[0]["figures"]:
        known = [run["figures"][figure] for run in group if run["figures"][figure] is not None]
        result[figure] = statistics.median(known) if known else None
    totals = [run["figures"]["total"] for run in group if run["figures"]["total"] is not None]
    result["spread"] = (max(totals) - min(totals)) / result["total"] if totals and result["total"] else None
    result["runs"] = len(group)
    result["problems"] = sorted({problem for run in group for problem in run["problems"]})
    return result


def floor_of(servers):
    """The name of the variant that costs less CPU in this row; None when neither was measured."""
    measured = [name for name in FLOORS if servers.get(name, {}).get("total")]
    return min(measured, key=lambda name: servers[name]["total"]) if measured else None


def ratio(servers, name, figure):
    """The figure of a server divided by the floor's; None when there is nothing to divide by."""
    floor = floor_of(servers)
    if floor is None or not servers[floor].get(figure) or servers[name].get(figure) is None:
        return None
    return servers[name][figure] / servers[floor][figure]


def number(value, digits):
    return "–" if value is None else f"{value:,.{digits}f}"


def terminal_table(rows):
    """The medians as lines of text, ratios to the floor in brackets."""
    widths = [5, 18] + [17 if figure in RATIOS else 14 for figure, _, _ in COLUMNS]
    heads = ["row", "server"] + [title for _, title, _ in COLUMNS]
    lines = ["".join(head.ljust(width) for head, width in zip(heads, widths))]
    for row, servers in rows.items():
        floor = floor_of(servers)
        for name, values in servers.items():
            cells = [row, name + (" *" if name == floor else "")]
            for figure, _, digits in COLUMNS:
                cell = number(values[figure], digits)
                share = ratio(servers, name, figure)
                if figure in RATIOS and share is not None:
                    cell += f" ({share:.2f}x)"
                cells.append(cell)
            line = "".join(cell.ljust(width) for cell, width in zip(cells, widths))
            lines.append(line.rstrip() + ("  !" if values["problems"] else ""))
        for name, values in servers.items():
            lines.extend(f"      ! {name}: {problem}" for problem in values["problems"])
    if any(floor_of(servers) for servers in rows.values()):
        lines.append("* the floor of the row, to which the ratios in brackets are")
    return lines
