"""The first program of the README, as it stands there, against real nodes."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from edge import Edge, Process, eventually, real

PACKAGE = Path(__file__).resolve().parent.parent


@real()
async def test_the_program_of_the_readme_shows_notices_and_gaps(edge: Edge) -> None:
    program = re.findall(r"```python\n(.*?)```", (PACKAGE / "README.md").read_text(), re.S)[0]
    assert "http://127.0.0.1:8080" in program
    script = edge.directory / "program.py"
    script.write_text(program.replace("http://127.0.0.1:8080", edge.url))
    process = Process(
        edge.directory / "program.log", sys.executable, "-u", "-B", script, PYTHONPATH=str(PACKAGE / "src")
    )
    try:

        async def is_connected() -> bool:
            assert process.exit_code is None, process.tail()
            return await edge.total("roomcast_connections") == 1

        await eventually("it is connected", is_connected)
        await edge.publish("lobby", '{"type":"notice","data":{"text":"Grüße"}}')
        await eventually("it shows the notice", lambda: "notice {'text': 'Grüße'}\n" in process.tail())
        for index, node in enumerate(edge.nodes):
            await node.end()
            await edge.start_node(index)
        await eventually("it shows the gap", lambda: "notices may be missing: ('lobby', 'user-42'), " in process.tail())
    finally:
        process.kill_rest()
