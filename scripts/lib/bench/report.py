"""docs/PERFORMANCE.md, its charts and the costs for scripts/capacity, from the raw results. page.md is the template;
what is written by hand stands in docs/performance/notes.md. Also without a run, from any of .run/bench/*.json:
PYTHONPATH=scripts/lib .venv/bin/python scripts/lib/bench/report.py RAW."""

import json
import pathlib
import re
import string
import subprocess
import sys

import charts
import own
import summary
import tables
from loads import ROWS


def write(results, root):
    """Writes the page and the charts; the results must be those of a whole run."""
    docs = pathlib.Path(root) / "docs"
    pictures = docs / "performance"
    pictures.mkdir(parents=True, exist_ok=True)
    rows = summary.medians(results["runs"])
    charts.draw_cost(rows, pictures / "cost.svg")
    charts.draw_latency(rows, pictures / "latency.svg")
    charts.draw_memory(results["memory"], pictures / "memory.svg")
    charts.draw_throughput(results["rooms"], pictures / "throughput.svg")
    notes = pictures / "notes.md"
    template = string.Template((pathlib.Path(__file__).parent / "page.md").read_text())
    (docs / "PERFORMANCE.md").write_text(template.substitute(
        setting=_setting(results), comparison=_comparison(rows),
        notes=notes.read_text().strip() if notes.exists() else "",
        memory=tables.memory(results["memory"]), service=tables.service(results),
        requestCount=f"{own.REQUESTS:,}", requestConnections=own.CONNECTIONS,
        rooms=tables.rooms(results["rooms"]), confirmingSeconds=own.CONFIRMING_SECONDS,
        workers=tables.workers(results["workers"], results["machine"]["cores"]),
        held=tables.held(results["held"]), durable=tables.durable(results["durable"]),
        compression=tables.compression(results["compression"]), tls=tables.tls(results["tls"]),
        redis=tables.redis(results["redis"]),
        minutes=f"{results['seconds'] / 60:.0f}", commands=_commands(results["runs"])))
    _tell_capacity(results, root)


def _tell_capacity(results, root):
    """What scripts/capacity knows where nothing was measured, and the tables that are made of it. A program of its own,
    because its modules have the names of these."""
    program = pathlib.Path(root) / "scripts/lib/capacity/guide.py"
    subprocess.run([sys.executable, "-B", program, "-"], input=json.dumps(results), text=True, check=True)


def _setting(results):
    machine = results["machine"]
    return tables.table(["", ""], [
        ["date", results["started"][:10]],
        ["version", machine["version"]],
        ["machine", f"{machine['processor']}, {machine['cores']} cores, {machine['memoryGiB']:.0f} GiB"],
        ["system", f"{machine['system']}, Linux {machine['kernel']}"],
        ["software", f"Swift {machine['swift']}, Redis {machine['redis']}, nginx {machine['nginx']}, "
         f"nchan {machine['nchan']}; floor built by {machine['compiler']}"],
        ["runs", f"{results['runCount']} of each row, {results['rowSeconds']} s each after 1 s of warming "
         "up; medians are shown"],
    ])


def _comparison(rows):
    return "\n".join(
        f"### Row {row}: {ROWS[row].title}\n\n{tables.comparison(servers)}" for row, servers in rows.items())


def _commands(runs):
    """The loads with the usual ports, and PID for the server's processes."""
    wanted = [*[(row, "ours") for row in ROWS], ("A", "floor-send"), ("A", "nchan")]
    first = {}
    for run in runs:
        first.setdefault((run["row"], run["server"]), run["report"]["command"])
    usual = [(r"^\S+/loadtest", ".build/release/loadtest"),
             (r"redis://127.0.0.1:\d+", "redis://127.0.0.1:6379"),
             (r"(--gateway |http://)127.0.0.1:\d+", r"\g<1>127.0.0.1:8080"), (r"--pids \S+", "--pids PID"),
             (r"(--path|--publish-url) (\S+)", r"\1 '\2'")]
    lines = [first[key] for key in wanted]
    for pattern, text in usual:
        lines = [re.sub(pattern, text, line) for line in lines]
    return "\n".join(f"    {line}" for line in lines)


if __name__ == "__main__":
    write(json.loads(pathlib.Path(sys.argv[1]).read_text()), pathlib.Path(__file__).parents[3])
