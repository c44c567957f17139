"""What clients meet in production, on this machine: Redis, gateway nodes, nginx in front of them as deployments have
it, and a path to it that can fail. Each test has its own; the programs are in $ROOMCAST_BIN or .build/release."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import functools
import inspect
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, Self

import httpx
import redis.asyncio
from redis.exceptions import RedisError

from roomcast import Client, Gap, Notice, Resume, StatusChange, connect
from roomcast._gateway import Answer

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "scripts/lib"))
from free_ports import free_ports  # type: ignore[import-not-found]  # noqa: E402
from processes import REDIS_SERVER  # type: ignore[import-not-found]  # noqa: E402

BINARIES = Path(os.environ.get("ROOMCAST_BIN") or ROOT / ".build/release")
PATIENCE = 120.0
"""Seconds after which a condition that does not come is a failure; on a busy machine it comes late."""
KEEPS_ALL = ("--appendonly", "yes", "--appendfsync", "always")
"""With `everysec` a kill can take what was answered: while the disk is busy with an fsync, Redis answers before it
writes."""
PR_SET_PDEATHSIG = 1
NO_HURRY = {
    "GATEWAY_HEARTBEAT_TIMEOUT": "10m", "GATEWAY_REDIS_SILENCE_TIMEOUT": "60s", "GATEWAY_REQUEST_TIMEOUT": "5m",
    "GATEWAY_DRAIN_TIME": "1s",
}
"""Limits that a busy machine could reach where a test is about something else; options win over them."""


async def eventually(what: str, condition: Callable[[], bool | Awaitable[bool]]) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        holds = condition()
        if inspect.isawaitable(holds):
            holds = await holds
        if holds:
            return
        assert time.monotonic() < deadline, f"not within {PATIENCE:.0f} s: {what}"
        await asyncio.sleep(0.02)


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Process:
    """One that leads a group of its own and ends with this one."""

    def __init__(self, log: Path, *command: str | Path, **environment: str) -> None:
        prefixes = ("GATEWAY_", "REDIS_", "NGINX_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(prefixes)}
        self.log = log
        self.command, self.environment = list(map(str, command)), kept | environment
        self.start()

    def start(self) -> None:
        with open(self.log, "ab") as log:
            self._popen = subprocess.Popen(
                self.command, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, preexec_fn=_die_with_parent,
            )

    @property
    def exit_code(self) -> int | None:
        return self._popen.poll()

    async def end(self, number: int = signal.SIGKILL) -> int:
        """Sends a signal, and waits for the end."""
        self._popen.send_signal(number)
        await eventually(f"{self.command[0]} ends", lambda: self.exit_code is not None)
        return self._popen.returncode

    def kill_rest(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._popen.pid, signal.SIGKILL)
        self._popen.wait()

    def tail(self) -> str:
        return self.log.read_text(errors="replace")[-2000:]


class Edge:
    def __init__(self, options: tuple[str, ...] = (), nodes: int = 2, keeps: bool = False) -> None:
        """`keeps`: Redis has after a restart whatever it has answered."""
        self.directory = Path(tempfile.mkdtemp(prefix="roomcast-"))
        self._options, self._keeps = options, keeps
        ports = free_ports(2 + 2 * nodes)
        self.redis_port, self.port = ports[0], ports[1]
        self._node_ports, self._admin_ports = ports[2::2], ports[3::2]
        self.redis = redis.asyncio.Redis(port=self.redis_port, decode_responses=True)
        self._http = httpx.AsyncClient(trust_env=False, timeout=10)
        self.nodes: list[Process] = []
        self._processes: list[Process] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        try:
            self.store = self._started(
                "redis", REDIS_SERVER, "--port", str(self.redis_port), "--bind", "127.0.0.1", "--save", "",
                "--dir", self.directory, *(KEEPS_ALL if self._keeps else ()),
            )
            await self.redis_answers()
            self.nodes = [self._started_node(index) for index in range(len(self._node_ports))]
            for index in range(len(self.nodes)):
                await self.is_ready(index)
            gateways = " ".join(f"127.0.0.1:{port}" for port in self._node_ports)
            self.nginx = self._started(
                "nginx", "bash", ROOT / "deploy/nginx-start", self.directory / "nginx.d",
                NGINX_LISTEN=f"127.0.0.1:{self.port}", NGINX_GATEWAYS=gateways,
            )
            await self.nginx_passes()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()
        await self.redis.aclose()
        for process in reversed(self._processes):
            process.kill_rest()
        shutil.rmtree(self.directory)

    def _started(self, name: str, *command: str | Path, **environment: str) -> Process:
        process = Process(self.directory / f"{name}.log", *command, **environment)
        self._processes.append(process)
        return process

    def _started_node(self, index: int) -> Process:
        name = f"node-{index + 1}"
        return self._started(
            name, BINARIES / "gateway", "--listen", f"127.0.0.1:{self._node_ports[index]}", "--admin-listen",
            f"127.0.0.1:{self._admin_ports[index]}", "--node-id", name, "--redis",
            f"redis://127.0.0.1:{self.redis_port}", "--workers", "1", *self._options, **NO_HURRY,
        )

    async def start_node(self, index: int) -> None:
        """Again, on the same ports."""
        self.nodes[index].start()
        await self.is_ready(index)

    async def is_ready(self, index: int) -> None:
        async def ready() -> bool:
            node = self.nodes[index]
            assert node.exit_code is None, node.tail()
            return await self._status(f"http://127.0.0.1:{self._admin_ports[index]}/readyz") == 200

        await eventually("the node is ready", ready)

    async def redis_answers(self) -> None:
        async def answers() -> bool:
            assert self.store.exit_code is None, self.store.tail()
            with contextlib.suppress(RedisError, OSError):
                return bool(await self.redis.ping())
            return False

        await eventually("redis answers", answers)

    async def nginx_passes(self) -> None:
        async def passes() -> bool:
            assert self.nginx.exit_code is None, self.nginx.tail()
            return await self._status(f"{self.url}/heartbeat?token=x") == 500

        await eventually("nginx passes requests on", passes)

    async def _status(self, url: str) -> int:
        try:
            return (await self._http.get(url)).status_code
        except httpx.HTTPError:
            return 0

    async def token(self, index: int = 0, query: str = "isLogin=true&userId=ada", key: str = "") -> str:
        answer = await self._http.get(
            f"http://127.0.0.1:{self._node_ports[index]}/get/token?{query}",
            headers={"Authorization": f"Bearer {key}"} if key else {},
        )
        assert answer.status_code == 200, answer.text
        return str(answer.json()["data"])

    async def total(self, sample: str) -> float:
        """The sum of a metric's sample over all nodes that answer."""
        total = 0.0
        for port in self._admin_ports:
            with contextlib.suppress(httpx.HTTPError):
                text = (await self._http.get(f"http://127.0.0.1:{port}/metrics")).text
                total += sum(map(float, re.findall(rf"^{re.escape(sample)} (\S+)$", text, re.M)))
        return total

    async def holder(self, client: Client) -> int:
        """Which node has the client's connection."""
        found: list[str] = []

        async def is_held() -> bool:
            node, order, allotted = await self.redis.hmget(f"client:{client._token}", "node", "order", "allotted")
            found[:] = [str(node)]
            # A second connection of a token is written into its record just after the 101.
            return node is not None and int(order or 0) >= int(allotted or 0)

        await eventually("a node holds the connection", is_held)
        return int(found[0].removeprefix("node-")) - 1

    async def publish(self, room: str, text: str) -> int:
        return int(await self.redis.publish(f"room:{room}", text))

    async def publish_numbers(self, room: str, count: int, padding: int = 0) -> None:
        pipeline = self.redis.pipeline(transaction=False)
        for number in range(count):
            pipeline.publish(f"room:{room}", _notice(number, padding))
        await pipeline.execute()

    async def publish_durably(self, room: str, number: int, padding: int = 0) -> bool:
        """False: it is not sure whether it is out; another call with this number publishes it once all the same."""
        key = f"once:{{room:{room}}}:{number}"
        with contextlib.suppress(RedisError, OSError):
            await self.redis.fcall(
                "roomcast_publish", 2, f"room:{room}", key, _notice(number, padding)
            )
            return True
        return False


