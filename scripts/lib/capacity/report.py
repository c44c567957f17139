"""The answer of scripts/capacity: one object, which --json prints, and the table that is made of it alone."""

from model import BUS_BYTES, KERNEL_BYTES

MEASURED, COMPUTED = "measured", "computed"


def build(plan, known):
    """The answer. Values are in the unit beside them; bytes and bits a second are not shortened."""
    rows = [{"group": group, "name": name, "unit": unit, "value": value, "mark": COMPUTED,
             **({} if alone is None else {"alone": alone})} for group, name, unit, value, alone in plan.rows()]
    is_possible = plan.masters is not None
    walls = [{**wall, "mark": COMPUTED} for wall in plan.walls()] if is_possible else []
    return {
        "clients": plan.profile.clients, "rows": rows, "walls": walls,
        "firstWall": {**plan.first_wall(), "mark": COMPUTED} if is_possible else None,
        "obstacle": plan.obstacle,
        "costs": [{"name": name, "value": value, "unit": unit, "mark": mark, "source": source}
                  for name, value, unit, mark, source in _costs(plan.load)],
        "sources": known.sources()}


def _costs(load):
    """What the rows were computed from."""
    costs = load.costs
    commands, memory, bus = (costs["redis"][name] for name in ["commands", "memory", "bus"])
    points = [point for point in costs["redis"]["publish"] if point["bytes"] == 128]
    bench = "bench --rows "
    found = [
        ("a client at rest, heartbeats by request, node", costs["idle"]["node"], "µs/s", bench + "idle"),
        ("the same, Redis", costs["idle"]["redis"], "µs/s", bench + "idle"),
        ("a client at rest, heartbeats by pong, node", costs["pong"]["node"], "µs/s", bench + "pong"),
        ("the same, Redis", costs["pong"]["redis"], "µs/s", bench + "pong"),
        ("a token, node", costs["requests"]["/get/token"], "µs", bench + "requests"),
        ("a handshake, node", costs["handshakes"], "µs", bench + "handshakes"),
        ("a delivery of 128 B in a crowded room, node", costs["B"], "µs", bench + "B"),
        ("a delivery in rooms of ten, each message by itself, node", costs["C"], "µs", bench + "C"),
        ("a message, busy, node", costs["durable"]["message"], "µs", bench + "durable"),
        ("a durable message, busy, node", costs["durable"]["durable"], "µs", bench + "durable"),
        ("memory of a connection, node", costs["memory"]["connection"], "B", bench + "memory"),
        ("a heartbeat, busy, Redis", commands["heartbeat"]["together"], "µs", bench + "redis"),
        ("its look-up by the node that has the client, busy, Redis", commands["confirm"]["together"], "µs",
         bench + "redis"),
        ("a token, busy, Redis", commands["issue"]["together"], "µs", bench + "redis"),
        ("a handshake, busy, Redis", commands["handshake"]["together"], "µs", bench + "redis")]
    found += [(f"PUBLISH of 128 B to {point['receivers']} nodes, {title}, Redis", point[how], "µs", bench + "redis")
              for point in points if point["receivers"] in (0, 16, 64)
              for how, title in [("together", "busy"), ("alone", "alone")]]
    found += [
        ("a durable notice, busy, Redis", costs["redis"]["durable"][0]["together"], "µs", bench + "redis"),
        ("its memory, Redis", costs["redis"]["durable"][0]["bytesANotice"], "B", bench + "redis"),
        ("any PUBLISH in a cluster, busy, each other server", bus["together"]["other"], "µs", bench + "redis"),
        ("memory of a token, Redis", memory["token"], "B", bench + "redis"),
        ("memory of a channel, Redis", memory["channel"], "B", bench + "redis"),
        ("each further node that has it, Redis", memory["furtherNode"], "B", bench + "redis")]
    return [(name, value, unit, MEASURED, source) for name, value, unit, source in found] + [
        ("kernel memory of a connection, node", KERNEL_BYTES, "B", MEASURED, "hold (docs/HOLD.md)"),
        ("header of a message on the cluster bus", BUS_BYTES, "B", COMPUTED, "protocol of Redis 7")]


def text(found, brief=False):
    """The table."""
    lines = [f"{found['clients']:,} clients; all of this is computed, from costs that were measured:"]
    for source in found["sources"]:
        lines.append(f"  {source['place']}, {source['date']}, {source['machine']}"
                     + (f": {', '.join(source['rows'])}" if len(found["sources"]) > 1 else ""))
    group = None
    for row in found["rows"]:
        if row["group"] != group:
            group = row["group"]
            lines += ["", group]
        lines.append(_line(row["name"], _range(row), row["mark"]))
    if found["obstacle"]:
        lines += ["", f"NOT POSSIBLE: {found['obstacle']}"]
    if found["walls"]:
        lines += ["", "walls, the nearest first" + " " * 19 + "used   reached at"]
        for wall in found["walls"]:
            at = "–" if wall["clients"] is None else f"{number(wall['clients'])} clients"
            lines.append(f"  {wall['wall']:<40} {_percent(wall['share']):>5}   {at:<20} {wall['mark']}")
        first = found["firstWall"]
        lines += ["", f"First wall: {first['wall']}, at {number(first['clients'])} clients (computed).",
                  f"What moves it: {first['remedy']}."]
    if not brief:
        lines += ["", "costs"]
        lines += [f"  {cost['name']:<62} {number(cost['value']):>8} {cost['unit']:<5} {cost['mark']}: {cost['source']}"
                  for cost in found["costs"]]
    return "\n".join(lines)


def _line(name, value, mark):
    return f"  {name:<42} {value:<26} {mark}"


def _range(row):
    first = quantity(row["value"], row["unit"])
    if "alone" not in row:
        return first
    return f"{number(row['value'])} to {quantity(row['alone'], row['unit'])}"


def _percent(value):
    return f"{100 * value:.0f} %" if value >= 0.1 else f"{100 * value:.1f} %"


def number(value):
    """Three digits; whole numbers below a million as they are."""
    for size, name in [(1e9, "billion"), (1e6, "million")]:
        if value >= size:
            return f"{value / size:.3g} {name}"
    if value == int(value):
        return f"{value:,.0f}"
    if value >= 100:
        return f"{float(f'{value:.3g}'):,.0f}"
    return f"{value:.3g}" if value >= 0.001 else "below 0.001"


def quantity(value, unit):
    if unit == "bytes":
        return _scaled(value, 1024, ["B", "KiB", "MiB", "GiB", "TiB"])
    if unit == "bit/s":
        return _scaled(value, 1000, ["bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s"])
    return f"{number(value)}{unit}" if unit.startswith("/") else f"{number(value)} {unit}".strip()


def _scaled(value, step, units):
    place = 0
    while value >= step and place + 1 < len(units):
        value, place = value / step, place + 1
    return f"{value:.3g} {units[place]}" if value < 1000 else f"{value:,.0f} {units[place]}"
