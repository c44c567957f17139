"""A gateway's endpoints for clients: tokens and heartbeats over HTTP, and the WebSocket."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol
from urllib.parse import quote, urlencode

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI
from websockets.typing import Subprotocol

from ._options import Options
from ._rules import CLOSING, MAXIMUM_ANSWER_BYTES, OPENING, REQUEST, retry_after, shortened
from ._types import HeartbeatMode, WaitReason

# At level DEBUG it would log handshakes, and with them tokens; so it keeps to INFO unless an application insists.
_wire_logger = logging.getLogger("roomcast.wire")
_wire_logger.setLevel(logging.INFO)


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer, or none (status 0)."""

    status: int
    is_gateways: bool
    """It has the form of the API's answers; any other comes from something in front of the gateway."""
    reason: WaitReason
    """How to report it if it is a failure."""
    data: object = None
    """None if it is not the gateway's."""
    wait: float = 0.0
    """The seconds that it asks for."""
    heartbeat: HeartbeatMode | None = None
    """What `Roomcast-Heartbeat` says."""

    @property
    def is_taken(self) -> bool:
        return self.is_gateways and self.status == 200

    @property
    def is_token_error(self) -> bool:
        return self.status == 500 and str(self.data).lower() == "token error"

    @property
    def is_refusal(self) -> bool:
        """Whether the gateway itself would give the same answer again."""
        return self.is_gateways and 400 <= self.status < 500 and self.status not in (408, 429)

    @property
    def shows_gateway(self) -> bool:
        """Whether it shows that the gateway is reachable; the page of a portal does not (511: RFC 6585)."""
        return self.is_gateways or self.status == 429 or (self.status >= 500 and self.status != 511)


class Closed(Exception):
    """The end of a WebSocket."""

    def __init__(self, code: int, text: str = "") -> None:
        self.code, self.text = code, text


class Socket(Protocol):
    """An open WebSocket."""

    async def receive(self) -> str | bytes:
        """The next message. Raises `Closed`."""

    async def ping(self, on_pong: Callable[[], None]) -> None:
        """Sends a Ping, and calls `on_pong` when its Pong or that of a later one is there."""

    async def close(self) -> None:
        """Says goodbye, and waits for the end for a short time."""


class Gateway(Protocol):
    async def token(self, identity: dict[str, str]) -> Answer: ...

    async def heartbeat(self, token: str) -> Answer: ...

    async def open(self, token: str, rooms: tuple[str, ...], since: str | None) -> Socket | Answer:
        """The open WebSocket, or why there is none."""

    async def close(self) -> None: ...