def _notice(number: int, padding: int = 0) -> str:
    return f'{{"type":"notice","data":{{"n":{number},"padding":"{"x" * padding}"}}}}'


class Application:
    """A client, and a task that takes its notices."""

    def __init__(self, url: str, *, rooms: list[str] | None = None, reads: bool = True, **options: Any) -> None:
        if "get_token" not in options:
            options.setdefault("user_id", "ada")
        self.notices: list[Notice] = []
        self.statuses: list[StatusChange] = []
        self.gaps: list[Gap] = []
        self.resumes: list[Resume] = []
        self.errors: list[Exception] = []
        self.beats: list[int] = []
        """The answers to heartbeats, 0 without one."""
        self.ending: Exception | None = None
        self.client = connect(
            url, rooms=rooms or ["lobby"], on_status=self.statuses.append, on_gap=self.gaps.append,
            on_resume=self.resumes.append, on_error=self.errors.append, **options,
        )
        self._reads = reads
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self.client.__aenter__()
        gateway = self.client._gateway
        send = gateway.heartbeat

        async def heartbeat(token: str) -> Answer:
            answer = await send(token)
            self.beats.append(answer.status)
            return answer

        gateway.heartbeat = heartbeat  # type: ignore[method-assign]
        if self._reads:
            self.read()
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self.client.__aexit__(*error)
        if self._task is not None:
            await self._task

    def read(self) -> None:
        self._task = asyncio.create_task(self._take())

    async def _take(self) -> None:
        try:
            async for notice in self.client:
                self.notices.append(notice)
        except Exception as error:
            self.ending = error

    @property
    def numbers(self) -> list[int]:
        return [notice.data["n"] for notice in self.notices]

    async def opened(self) -> None:
        await asyncio.wait_for(self.client.opened(), PATIENCE)

    async def reconnected(self, count: int = 1) -> None:
        await eventually(
            "connected again", lambda: self.client.status == "open" and self.client.counts.reconnects >= count
        )

    async def has(self, count: int) -> None:
        try:
            await eventually(f"{count} notices", lambda: len(self.notices) >= count)
        except AssertionError as error:
            came = set(self.numbers)
            missing = [number for number in range(count) if number not in came]
            raise AssertionError(
                f"{error}; {len(came)} came, not {missing[:5]}; {self.client.status}, {self.gaps}, {self.client.counts}"
            ) from None

    async def ended(self) -> Exception | None:
        await eventually("the client has ended", lambda: self._task is not None and self._task.done())
        return self.ending


