"""The charts of docs/PERFORMANCE.md, from the raw results, drawn by PyPI matplotlib. White, with dark colours: a chart
reads the same on a light and on a dark page."""

import matplotlib

from servers import NAMES, TITLES

matplotlib.use("svg")
# Text stays text; without a salt the identifiers, and so the files, would differ from run to run.
matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "roomcast", "font.family": "sans-serif",
                            "axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True})

import matplotlib.pyplot as plot
from matplotlib.ticker import FuncFormatter, NullFormatter

COLOURS = {
    "ours": "#1f6feb", "ours-plain": "#79a7ef", "floor-send": "#6e7781", "floor-coalesce": "#424a53",
    "nchan": "#bc4c00",
}
SHARES = ["p50", "p90", "p99", "p999"]


def present(servers):
    return [name for name in NAMES if name in servers]


def short(value, _=None):
    """1500 as 1.5k, 2000000 as 2M."""
    for size, unit in [(1e6, "M"), (1e3, "k")]:
        if abs(value) >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.4g}"


def save(figure, title, path):
    figure.suptitle(title, fontsize=12, fontweight="bold")
    figure.savefig(path, metadata={"Date": None, "Title": title})
    plot.close(figure)


def by_row(rows, height=0.28, **options):
    """A figure with a panel for each row of the table, as high as it has servers."""
    counts = [len(present(servers)) for servers in rows.values()]
    figure, panels = plot.subplots(
        len(rows), 1, squeeze=False, figsize=(8, 0.9 + sum(height * count + 0.5 for count in counts)),
        height_ratios=[height * count + 0.5 for count in counts], layout="constrained", **options)
    for (row, servers), panel in zip(rows.items(), panels[:, 0]):
        names = present(servers)
        panel.set_title(f"Row {row}", loc="left", fontsize=10, fontweight="bold")
        panel.set_yticks(range(len(names)), [TITLES[name] for name in names])
        panel.set_ylim(len(names) - 0.4, -0.6)
        yield figure, panel, [(place, name, servers[name]) for place, name in enumerate(names)]


def draw_cost(rows, path):
    """Stacked bars: user and system seconds for a million deliveries, each row on its own scale."""
    for figure, panel, bars in by_row(rows):
        for place, name, values in bars:
            # Medians of parts do not add up to the median of the whole, which is the figure that counts.
            total = values["total"]
            user = total * values["user"] / ((values["user"] + values["system"]) or 1)
            panel.barh(place, user, color=COLOURS[name])
            panel.barh(place, total - user, left=user, color=COLOURS[name], alpha=0.45)
            panel.text(total, place, f" {total:.2f} s", va="center")
        panel.margins(x=0.12)
    save(figure, "Server CPU seconds for a million deliveries (dark: user, light: system)", path)


def draw_latency(rows, path):
    """For each row and server a line from the median to the 99.9th percentile, on a logarithmic scale."""
    for figure, panel, lines in by_row(rows, sharex=True):
        for place, name, values in lines:
            known = [max(values[share], 0.01) for share in SHARES]
            panel.plot(known, [place] * len(known), color=COLOURS[name])
            panel.scatter(known, [place] * len(known), [12, 20, 32, 48], color=COLOURS[name])
        panel.set_xscale("log")
        panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} ms"))
        panel.xaxis.set_minor_formatter(NullFormatter())
        panel.grid(axis="x", alpha=0.4)
    save(figure, "Latency from PUBLISH to the client (dots: 50, 90, 99 and 99.9 %)", path)


def draw_memory(points, path):
    """Resident memory of each server against its clients."""
    figure, panel = plot.subplots(figsize=(8, 4.2), layout="constrained")
    for name in present({point["server"] for point in points}):
        own = [point for point in points if point["server"] == name]
        line = [(0, sum(point["before"] for point in own) / len(own) / 2**20)]
        line += sorted((point["clients"], point["after"] / 2**20) for point in own)
        panel.plot(*zip(*line), "o-", color=COLOURS[name], label=TITLES[name])
        panel.annotate(f" {line[-1][1]:.0f}", line[-1], va="center")
    panel.set(xlabel="clients", ylabel="MiB of the processes, at rest", xlim=(0, None), ylim=(0, None))
    panel.xaxis.set_major_formatter(FuncFormatter(short))
    panel.grid(alpha=0.4)
    panel.legend(frameon=False)
    save(figure, "Resident memory of the server against its clients", path)


def draw_throughput(steps, path):
    """The highest rate that was held, for each number of rooms."""
    figure, panel = plot.subplots(figsize=(8, 4.2), layout="constrained")
    labels = []
    for place, rooms in enumerate(sorted({step["rooms"] for step in steps})):
        group = [step for step in steps if step["rooms"] == rooms]
        held = max((step["offered"] for step in group if step.get("isConfirmed")), default=0)
        missed = min((step["offered"] for step in group if step["limit"]), default=0)
        panel.bar(place, missed, color=COLOURS["ours"], alpha=0.2, width=0.56)
        panel.bar(place, held, color=COLOURS["ours"], width=0.56)
        panel.text(place, held, short(held), ha="center", va="bottom", fontweight="bold")
        labels.append(f"{rooms:,} room{'s' if rooms > 1 else ''}\n{short(held * rooms / 10_000)} messages/s")
    panel.set_xticks(range(len(labels)), labels)
    panel.set_ylabel("deliveries/s of one worker, 10,000 clients")
    panel.yaxis.set_major_formatter(FuncFormatter(short))
    panel.grid(axis="y", alpha=0.4)
    save(figure, "Throughput against rooms (dark: held, light: not held)", path)
