"""The client: one task that holds a connection and comes back after whatever ends it, and the iterator of notices."""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import random
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field, replace
from functools import partial
from types import TracebackType
from typing import Any, Literal, Self

from . import _rules as rules
from ._channel import Channel
from ._clock import Clock
from ._gateway import Answer, Closed, Gateway, RealGateway, Socket
from ._heartbeat import Heartbeats, Next, Over
from ._options import GetToken, Options
from ._positions import (
    Positions,
    is_behind,
    moved,
    position_time,
    read_gap,
    read_positions,
    read_resume,
    since,
)
from ._types import (
    ClosedError,
    Counts,
    Ending,
    Gap,
    HeartbeatMode,
    Notice,
    Resume,
    RoomcastError,
    RoomResume,
    Status,
    StatusChange,
    TokenRequest,
    WaitReason,
)

_logger = logging.getLogger("roomcast")


@dataclass(frozen=True, slots=True)
class _Delivery:
    """What goes to the application, in order, and which positions it moves."""

    what: Notice | Gap | Resume | None
    moves: Positions = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Pause:
    """The next attempt follows after so many seconds."""

    seconds: float
    reason: WaitReason
    code: int | None = None


class _Ended(Exception):
    """The client ends for good."""

    def __init__(self, ending: Ending, code: int | None = None, error: ClosedError | None = None) -> None:
        self.ending, self.code, self.error = ending, code, error


