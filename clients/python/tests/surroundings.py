"""The surroundings of a client in tests: a gateway that the test plays, and a loop whose time passes only while
everything waits."""

from __future__ import annotations

import asyncio
import functools
import selectors
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from roomcast import Client, Gap, Notice, Resume, StatusChange, WaitReason
from roomcast import _rules as rules
from roomcast._clock import Clock
from roomcast._gateway import Answer, Closed
from roomcast._options import Options, checked_url

SECRET = "secret-token_0123456789A"
BEGAN = 1000.0
"""When the wall clock of these tests begins."""
Anything = Any


class _PatientSelector(selectors.SelectSelector):
    """Where another one waits, it lets the loop's time pass."""

    passed = BEGAN

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "everything waits, and nothing is to come"
            self.passed += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._patient = _PatientSelector()
        super().__init__(self._patient)

    def time(self) -> float:
        return self._patient.passed


def virtual(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """The test of a coroutine function, which receives a new `World`; afterwards no task may be left."""

    @functools.wraps(test)
    def run(**arguments: object) -> None:
        async def main() -> None:
            world = World()
            try:
                await test(world, **arguments)
            finally:
                await world.close()
            assert asyncio.all_tasks() == {asyncio.current_task()}

        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            runner.run(main())

    # Or pytest would look for a fixture with the name of the first parameter.
    signature = __import__("inspect").signature(test)
    parameters = list(signature.parameters.values())[1:]
    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return run


class FakeSocket:
    def __init__(self, world: World, token: str, since: str | None) -> None:
        self.world, self.token, self.since = world, token, since
        self.pings, self.is_closed = 0, False
        self._inbox: asyncio.Queue[str | bytes | Closed] = asyncio.Queue()
        self._unanswered: list[Callable[[], None]] = []

    async def receive(self) -> str | bytes:
        item = await self._inbox.get()
        if isinstance(item, Closed):
            raise item
        return item

    async def ping(self, on_pong: Callable[[], None]) -> None:
        self.pings += 1
        self._unanswered.append(on_pong)
        if self.world.answers_pings:
            self.pong()

    def pong(self) -> None:
        for on_pong in self._unanswered:
            asyncio.get_running_loop().call_soon(on_pong)
        self._unanswered.clear()

    async def close(self) -> None:
        self.is_closed = True

    def send(self, *messages: str | bytes) -> None:
        for message in messages:
            self._inbox.put_nowait(message)

    def end(self, code: int, text: str = "") -> None:
        self._inbox.put_nowait(Closed(code, text))


@dataclass
class World:
    """The gateway, the clocks and what the application hears."""

    tokens: list[dict[str, str]] = field(default_factory=list)
    """Requests of tokens."""
    beats: list[str] = field(default_factory=list)
    """The tokens of heartbeats."""
    sockets: list[FakeSocket] = field(default_factory=list)
    token_answer: Answer | None = None
    beat_answer: Answer | None = None
    open_answer: Answer | None = None
    """What is answered where it is not the standard."""
    mode: Any = None
    answers_pings: bool = True
    wall_shift: float = 0.0
    """How far the wall clock has been set: beyond the steady one, because the machine slept, or somebody set it."""
    notices: list[Any] = field(default_factory=list)
    statuses: list[StatusChange] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    resumes: list[Resume] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)
    ending: BaseException | None = None
    """What `async for` raised."""
    clients: list[Client] = field(default_factory=list)
    readers: list[asyncio.Task[None]] = field(default_factory=list)
    on_notice: Callable[[Notice], Awaitable[None] | None] | None = None
    hold_open: float = 0.0
    """How long a handshake takes."""

    # The gateway

    async def token(self, identity: dict[str, str]) -> Answer:
        self.tokens.append(identity)
        return self.token_answer or self.answer(200, SECRET)

    async def heartbeat(self, token: str) -> Answer:
        self.beats.append(token)
        return self.beat_answer or self.answer(200, None)

    async def open(self, token: str, rooms: tuple[str, ...], since: str | None) -> FakeSocket | Answer:
        await asyncio.sleep(self.hold_open)
        if self.open_answer is not None:
            return self.open_answer
        self.sockets.append(FakeSocket(self, token, since))
        return self.sockets[-1]

    async def gateway_close(self) -> None: ...

    def answer(self, status: int, data: object, wait: float = 0.0) -> Answer:
        reason = WaitReason("status", str(data), status=status)
        return Answer(status, True, reason, data, wait, self.mode)

    def page(self, status: int, wait: float = 0.0) -> Answer:
        """Somebody else's."""
        return Answer(status, False, WaitReason("status", "not the gateway's answer", status=status), None, wait)

    def silence(self) -> Answer:
        return Answer(0, False, WaitReason("network", "down"))

    # The application

    @property
    def socket(self) -> FakeSocket:
        return self.sockets[-1]

    @property
    def last(self) -> StatusChange:
        return self.statuses[-1]

    @property
    def client(self) -> Client:
        return self.clients[-1]

    async def start(self, *, reads: bool = True, **given: Anything) -> Client:
        """A client in room `a`, and a task that takes its notices."""
        options: dict[str, Any] = {
            "url": "http://edge.example", "rooms": ["a"], "user_id": None if "get_token" in given else "u",
            "device_id": None, "get_token": None, "durable": False, "positions": None, "heartbeat_timeout": 30.0,
            "maximum_message_bytes": 1 << 20, "ssl_context": None, "on_status": self.statuses.append,
            "on_resume": self.resumes.append, "on_gap": self.gaps.append, "on_error": self.errors.append,
        } | given
        options |= {"url": checked_url(options["url"]), "rooms": rules.checked_rooms(options["rooms"])}
        client = Client(
            Options(**options), gateway=lambda _: _FakeGateway(self), clock=self._clock, uniform=lambda: 0.5
        )
        self.clients.append(client)
        await client.__aenter__()
        if reads:
            self.read()
        await settle()
        return client

    def read(self) -> None:
        self.readers.append(asyncio.create_task(self._take(self.client)))

    async def _take(self, client: Client) -> None:
        try:
            async for notice in client:
                self.notices.append(notice.value)
                result = self.on_notice(notice) if self.on_notice is not None else None
                if result is not None:
                    await result
        except Exception as error:
            self.ending = error

    def sleep(self, seconds: float) -> None:
        """The machine sleeps: its steady clock and its timers do, too."""
        self.wall_shift += seconds

    def set_back(self, seconds: float) -> None:
        self.wall_shift -= seconds

    async def close(self) -> None:
        for client in self.clients:
            await client.close()
        for reader in self.readers:
            await reader

    def _clock(self) -> Clock:
        loop = asyncio.get_running_loop()
        return Clock(lambda: loop.time() + self.wall_shift, loop.time)


class _FakeGateway:
    def __init__(self, world: World) -> None:
        self.token, self.heartbeat, self.open = world.token, world.heartbeat, world.open

    async def close(self) -> None: ...


async def settle() -> None:
    """Lets everything happen that does not wait for time."""
    await asyncio.sleep(1e-6)


async def passes(seconds: float) -> None:
    await asyncio.sleep(seconds)
    await settle()
