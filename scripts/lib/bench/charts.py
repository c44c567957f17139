"""The charts of docs/PERFORMANCE.md, from the raw results."""

import math

from servers import NAMES, TITLES
from svg import COLOURS, FAINT, GRID, Page, short, ticks

WIDTH, LEFT, RIGHT = 760, 150, 90


def present(servers):
    return [name for name in NAMES if name in servers]


def draw_cost(rows, path):
    """Stacked bars: user and system seconds for a million deliveries, each row on its own scale."""
    bar, gap = 20, 46
    height = 84 + sum(len(present(servers)) * (bar + 4) + gap for servers in rows.values())
    page = Page(WIDTH, height, "Server CPU for a million deliveries",
                "Seconds, medians; shorter is better. Each row has its own scale.")
    page.legend(LEFT, 68, [(TITLES[name], COLOURS[name], 1) for name in NAMES])
    page.text(WIDTH - 16, 26, "dark: user, light: system", anchor="end", colour=FAINT)
    y = 100
    for row, servers in rows.items():
        shown = present(servers)
        scale = (WIDTH - LEFT - RIGHT) / max(servers[name]["total"] for name in shown)
        page.text(16, y + 4, f"Row {row}", size=14, weight="bold")
        y += 12
        for name in shown:
            values = servers[name]
            # Medians of parts do not add up to the median of the whole, which is the figure that counts.
            length = values["total"] * scale
            user = length * values["user"] / ((values["user"] + values["system"]) or 1)
            page.text(LEFT - 8, y + 15, TITLES[name], anchor="end")
            page.bar(LEFT, y, user, bar, COLOURS[name])
            page.bar(LEFT + user, y, length - user, bar, COLOURS[name], 0.45)
            page.text(LEFT + length + 6, y + 15, f"{values['total']:.2f} s")
            y += bar + 4
        y += gap - 12
    page.save(path)


def draw_latency(rows, path):
    """For each row and server a line from the median to the 99.9th percentile, on a logarithmic scale."""
    shares = ["p50", "p90", "p99", "p999"]
    known = [values[share] for servers in rows.values() for values in servers.values() for share in shares]
    low = math.floor(math.log10(max(min(known), 0.01)))
    high = math.ceil(math.log10(max(known)))
    if high == low:
        high += 1

    def place(milliseconds):
        power = math.log10(max(milliseconds, 10 ** low))
        return LEFT + (power - low) / (high - low) * (WIDTH - LEFT - 40)

    step, gap = 20, 34
    bottom = 92 + sum(len(present(servers)) * step + gap for servers in rows.values())
    page = Page(WIDTH, bottom + 30, "Latency from PUBLISH to the client",
                "Milliseconds, logarithmic. Dots: median, 90, 99 and 99.9 % (from left to right, growing).")
    for power in range(low, high + 1):
        x = place(10.0 ** power)
        page.line(x, 66, x, bottom, GRID)
        page.text(x, bottom + 18, f"{10.0 ** power:g} ms", anchor="middle", colour=FAINT)
    y = 84
    for row, servers in rows.items():
        page.text(16, y + 4, f"Row {row}", size=14, weight="bold")
        y += 14
        for name in present(servers):
            xs = [place(servers[name][share]) for share in shares]
            page.text(LEFT - 8, y + 12, TITLES[name], anchor="end")
            page.line(xs[0], y + 8, xs[-1], y + 8, COLOURS[name], 2)
            for radius, x in zip([3, 3.5, 4.5, 5.5], xs):
                page.dot(x, y + 8, COLOURS[name], radius)
            y += step
        y += gap - 14
    page.save(path)


def draw_memory(points, path):
    """Resident memory of each server against its clients."""
    height, top, bottom = 400, 90, 350
    page = Page(WIDTH, height, "Resident memory of the server against its clients",
                "MiB of the processes, at rest; the kernel's memory for the sockets is not in it.")
    names = present({point["server"] for point in points})
    page.legend(LEFT - 70, 68, [(TITLES[name], COLOURS[name], 1) for name in names])
    clients = ticks(max(point["clients"] for point in points))
    mebibytes = ticks(max(point["after"] for point in points) / 2**20)
    left = 70

    def place(count, amount):
        return (left + count / clients[-1] * (WIDTH - left - 60),
                bottom - amount / mebibytes[-1] * (bottom - top))

    for amount in mebibytes:
        _, y = place(0, amount)
        page.line(left, y, WIDTH - 60, y)
        page.text(left - 8, y + 4, f"{amount:g}", anchor="end", colour=FAINT)
    for count in clients:
        x, _ = place(count, 0)
        page.text(x, bottom + 18, short(count), anchor="middle", colour=FAINT)
    page.text((left + WIDTH - 60) / 2, bottom + 38, "clients", anchor="middle", colour=FAINT)
    for name in names:
        own = [point for point in points if point["server"] == name]
        line = [(0, sum(point["before"] for point in own) / len(own) / 2**20)]
        line += sorted((point["clients"], point["after"] / 2**20) for point in own)
        placed = [place(*pair) for pair in line]
        page.path(placed, COLOURS[name])
        for x, y in placed:
            page.dot(x, y, COLOURS[name])
        page.text(placed[-1][0] + 6, placed[-1][1] + 4, f"{line[-1][1]:.0f}")
    page.save(path)


def draw_throughput(steps, path):
    """The highest rate that was held, for each number of rooms."""
    height, top, bottom, left = 400, 90, 340, 70
    page = Page(WIDTH, height, "Throughput against rooms",
                "Deliveries/s of one worker, 10,000 clients. Dark: held, light: not held.")
    bars = {}
    for rooms in sorted({step["rooms"] for step in steps}):
        group = [step for step in steps if step["rooms"] == rooms]
        held = max((step["offered"] for step in group if step.get("isConfirmed")), default=0)
        bars[rooms] = (held, min((step["offered"] for step in group if step["limit"]), default=0))
    scale = ticks(max(max(pair) for pair in bars.values()))
    for amount in scale:
        y = bottom - amount / scale[-1] * (bottom - top)
        page.line(left, y, WIDTH - 30, y)
        page.text(left - 8, y + 4, short(amount), anchor="end", colour=FAINT)
    slot = (WIDTH - 30 - left) / len(bars)
    for index, (rooms, (held, missed)) in enumerate(bars.items()):
        x, width = left + slot * (index + 0.22), slot * 0.56
        for amount, opacity in [(missed, 0.2), (held, 1)]:
            tall = amount / scale[-1] * (bottom - top)
            page.bar(x, bottom - tall, width, tall, COLOURS["ours"], opacity)
        y = bottom - held / scale[-1] * (bottom - top) - 6
        page.text(x + width / 2, y, short(held), anchor="middle", weight="bold")
        page.text(x + width / 2, bottom + 18, f"{rooms:,} rooms" if rooms > 1 else "1 room", anchor="middle")
        page.text(x + width / 2, bottom + 34, f"{short(held * rooms / 10_000)} messages/s", anchor="middle",
                  size=11, colour=FAINT)
    page.save(path)
