"""The independent side of the end-to-end tests: WebSocket clients of PyPI `websockets`, raw sockets, Redis,
processes.

Reads one JSON request a line on stdin, `{"i": 1, "op": "...", ...}`, and answers each, in any order, with
`{"i": 1, "ok": ...}` or `{"i": 1, "error": "..."}` on stdout. Requests run at the same time. Every process
of a test is a child of this one, so that nothing can outlive the tests: when stdin closes, or this process
dies, they are killed. The argument is the directory of their files, which is removed then.
"""
import asyncio, json, os, pathlib, shutil, signal, sys

# What the tests share with the scripts.
sys.path.append(str(pathlib.Path(__file__).resolve().parents[3] / "scripts/lib"))

import browser, clients, crowds, doors, hostile, liars, programs, proxies, roaming, streams, terminals

OPERATIONS = {
    **browser.OPERATIONS, **clients.OPERATIONS, **crowds.OPERATIONS, **doors.OPERATIONS, **hostile.OPERATIONS,
    **liars.OPERATIONS, **programs.OPERATIONS, **proxies.OPERATIONS, **roaming.OPERATIONS, **streams.OPERATIONS,
    **terminals.OPERATIONS,
}


async def answer(request):
    try:
        reply = {"ok": await OPERATIONS[request["op"]](**request.get("with", {}))}
    except Exception as error:
        reply = {"error": f"{request['op']}: {type(error).__name__}: {error}"}
    sys.stdout.write(json.dumps({"i": request["i"], **reply}) + "\n")
    sys.stdout.flush()


async def main():
    # The tests start this process from a thread that blocks signals, and a child would inherit that.
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, asyncio.current_task().cancel)
    # A line holds a whole published payload in base64, so the default limit of 64 KiB is too small.
    reader = asyncio.StreamReader(limit=64 << 20)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    running = set()
    try:
        while line := await reader.readline():
            task = asyncio.create_task(answer(json.loads(line)))
            running.add(task)
            task.add_done_callback(running.discard)
    finally:
        programs.kill_all()
        shutil.rmtree(sys.argv[1], ignore_errors=True)
        # Without the loop's own end, which would wait for connections and complain about the children.
        os._exit(0)


asyncio.run(main())
