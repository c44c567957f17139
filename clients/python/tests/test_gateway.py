"""What goes over the wire and what comes back, against a server that answers as the test says: another program in
front of the gateway, answers that are late, long or malformed, and where tokens may stand."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.utils import accept_key

from roomcast import _gateway
from roomcast._gateway import Answer, Closed, RealGateway, Socket
from roomcast._options import Options, checked_url

SECRET = "secret-token_0123456789A"


def options(port: int, path: str = "") -> Options:
    return Options(
        checked_url(f"http://127.0.0.1:{port}{path}"), ("a b", "ü&c"), "u", None, None, False, None, 30, 1000, None,
        None, None, None, None,
    )


class Server:
    """Answers each request with the same bytes, and keeps the heads."""

    def __init__(self) -> None:
        self.answer = b""
        self.heads: list[str] = []
        self.port = 0

    def says(self, status: int, body: str, content_type: str = "application/json", **fields: str) -> None:
        lines = [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
        lines += [f"Content-Type: {content_type}", f"Content-Length: {len(body.encode())}", "Connection: close"]
        self.answer = "\r\n".join([f"HTTP/1.1 {status} x", *lines, "", body]).encode()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            self.heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
            writer.write(self.answer)
            await writer.drain()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


@asynccontextmanager
async def meeting(path: str = "") -> AsyncIterator[tuple[Server, RealGateway]]:
    server = Server()
    listener = await asyncio.start_server(server.accept, "127.0.0.1", 0)
    server.port = listener.sockets[0].getsockname()[1]
    gateway = RealGateway(options(server.port, path))
    try:
        yield server, gateway
    finally:
        await gateway.close()
        listener.close()


async def test_tokens_are_asked_for_with_everything_escaped() -> None:
    async with meeting("/push//") as (server, gateway):
        server.says(200, json.dumps({"data": SECRET}), Roomcast_Heartbeat="pong")
        answer = await gateway.token({"isLogin": "true", "userId": "a&b=ü+"})
        assert (answer.data, answer.is_taken, answer.heartbeat) == (SECRET, True, "pong")
        assert server.heads[0].startswith("GET /push/get/token?isLogin=true&userId=a%26b%3D%C3%BC%2B HTTP/1.1\r\n")


async def test_a_token_is_in_no_url_and_no_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with meeting() as (server, gateway):
        server.says(200, "{}")
        assert (await gateway.heartbeat(SECRET)).is_taken
        server.says(500, '{"data":"Token error"}')
        answer = await gateway.open(SECRET, ("a b", "ü&c"), "x.1-1,")
        assert isinstance(answer, Answer) and answer.is_token_error
        beat, handshake = server.heads
        assert beat.startswith("GET /heartbeat HTTP/1.1\r\n")
        assert f"authorization: bearer {SECRET}\r\n".lower() in beat.lower()
        assert handshake.startswith("GET /ws?roomIds=a%20b,%C3%BC%26c&since=x.1-1, HTTP/1.1\r\n")
        assert f"Sec-WebSocket-Protocol: roomcast, token.{SECRET}\r\n" in handshake
        # Both ends that fail say why.
        server.answer = b"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
        refusals = [answer, await gateway.open(SECRET, ("a",), None)]
        server.answer = b""
        refusals += [await gateway.open(SECRET, ("a",), None), await gateway.heartbeat(SECRET)]
        assert [it.reason.kind for it in refusals if isinstance(it, Answer)] == [
            "status", "handshake", "network", "network",
        ]
    assert SECRET not in caplog.text + repr(refusals)


@pytest.mark.parametrize(
    ("status", "body", "content_type", "is_gateways", "detail"),
    [
        (401, '{"data":"Issue key required"}', "application/json", True, "Issue key required"),
        (401, '{"data":"Issue key required"}', "application/json; charset=utf-8", True, "Issue key required"),
        (401, '{"data":"x"}', "text/html", False, "not the gateway's answer"),
        (401, '{"error":"x"}', "application/json", False, "not the gateway's answer"),
        (401, "[]", "application/json", False, "not the gateway's answer"),
        (401, "{", "application/json", False, "not the gateway's answer"),
        (401, "[" * 60_000, "application/json", False, "not the gateway's answer"),
        (200, "<h1>Sign in</h1>", "text/html", False, "not the gateway's answer"),
        (200, "{}", "application/json", True, "not expected"),
        (200, '{"data":"' + "x" * 100_000 + '"}', "application/json", False, "not the gateway's answer"),
        (403, '{"data":"' + "x" * 1000 + '"}', "application/json", True, "x" * 200),
    ],
)
async def test_only_the_form_of_the_api_is_the_gateways(
    status: int, body: str, content_type: str, is_gateways: bool, detail: str
) -> None:
    async with meeting() as (server, gateway):
        server.says(status, body, content_type)
        answer = await gateway.token({})
        assert (answer.status, answer.is_gateways, answer.reason.detail) == (status, is_gateways, detail)
        if len(body) < 60_000 and status != 200:
            answered = await gateway.open(SECRET, ("a",), None)
            assert isinstance(answered, Answer)
            assert (answered.status, answered.is_gateways, answered.reason.detail) == (status, is_gateways, detail)


async def test_an_answer_says_its_detail_and_how_long_to_wait() -> None:
    async with meeting() as (server, gateway):
        server.says(503, '{"data":"service unavailable"}', Retry_After="7", Roomcast_Detail="Redis is away")
        for answer in (await gateway.token({}), await gateway.open(SECRET, ("a",), None)):
            assert isinstance(answer, Answer)
            assert (answer.wait, answer.reason.detail, answer.heartbeat) == (7, "Redis is away", None)
        server.says(500, '{"data":"x"}', Retry_After="7")
        assert (await gateway.token({})).wait == 0, "only 429 and 503 are about load"


async def test_a_redirect_is_followed_without_the_token_to_another_place() -> None:
    async with meeting() as (server, gateway), meeting() as (other, _):
        server.says(302, "", Location=f"http://127.0.0.1:{other.port}/elsewhere")
        other.says(200, "{}")
        assert (await gateway.heartbeat(SECRET)).is_taken
        assert SECRET not in other.heads[0]


async def test_an_answer_that_does_not_come_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_gateway, "REQUEST", 0.05)
    monkeypatch.setattr(_gateway, "OPENING", 0.05)

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    listener = await asyncio.start_server(accept, "127.0.0.1", 0)
    gateway = RealGateway(options(listener.sockets[0].getsockname()[1]))
    for answer in (await gateway.token({}), await gateway.open(SECRET, ("a",), None)):
        assert isinstance(answer, Answer)
        assert answer.reason.kind == "timeout"
    await gateway.close()
    listener.close()


async def test_nothing_that_listens_is_a_network_that_is_down() -> None:
    gateway = RealGateway(options(1))
    for answer in (await gateway.token({}), await gateway.open(SECRET, ("a",), None)):
        assert isinstance(answer, Answer)
        assert (answer.reason.kind, answer.status) == ("network", 0)
        assert answer.reason.detail
    await gateway.close()


@asynccontextmanager
async def connected(handle: Callable[[ServerConnection], object]) -> AsyncIterator[Socket]:
    async def handler(connection: ServerConnection) -> None:
        result = handle(connection)
        if asyncio.iscoroutine(result):
            await result
        await connection.wait_closed()

    async with serve(handler, "127.0.0.1", 0, subprotocols=["roomcast"]) as server:  # type: ignore[list-item]
        gateway = RealGateway(options(next(iter(server.sockets)).getsockname()[1]))
        socket = await gateway.open(SECRET, ("a",), None)
        assert not isinstance(socket, Answer), socket
        try:
            yield socket
        finally:
            await socket.close()
            await gateway.close()


async def test_messages_and_the_close_come_in_order() -> None:
    async def handle(connection: ServerConnection) -> None:
        assert connection.subprotocol == "roomcast"
        await connection.send("1")
        await connection.send(b"2")
        await connection.close(4001, "replaced")

    async with connected(handle) as socket:
        assert [await socket.receive(), await socket.receive()] == ["1", b"2"]
        for _ in range(2):
            with pytest.raises(Closed) as closed:
                await socket.receive()
            assert (closed.value.code, closed.value.text) == (4001, "replaced")
        await socket.ping(lambda: None)


async def test_a_pong_is_told() -> None:
    async with connected(lambda _: None) as socket:
        came = asyncio.Event()
        await socket.ping(came.set)
        receiving = asyncio.create_task(socket.receive())
        await asyncio.wait_for(came.wait(), 60)
        receiving.cancel()


async def test_an_end_without_a_close_is_1006_and_no_pong() -> None:
    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        key = head.partition("Sec-WebSocket-Key: ")[2].partition("\r\n")[0]
        answer = f"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {accept_key(key)}\r\n\r\n"
        writer.write(f"HTTP/1.1 101 x\r\n{answer}".encode())
        # The Ping; its Pong never comes.
        await reader.read(1)
        writer.transport.abort()

    listener = await asyncio.start_server(accept, "127.0.0.1", 0)
    gateway = RealGateway(options(listener.sockets[0].getsockname()[1]))
    socket = await gateway.open(SECRET, ("a",), None)
    assert not isinstance(socket, Answer)
    ponged: list[int] = []
    await socket.ping(lambda: ponged.append(1))
    with pytest.raises(Closed) as closed:
        await socket.receive()
    assert closed.value.code == 1006
    await socket.close()
    await gateway.close()
    listener.close()
    await asyncio.sleep(0)
    assert ponged == []


async def test_a_frame_that_is_too_large_is_1009() -> None:
    async with connected(lambda connection: connection.send("x" * 1001)) as socket:
        with pytest.raises(Closed) as closed:
            await socket.receive()
        assert closed.value.code == 1009


def test_the_package_is_typed() -> None:
    assert Path(_gateway.__file__).with_name("py.typed").exists()
