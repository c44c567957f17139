"""What a benchmark prints when it is over."""

import tables
from summary import COLUMNS, floor_of, number, ratio

# Figures with their ratio to the floor.
RATIOS = ["total", "p99", "rss", "handshake"]


def comparison(rows):
    """The medians as lines of text, ratios to the floor in brackets; none without rows."""
    if not rows:
        return []
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


def own(results):
    """The figures of the gateway alone, a line each, for whatever was measured."""
    lines = []
    for point in results.get("memory", []):
        lines.append(f"memory     {point['server']}, {point['clients']:,} clients: "
                     f"{point['perConnection']:,.0f} B a connection")
    for name, cost in results.get("requests", {}).items():
        lines.append(f"request    {name}: {tables.request_cost(cost)}")
    if "handshakes" in results:
        lines.append(f"handshake  with its registration: {tables.handshake_cost(results['handshakes'])}")
    if "start" in results:
        lines.append(f"start      ready after {tables.start_time(results['start'])}")
    if "idle" in results:
        lines.append(f"idle       {tables.idle_cost(results['idle'])}")
    if "pong" in results:
        lines.append(f"pong       {tables.idle_cost(results['pong'])}")
    if "redis" in results:
        lines += [f"redis      {title}: " + ", ".join(f"{number(cost[how], 2)} {unit} {how}" for how in cost
                                                      if how in ("alone", "together"))
                  for title, cost, unit in tables.redis_costs(results["redis"])]
        lines += [f"redis      memory: {name} {size:.0f} B" for name, size in results["redis"]["memory"].items()]
        lines += [f"  ! redis: {problem}" for problem in results["redis"]["problems"]]
    for rooms, held in tables.sustained(results.get("rooms", [])).items():
        lines.append(f"rooms      {rooms:,}: {held['offered'] if held else 0:,.0f} deliveries/s held")
    for workers, rate in tables.worker_rates(results.get("workers", [])).items():
        lines.append(f"workers    {workers}: {rate:,.0f} deliveries/s")
    for row, title, without, many, _ in tables.held_figures(results.get("held", [])):
        lines.append(f"held       row {row}, {title}: {tables.change(without, many)}")
    if "durable" in results:
        lines += [f"durable    {title}: {number(plain, digits)} plain, {number(both, digits)} durable"
                  for title, plain, both, digits in tables.durable_figures(results["durable"])]
        lines += [f"durable    {name} handshake: node {cost['nodeMicroseconds']:.0f} µs, Redis "
                  f"{cost['redisMicroseconds']:.0f} µs" for name, cost in results["durable"]["resumes"].items()]
        outage = results["durable"]["outage"]
        lines.append(f"durable    {outage['rooms']:,} rooms proven {outage['seconds']:.2f} s after a cut")
        for part in [*results["durable"]["rows"], *results["durable"]["messages"], outage]:
            lines += [f"  ! durable: {problem}" for problem in part["problems"]]
    if "compression" in results:
        lines += [f"compression {title}: {number(off, digits)} off, {number(on, digits)} on"
                  for title, off, on, digits in tables.compression_figures(results["compression"])]
        for part in [*results["compression"]["loads"], *results["compression"]["memory"]]:
            lines += [f"  ! compression: {problem}" for problem in part["problems"]]
    for title, digits, values in tables.tls_figures(results["tls"]) if "tls" in results else []:
        lines.append(f"tls        {title}: " + ", ".join(
            f"{tables.TLS_TITLES[way]} {number(value, digits)}" for way, value in values.items()))
    for name in ["memory", "handshakes", "idle", "pong", "workers", "held"]:
        found = results.get(name, [])
        for result in found if isinstance(found, list) else [found]:
            lines += [f"  ! {name}: {problem}" for problem in result["problems"]]
    return lines
