"""The tables of docs/guides/sizing.md: each block that begins with `$ scripts/capacity …` is what that command
prints. Run by itself it writes them anew, and before that, from a raw result of scripts/bench (`-`: from its input), the
costs that they use: PYTHONPATH=scripts/lib python3 scripts/lib/capacity/guide.py [RAW]."""

import contextlib
import io
import json
import re
import shlex
import sys
from pathlib import Path

import costs
import main

PAGE = Path("docs/guides/sizing.md")
BLOCK = re.compile(r"^```console\n\$ scripts/capacity ([^\n]*)\n(.*?)^```$", re.M | re.S)


def printed(arguments):
    """What scripts/capacity prints in the repository's root."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.chdir(main.ROOT):
        main.main(shlex.split(arguments))
    return output.getvalue()


def refresh(root):
    page = Path(root) / PAGE
    page.write_text(BLOCK.sub(
        lambda match: f"```console\n$ scripts/capacity {match[1]}\n{printed(match[1])}```", page.read_text()))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        costs.write(json.load(sys.stdin if sys.argv[1] == "-" else open(sys.argv[1])), main.ROOT)
    refresh(main.ROOT)