@contextlib.asynccontextmanager
async def publishing(edge: Edge, room: str, durably: bool = False, seconds: float = 0.01) -> AsyncIterator[Published]:
    """Numbered notices, one after the other, until the end of the block or `stop`."""
    published = Published(edge, room, durably, seconds)
    try:
        yield published
    finally:
        await published.stop()


class Published:
    def __init__(self, edge: Edge, room: str, durably: bool, seconds: float) -> None:
        self.times: list[tuple[float, float]] = []
        """By number: when each was sent, and answered."""
        self._is_over = False
        self._task = asyncio.create_task(self._publish(edge, room, durably, seconds))

    @property
    def count(self) -> int:
        return len(self.times)

    async def more(self, count: int) -> int:
        """Waits for so many more; how many there are."""
        target = self.count + count
        await eventually("more are published", lambda: self.count >= target)
        return self.count

    async def stop(self) -> int:
        self._is_over = True
        await self._task
        return self.count

    async def _publish(self, edge: Edge, room: str, durably: bool, seconds: float) -> None:
        while not self._is_over:
            number, sent = self.count, time.monotonic()
            if durably:
                await eventually("it is stored", functools.partial(edge.publish_durably, room, number))
            else:
                await edge.publish(room, _notice(number))
            self.times.append((sent, time.monotonic()))
            await asyncio.sleep(seconds)


def expect_whole_gap(app: Application, published: Published) -> None:
    """What was told is no less than what is missing."""
    assert len(app.gaps) == 1
    came = set(app.numbers)
    missing = [number for number in range(min(came), published.count) if number not in came]
    assert app.numbers == sorted(came)
    if missing:
        silence = published.times[missing[-1]][0] - published.times[missing[0]][1]
        assert app.gaps[0].seconds >= silence


class Road:
    """A way to the edge that can swallow what passes, as a network that is gone."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._passing = asyncio.Event()
        self._passing.set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def swallow(self) -> None:
        """What stands now has an end only for the other side; new connections hear nothing."""
        self._passing.clear()

    def pass_on(self) -> None:
        """For connections that begin from now on."""
        for task in list(self._tasks):
            task.cancel()
        self._passing.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            await self._passing.wait()
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._carry(reader, far_writer))
                    group.create_task(self._carry(far_reader, writer))
            except* OSError:
                pass
            finally:
                far_writer.close()
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(1 << 16):
            await self._passing.wait()
            writer.write(piece)
            await writer.drain()
        await self._passing.wait()
        writer.close()


def real(
    *options: str, nodes: int = 2, keeps: bool = False
) -> Callable[[Callable[[Edge], Coroutine[Any, Any, None]]], Callable[[], None]]:
    """A test with an edge of its own, whose nodes have these options; afterwards no task may be left."""

    def decorate(test: Callable[[Edge], Coroutine[Any, Any, None]]) -> Callable[[], None]:
        def run() -> None:
            async def main() -> None:
                async with Edge(options, nodes, keeps) as edge:
                    await test(edge)
                left = asyncio.all_tasks() - {asyncio.current_task()}
                assert not left, f"left behind: {left}"

            asyncio.run(main())

        functools.update_wrapper(run, test)
        del run.__wrapped__  # type: ignore[attr-defined]
        return run

    return decorate
