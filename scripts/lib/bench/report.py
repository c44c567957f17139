"""docs/PERFORMANCE.md and its charts, from the raw results: also by hand, from any of .run/bench/*.json:
report.py RAW. The hand-written part is docs/performance/notes.md, which is included as it stands."""

import json
import pathlib
import sys

import charts
import summary
import tables
from loads import ROWS

BEGIN = "<!-- docs/performance/notes.md, included by scripts/bench -->"
END = "<!-- end of docs/performance/notes.md -->"


def own_lines(results):
    """The figures of the gateway alone, for the terminal."""
    return ["", *tables.own_text(results)] if any(name in results for name in tables.OWN) else []


def write(results, root):
    """Writes the page and the charts for which there are results."""
    docs = pathlib.Path(root) / "docs"
    pictures = docs / "performance"
    pictures.mkdir(parents=True, exist_ok=True)
    rows = summary.medians(results["runs"])
    charts.draw_cost(rows, pictures / "cost.svg")
    charts.draw_latency(rows, pictures / "latency.svg")
    charts.draw_memory(results["memory"], pictures / "memory.svg")
    charts.draw_throughput(results["rooms"], pictures / "throughput.svg")
    notes = pictures / "notes.md"
    text = notes.read_text().strip() if notes.exists() else ""
    (docs / "PERFORMANCE.md").write_text("\n".join([
        *_introduction(results), *_comparison(results, rows), BEGIN, text, END, "", *tables.own_sections(results),
        *_reproduction(results)]) + "\n")


def _introduction(results):
    machine = results["machine"]
    return [
        "# Performance", "",
        "This page is written by `scripts/bench`; the section of notes is `docs/performance/notes.md`.", "",
        *tables.table(["", ""], [
            ["date", results["started"][:10]], ["version", f"commit {machine['commit']}"],
            ["processor", f"{machine['processor']}, {machine['cores']} cores, "
             f"{machine['memoryGiB']:.0f} GiB memory"],
            ["system", f"{machine['system']}, Linux {machine['kernel']}"],
            ["software", f"Swift {machine['swift']}, Redis {machine['redis']}, nginx {machine['nginx']} with "
             f"nchan {machine['nchan']}, floor built by {machine['compiler']}"],
            ["runs", f"{results['runCount']} of each row, {results['rowSeconds']} s each after 1 s of warming up; "
             "the tables have medians"],
        ]),
    ]


def _comparison(results, rows):
    lines = [
        "## Fan-out", "",
        "*The floor* (`Benchmarks/floor.c`) is a C loop over epoll that does nothing but write each message to each "
        "socket of its room: no tokens, heartbeats, limits or queues. It comes in two variants, one `send` a message "
        "and one `send` a turn of the loop; the floor of a row is the one that costs less CPU there (marked *). "
        "*nginx with nchan* (`Benchmarks/nchan.conf`) gets its messages by HTTP instead of from Redis, and stores "
        "none. All servers have one process or worker for their clients, are started afresh for each run, and take "
        "turns. Every delivery of every run is checked for loss, order and content.", "",
        "The total of CPU time is exact; its parts, user and system, are sampled by the kernel. CPU time and memory "
        "are the server's alone. On loopback, much of the receiving kernel's work is on the sender's bill, the same "
        "for all servers. The figure in brackets is the ratio to the floor.", "",
        "![CPU](performance/cost.svg)", "",
    ]
    for row, servers in rows.items():
        lines += [f"### Row {row}: {ROWS[row].title}", "", *tables.comparison(servers)]
    return lines + ["![Latency](performance/latency.svg)", ""]


def _reproduction(results):
    commands = []
    for row in ROWS:
        for name in ["ours", "nchan"] if row == "A" else ["ours"]:
            commands += [run["report"]["command"] for run in results["runs"]
                         if (run["row"], run["server"]) == (row, name)][:1]
    return [
        "## To reproduce", "",
        "    scripts/bench", "",
        f"took {results['seconds'] / 60:.0f} minutes, installs what it needs on Debian, and writes this page. "
        "`scripts/bench --quick` takes two minutes and writes nothing; `--rows`, `--servers` and `--runs` choose. "
        "Raw results are in `.run/bench`. The load of each row of the gateway, and of row A for nchan:", "",
        *[f"    {command}" for command in commands],
    ]


if __name__ == "__main__":
    write(json.loads(pathlib.Path(sys.argv[1]).read_text()), pathlib.Path(__file__).parents[3])