class Client:
    """Made by `connect`. `async with` starts and ends it; `async for` takes its notices, one task at a time."""

    def __init__(
        self,
        options: Options,
        gateway: Callable[[Options], Gateway] = RealGateway,
        clock: Callable[[], Clock] = Clock,
        uniform: Callable[[], float] = random.random,
    ) -> None:
        self._options = options
        self._make_gateway, self._make_clock, self._uniform = gateway, clock, uniform
        self._status: Status = "connecting"
        self._counts = Counts()
        self._channel: Channel[_Delivery] = Channel(rules.MAXIMUM_WAITING)
        self._is_iterated = False
        self._task: asyncio.Task[None] | None = None
        self._opening = asyncio.Event()
        """Set by the first connection and by the end."""
        self._ending: Ending = "closed"
        self._error: Exception | None = None
        """Why it has ended, if the application did not wish it."""
        # The application is behind the connection by what waits in the channel.
        self._behind = read_positions(options.positions, options.rooms)
        self._taken = dict(self._behind)
        self._asked: Positions | None = None
        """The positions at the handshake, until the first frame shows whether the node knows them."""
        self._away: float | None = None
        """For how long the client had heard no gateway when its connection opened; None: it was the first."""
        self._token: str | None = None
        self._token_reason: Literal["first", "token error", "revoked"] = "first"
        self._must_beat = False
        """Pongs did not keep the last connection, whatever the gateway said."""
        self._attempt = 0
        """Attempts since the last good connection."""
        self._opened_at = 0.0
        self._heard_at: float | None = None
        """The last moment at which this client certainly heard its gateway; None before the first connection. Never
        the moment at which something was handled, because the loop may have been busy until then."""
        self._proof: asyncio.TimerHandle | None = None
        self._was_served = False
        self._refusals = 0
        """How often the gateway has refused this client since it served it."""
        self._is_told = False
        """Whether the application knows about the present trouble."""

    # The application's side

    @property
    def status(self) -> Status:
        return self._status

    @property
    def rooms(self) -> tuple[str, ...]:
        return self._options.rooms

    @property
    def counts(self) -> Counts:
        return self._counts

    @property
    def positions(self) -> dict[str, str]:
        """A copy of the present positions, fit for JSON, empty without `durable`. They include the notice that
        `async for` gave last: store them when what it causes is stored."""
        return {room: position for room, position in self._taken.items() if position is not None}

    async def opened(self) -> None:
        """Waits until the client is connected for the first time. Raises `ClosedError` if it ends before."""
        if self._task is None:
            raise RuntimeError("use `async with` first")
        await self._opening.wait()
        if self._error is not None:
            raise self._error
        if self._heard_at is None:
            raise ClosedError(f"the client has ended: {self._ending}", self._ending, None, None)

    async def close(self) -> None:
        """Ends the client for good: when it returns, no task, timer or connection is left. A second call does
        nothing."""
        self._channel.end(discard=True)
        task = self._task
        if task is None or task.done() or task is asyncio.current_task():
            return
        task.cancel()
        # Not `await task`: if this is cancelled, the task still ends by itself.
        await asyncio.wait({task})

    async def __aenter__(self) -> Self:
        if self._task is not None:
            raise RuntimeError("a client is entered only once: connect again")
        self._clock = self._make_clock()
        self._gateway = self._make_gateway(self._options)
        self._task = asyncio.create_task(self._run(), name="roomcast")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def __aiter__(self) -> AsyncIterator[Notice]:
        return self

    async def __anext__(self) -> Notice:
        """The next notice. Raises `ClosedError` if the client has ended by itself."""
        if self._task is None:
            raise RuntimeError("use `async with` before `async for`")
        if self._is_iterated:
            raise RuntimeError("another task takes the notices of this client")
        self._is_iterated = True
        try:
            while True:
                delivery = await self._channel.take()
                if delivery is None:
                    if self._error is not None:
                        raise self._error
                    raise StopAsyncIteration
                self._taken.update(delivery.moves)
                match delivery.what:
                    case Notice() as notice:
                        self._count("notices")
                        return notice
                    case Gap() as gap:
                        await _called(self._options.on_gap, gap)
                    case Resume() as resume:
                        await _called(self._options.on_resume, resume)
        finally:
            self._is_iterated = False

    # Connecting

    async def _run(self) -> None:
        code = None
        try:
            await self._stay_connected()
        except _Ended as ended:
            self._ending, code, self._error = ended.ending, ended.code, ended.error
        except Exception as error:
            # A fault of this module. `async for` raises it.
            self._error = error
        finally:
            self._token = None
            try:
                await self._gateway.close()
            finally:
                self._channel.end()
                self._tell("closed", reason=self._ending, code=code)
                self._opening.set()

    async def _stay_connected(self) -> None:
        while True:
            # What comes next could not be taken before, and the gateway would have to close again.
            await self._channel.room()
            self._tell("connecting")
            pause = await self._connect_once()
            if pause is not None:
                self._tell("waiting", reason=pause.reason, code=pause.code, retry_in=pause.seconds)
                await asyncio.sleep(pause.seconds)

    async def _connect_once(self) -> _Pause | None:
        """Connects, and returns after the end of the connection; None: the next attempt follows at once."""
        if self._token is None:
            token = await self._take_token()
            if isinstance(token, _Pause):
                return token
            self._token, self._token_reason = token, "token error"
        options = self._options
        self._asked = dict(self._behind) if options.durable else None
        dialed_at = self._clock.now()
        where = since(self._behind, options.rooms) if options.durable else None
        socket = await self._gateway.open(self._token, options.rooms, where)
        if isinstance(socket, Answer):
            if socket.is_token_error:
                self._token = None
            # 400: something on the way has changed the handshake.
            if socket.status != 400:
                self._check_refusal(socket, "the gateway refuses the handshake")
            return self._failed(socket.reason, socket.wait)
        try:
            self._opened(dialed_at)
            return await _first(self._read(socket), self._beat(socket))
        finally:
            if self._proof is not None:
                self._proof.cancel()
                self._proof = None
            await socket.close()

    async def _take_token(self) -> str | _Pause:
        options = self._options
        if options.get_token is not None:
            return await self._ask_caller(options.get_token)
        identity = {"isLogin": "true", "userId": options.user_id or ""}
        if options.user_id is None:
            identity = {"isLogin": "false", "deviceId": options.device_id or ""}
        answer = await self._gateway.token(identity)
        if answer.is_taken and isinstance(answer.data, str) and rules.is_token(answer.data):
            self._was_served = True
            return answer.data
        self._check_refusal(answer, "no token for this client")
        return self._failed(answer.reason, answer.wait)

    async def _ask_caller(self, get_token: GetToken) -> str | _Pause:
        options = self._options
        request = TokenRequest(self._token_reason, options.rooms, options.user_id, options.device_id)
        try:
            async with asyncio.timeout(rules.GET_TOKEN) as limit:
                token = await get_token(request)
        except Exception as error:
            late = isinstance(error, TimeoutError) and limit.expired()
            words = f"get_token did not answer within {rules.GET_TOKEN:.0f} s"
            self._report(RoomcastError(words) if late else error)
        else:
            if token is None:
                raise _Ended("no token")
            if rules.is_token(token):
                return token
            self._report(TypeError("get_token must return a token (letters, digits, - and _) or None"))
        return self._failed(WaitReason("get_token", "get_token returned no token: on_error has the reason"))

    def _check_refusal(self, answer: Answer, words: str) -> None:
        """Ends the client if the gateway itself refuses it and goes on to."""
        if not answer.is_refusal:
            return
        self._refusals += 1
        if not self._was_served or self._refusals > rules.MAXIMUM_REFUSALS:
            text = f"{words}: {answer.status} {answer.data}"
            raise _Ended("refused", None, ClosedError(text, "refused", None, answer.reason))

    def _opened(self, dialed_at: float) -> None:
        now, heard_at = self._clock.now(), self._heard_at
        self._opened_at = now
        # The 101 left after the request did; when it arrived, only a loop that was never busy would know.
        self._heard_at = dialed_at
        self._is_told = False
        self._was_served = True
        self._refusals = 0
        self._away = None if heard_at is None else now - heard_at
        if heard_at is not None:
            self._count("reconnects")
        # From now on notices are missing in each room in which the next connection does not begin at a position.
        for room in self.rooms:
            self._behind.setdefault(room, None)
        self._tell("open")
        self._opening.set()
        if self._away is not None and not self._options.durable:
            self._count("gaps")
            self._channel.put_now(_Delivery(Gap(self.rooms, self._away, "reconnect")))

    def _failed(self, reason: WaitReason, wait: float = 0.0) -> _Pause:
        """An attempt or a connection has failed; a server may have asked the client to wait."""
        delay = rules.backoff(self._attempt, self._uniform)
        self._attempt += 1
        if self._attempt >= rules.TELLING_ATTEMPT and not self._is_told and rules.may_stay(reason, self._was_served):
            self._is_told = True
            self._report(RoomcastError(f"still no connection: {reason}", reason))
        return _Pause(wait + delay, reason)

    def _closed(self, closed: Closed) -> _Pause:
        if self._clock.now() - self._opened_at >= rules.STABLE:
            self._attempt = 0
        code = closed.code
        rule = rules.close_rule(code, self._options.get_token is not None)
        reason = WaitReason("close", rules.shortened(closed.text), code=code)
        if code == 4003:
            # The next token may be another user's.
            self._drop_positions()
        self._must_beat = code == 4000
        if rule.ending is not None:
            words = f"the connection was closed for good, {rule.ending}: {reason}"
            raise _Ended(rule.ending, code, ClosedError(words, rule.ending, code, reason))
        if rule.action == "new token":
            self._token, self._token_reason = None, "revoked"
        is_first = self._attempt == 0
        if rule.action == "back off":
            self._attempt = max(self._attempt, rules.CROWDED_ATTEMPT)
        delay = rules.backoff(self._attempt, self._uniform)
        self._attempt += 1
        if rule.action == "retry soon" and is_first:
            delay = self._uniform() * rules.MOVED_SPREAD
        return _Pause(delay, reason, code)

    # Heartbeats

    async def _beat(self, socket: Socket) -> _Pause | None:
        """Returns when the connection is of no use any more."""
        beats = Heartbeats(self._options.heartbeat_timeout, self._opened_at, self._uniform)
        token, step = self._token or "", beats.regular()
        # The first answer says which mode this connection's gateway is in.
        mode: HeartbeatMode = "request"
        oldest: _Ping | None = None
        while True:
            await asyncio.sleep(step.seconds)
            # Proxies on the path see traffic, and a path that died is found.
            ping = _Ping(self._clock.now(), self._channel.held_count)
            if oldest is None or oldest.pong.is_set() or not self._is_prompt(oldest.held):
                oldest = ping
            elif beats.is_too_late(oldest.sent_at, ping.sent_at):
                return self._failed(WaitReason("timeout", f"no Pong in {ping.sent_at - oldest.sent_at:.0f} s"))
            await socket.ping(partial(self._ponged, ping))
            if mode == "pong" and not self._channel.is_holding:
                if await ping.comes(beats.patience(ping.sent_at)):
                    step = beats.ponged(self._clock.now())
                elif self._is_prompt(ping.held):
                    seconds = self._clock.now() - ping.sent_at
                    return self._failed(WaitReason("timeout", f"no Pong in {seconds:.0f} s"))
                else:
                    # It lies behind notices that the application has not taken yet.
                    step = Next(0.0)
                continue
            answer = await self._gateway.heartbeat(token)
            # Nodes that name no mode count requests.
            if answer.is_taken and not self._must_beat:
                mode = answer.heartbeat or "request"
            verdict = beats.answered(answer, ping.sent_at, self._clock.now())
            if isinstance(verdict, Over):
                if verdict.is_token_lost:
                    self._token = None
                return self._failed(verdict.reason) if verdict.reason is not None else None
            step = verdict

    def _ponged(self, ping: _Ping) -> None:
        ping.pong.set()
        if self._is_prompt(ping.held):
            self._hear(ping.sent_at)
            # Its first frame would have come before.
            self._find_old_node()

    # Receiving

    async def _read(self, socket: Socket) -> _Pause:
        """Returns at the end of the connection. Waits while the application does not take notices; then the socket is
        not read, and the gateway's queue grows to its limit."""
        while True:
            try:
                message = await socket.receive()
            except Closed as closed:
                return self._closed(closed)
            self._prove()
            deliveries = self._received(message)
            for index, delivery in enumerate(deliveries):
                # If it is cancelled here, nothing has been delivered, and nothing has moved.
                if index == 0:
                    await self._channel.put(delivery)
                else:
                    self._channel.put_now(delivery)
                self._behind.update(delivery.moves)

    def _received(self, message: str | bytes) -> list[_Delivery]:
        try:
            if isinstance(message, bytes):
                raise ValueError
            value = json.loads(message)
        except (ValueError, RecursionError):
            self._count("unreadable")
            self._report(RoomcastError("a frame is not JSON"))
            return []
        moves: Positions = {}
        if self._options.durable:
            entries = read_resume(value)
            if entries is not None:
                return self._resumed(entries)
            self._find_old_node()
            move = moved(message, self._behind)
            if move is not None:
                room, position = move
                if not is_behind(position, self._behind[room]):
                    self._count("repeated")
                    return []
                moves = {room: position}
        gap = read_gap(value)
        if gap is None:
            return [_Delivery(Notice(value), moves)]
        self._count("gaps")
        return [_Delivery(Gap(*gap, "server"))]

    def _prove(self) -> None:
        """A message may have waited while the loop was busy, and the end of the connection behind it. If the
        connection still stands a second later and no timer was late, the message was handled when it arrived."""
        if self._proof is None:
            self._proof = asyncio.get_running_loop().call_later(rules.PROOF, self._proved, self._clock.now())

    def _proved(self, came: float) -> None:
        self._proof = None
        if self._clock.now() - came <= rules.PROOF + rules.PROOF_SLACK:
            self._hear(came)

    def _hear(self, moment: float) -> None:
        self._heard_at = max(self._heard_at or 0.0, moment)

    def _is_prompt(self, held: int) -> bool:
        """Whether the application has always taken what came, since `held` was the channel's count."""
        return not self._channel.is_holding and self._channel.held_count == held

    # Positions

    def _resumed(self, entries: tuple[RoomResume, ...]) -> list[_Delivery]:
        before, is_first = dict(self._behind), False
        if self._asked is not None:
            before, self._asked, is_first = self._asked, None, True
        # A node cannot know of a position that it was not given.
        dropped = {room for room, position in before.items() if position is None} if is_first else set()
        rooms = tuple(replace(entry, lost=entry.lost or entry.room in dropped) for entry in entries)
        lost = tuple(entry.room for entry in rooms if entry.lost)
        if is_first and not lost and any(before.values()):
            self._count("resumed")
        moves: Positions = {entry.room: entry.since for entry in entries if entry.room in self._behind}
        deliveries = [_Delivery(Resume(rooms), moves)]
        if lost:
            deliveries.append(_Delivery(self._loss(lost, before, is_first)))
        return deliveries

    def _find_old_node(self) -> None:
        """No `resume` came first: this node ignores positions, and sends live notices only."""
        if self._asked is None:
            return
        before, self._asked = self._asked, None
        self._drop_positions()
        if before:
            self._channel.put_now(_Delivery(self._loss(tuple(before), before, True)))

    def _drop_positions(self) -> None:
        self._behind = dict.fromkeys(self._behind)
        self._channel.put_now(_Delivery(None, dict(self._behind)))

    def _loss(self, rooms: tuple[str, ...], before: Positions, is_first: bool) -> Gap:
        """What is missing in a room is newer than its position. A node may have been cut off from Redis while it
        answered, so the time without a gateway alone would be too short."""
        away = self._away if is_first else 0.0
        wall = self._clock.wall()
        ages = [wall - position_time(before.get(room)) for room in rooms if before.get(room) or away is None]
        self._count("lost")
        self._count("gaps")
        return Gap(rooms, max(away or 0.0, 0.0, *ages), "resume")

    # Reporting

    def _count(self, name: str) -> None:
        self._counts = replace(self._counts, **{name: getattr(self._counts, name) + 1})

    def _tell(
        self,
        status: Status,
        *,
        reason: WaitReason | Ending | None = None,
        code: int | None = None,
        retry_in: float | None = None,
    ) -> None:
        previous, self._status = self._status, status
        if self._options.on_status is None:
            return
        try:
            self._options.on_status(StatusChange(status, previous, reason, code, retry_in))
        except Exception as error:
            self._report(error)

    def _report(self, error: Exception) -> None:
        if self._options.on_error is None:
            _logger.error("%s", error)
            return
        try:
            self._options.on_error(error)
        except Exception:
            _logger.exception("on_error failed")


@dataclass(slots=True)
class _Ping:
    sent_at: float
    held: int
    """The channel's count when it was sent."""
    pong: asyncio.Event = field(default_factory=asyncio.Event)

    async def comes(self, patience: float) -> bool:
        """Whether the Pong comes in time."""
        try:
            async with asyncio.timeout(patience):
                await self.pong.wait()
        except TimeoutError:
            pass
        return self.pong.is_set()


async def _first(*coroutines: Coroutine[Any, Any, _Pause | None]) -> _Pause | None:
    """The result of the first that ends. The others are cancelled, and have ended when this returns."""
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return next(task.result() for task in tasks if not task.cancelled())


async def _called(callback: Callable[[Any], Any] | None, argument: object) -> None:
    if callback is not None:
        result = callback(argument)
        if inspect.isawaitable(result):
            await result