class RealGateway:
    """The token is in no URL: the handshake has it as a subprotocol, a heartbeat in `Authorization`."""

    def __init__(self, options: Options) -> None:
        self._base = options.url
        self._maximum_message_bytes = options.maximum_message_bytes
        # One for both, or each library would trust authorities of its own.
        self._ssl = options.ssl_context or ssl.create_default_context()
        self._http = httpx.AsyncClient(
            verify=self._ssl,
            timeout=None,
            follow_redirects=True,
            limits=httpx.Limits(max_connections=2, max_keepalive_connections=1),
        )

    async def token(self, identity: dict[str, str]) -> Answer:
        return await self._request("get/token", identity, {})

    async def heartbeat(self, token: str) -> Answer:
        return await self._request("heartbeat", {}, {"Authorization": f"Bearer {token}"})

    async def open(self, token: str, rooms: tuple[str, ...], since: str | None) -> Socket | Answer:
        query = {"roomIds": ",".join(rooms)} | ({} if since is None else {"since": since})
        address = self._base.replace("http", "ws", 1)
        try:
            connection = await connect(
                f"{address}/ws?{urlencode(query, safe=',', quote_via=quote)}",
                subprotocols=[Subprotocol("roomcast"), Subprotocol(f"token.{token}")],
                ssl=self._ssl if self._base.startswith("https:") else None,
                open_timeout=OPENING,
                close_timeout=CLOSING,
                # The client pings by itself: it knows when the application does not read.
                ping_interval=None,
                max_size=self._maximum_message_bytes,
                logger=_wire_logger,
            )
        except InvalidStatus as error:
            fields = error.response.headers
            return _answer(
                error.response.status_code,
                lambda name: next(iter(fields.get_all(name)), None),
                error.response.body or b"",
            )
        except TimeoutError:
            return _no_answer("timeout", f"no handshake in {OPENING:.0f} s")
        except OSError as error:
            return _no_answer("network", _words(error))
        except (InvalidHandshake, InvalidURI, EOFError) as error:
            if isinstance(error, EOFError) or isinstance(error.__cause__, EOFError):
                return _no_answer("network", "the connection ended during the handshake")
            # The error may quote what was sent.
            return _no_answer("handshake", f"the answer is not that of a WebSocket ({type(error).__name__})")
        return RealSocket(connection)

    async def close(self) -> None:
        await self._http.aclose()

    async def _request(self, path: str, query: dict[str, str], headers: dict[str, str]) -> Answer:
        try:
            async with (
                asyncio.timeout(REQUEST),
                self._http.stream("GET", f"{self._base}/{path}", params=query, headers=headers) as response,
            ):
                return _answer(response.status_code, response.headers.get, await _body(response))
        except TimeoutError:
            return _no_answer("timeout", f"no answer in {REQUEST:.0f} s")
        except (httpx.HTTPError, OSError) as error:
            return _no_answer("network", _words(error))


class RealSocket:
    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    async def receive(self) -> str | bytes:
        try:
            return await self._connection.recv()
        except ConnectionClosed as error:
            if error.rcvd is not None:
                raise Closed(error.rcvd.code, error.rcvd.reason) from None
            # What this side found wrong would be wrong again.
            if error.sent is not None and error.sent.code in (1002, 1007, 1009):
                raise Closed(error.sent.code, error.sent.reason) from None
            raise Closed(1006) from None

    async def ping(self, on_pong: Callable[[], None]) -> None:
        try:
            pong = asyncio.ensure_future(await self._connection.ping())
        except ConnectionClosed:
            # `receive` reports the end.
            return
        pong.add_done_callback(lambda done: None if done.cancelled() or done.exception() else on_pong())

    async def close(self) -> None:
        await self._connection.close()


async def _body(response: httpx.Response) -> bytes:
    """Empty if it is not of interest: the page of an ingress may be long."""
    body = b""
    if _is_json(response.headers.get("content-type")):
        async for piece in response.aiter_bytes():
            body += piece
            if len(body) > MAXIMUM_ANSWER_BYTES:
                return b""
    return body


def _is_json(content_type: str | None) -> bool:
    return re.match(r"application/json *(;|$)", content_type or "", re.I) is not None


def _answer(status: int, field: Callable[[str], str | None], content: bytes) -> Answer:
    """An ingress, a portal or a firewall in front of the gateway speaks HTTP, too."""
    body = None
    if _is_json(field("content-type")):
        with contextlib.suppress(ValueError, RecursionError):
            body = json.loads(content)
    is_gateways = isinstance(body, dict) and (status == 200 or isinstance(body.get("data"), str))
    data = body.get("data") if is_gateways and isinstance(body, dict) else None
    said = (field("roomcast-detail") or data or "not expected") if is_gateways else "not the gateway's answer"
    mode = (field("roomcast-heartbeat") or "").strip().lower()
    return Answer(
        status,
        is_gateways,
        WaitReason("status", shortened(str(said)), status=status),
        data,
        retry_after(field("retry-after")) if status in (429, 503) else 0.0,
        "pong" if mode == "pong" else "request" if mode == "request" else None,
    )


def _no_answer(kind: Literal["timeout", "network", "handshake"], detail: str) -> Answer:
    return Answer(0, False, WaitReason(kind, shortened(detail)))


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__
