"""A client of gateways and of Redis, for scripts and tests: HTTP requests, WebSockets (PyPI `websockets`), commands.
All on one asyncio loop."""

import asyncio
import ssl
import time
from collections import deque

from websockets.asyncio.client import ClientConnection, connect

ANSWER_SECONDS = 10
RETRY_SECONDS = 0.05


# HTTP

class Answer:
    def __init__(self, version, status, headers, body):
        self.version, self.status, self.headers, self.body = version, status, headers, body


async def read_head(reader):
    """Version, status and headers of the next answer of a connection; EOFError when there is no whole head."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    version, status, *_ = head[0].split(" ", 2)
    headers = {}
    for line in head[1:]:
        name, _, value = line.partition(":")
        if name:
            headers[name.lower()] = value.strip()
    return version, int(status), headers


async def read_answer(reader):
    """The next answer of a connection; EOFError when there is no whole one."""
    version, status, headers = await read_head(reader)
    has_body = status >= 200 and status not in (204, 304)
    body = await reader.readexactly(int(headers["content-length"])) if has_body else b""
    return Answer(version, status, headers, body)


class HttpConnection:
    """A connection that is kept; opened with the first request, after each failure and when the server has closed it."""

    def __init__(self, port, seconds=ANSWER_SECONDS):
        self._port, self._seconds = port, seconds
        self._reader = self._writer = None

    async def get(self, target):
        """The answer; OSError, EOFError or TimeoutError when there is no whole one. A kept connection may have been
        closed meanwhile: then the request is sent once more."""
        while True:
            is_kept = self._writer is not None
            try:
                async with asyncio.timeout(self._seconds):
                    if not is_kept:
                        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
                    self._writer.write(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
                    answer = await read_answer(self._reader)
            except (ConnectionError, EOFError):
                self.close()
                if not is_kept:
                    raise
                continue
            except BaseException:
                self.close()
                raise
            if "close" in answer.headers.get("connection", ""):
                self.close()
            return answer

    def close(self):
        if self._writer is not None:
            self._writer.close()
            self._reader = self._writer = None


async def get(port, target):
    """One request over a connection of its own: status and body."""
    connection = HttpConnection(port)
    try:
        answer = await connection.get(target)
        return answer.status, answer.body
    finally:
        connection.close()


# WebSocket

class WebSocket(ClientConnection):
    """Notes when the Close frame comes: `recv` tells only when the closing handshake is over."""

    close_came = None
    on_close = None

    def data_received(self, data):
        super().data_received(data)
        if self.close_came is None and self.protocol.close_rcvd is not None:
            self.close_came = time.monotonic()
            if self.on_close is not None:
                self.on_close()


def open_socket(url, compression=None, **options):
    """To be awaited. Nothing is held back, asked or compressed that the server or the caller did not want."""
    return connect(url, compression=compression, ping_interval=None, max_size=None, max_queue=None, proxy=None,
                   user_agent_header=None, create_connection=WebSocket, **options)


# Redis

class RedisRefusal(Exception):
    """An error reply."""


def encode(words):
    parts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)


async def read_reply(reader):
    """The next reply: a number, text of a status, bytes, None or a list. An error within is an object, not raised."""
    line = await reader.readline()
    if not line.endswith(b"\r\n"):
        raise EOFError("Redis has closed the connection")
    kind, text = line[:1], line[1:-2]
    if kind == b"-":
        return RedisRefusal(text.decode())
    if kind == b":":
        return int(text)
    if kind == b"+":
        return text.decode()
    if int(text) < 0:
        return None
    if kind == b"$":
        return (await reader.readexactly(int(text) + 2))[:-2]
    return [await read_reply(reader) for _ in range(int(text))]


class RedisSession:
    """A connection that is made again when it is lost: `run` keeps it until it is cancelled. Commands are pipelined;
    those that wait when it is lost fail."""

    def __init__(self, port, user, password, authority=None):
        """`authority`: of the server's certificate; without one there is no TLS."""
        self._port, self._user, self._password = port, user, password
        self._security = ssl.create_default_context(cafile=authority) if authority else None
        self._writer = None
        self._waiting = deque()

    @property
    def is_up(self):
        return self._writer is not None

    def send(self, *words):
        """Sends a command at once; the future has its reply, or RedisRefusal, or ConnectionError."""
        future = asyncio.get_running_loop().create_future()
        if self._writer is None:
            self._fail(future, ConnectionError("no connection to Redis"))
            return future
        self._waiting.append(future)
        self._writer.write(encode(words))
        return future

    @staticmethod
    def _fail(future, error):
        future.set_exception(error)
        # Whoever does not look at it has lost nothing.
        future.exception()

    async def run(self):
        while True:
            try:
                await self._serve()
            except (OSError, EOFError, RedisRefusal):
                pass
            await asyncio.sleep(RETRY_SECONDS)

    async def _serve(self):
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port, ssl=self._security)
        try:
            writer.write(encode(["AUTH", self._user, self._password]))
            reply = await read_reply(reader)
            if isinstance(reply, RedisRefusal):
                raise reply
            self._writer = writer
            while True:
                reply = await read_reply(reader)
                future = self._waiting.popleft()
                if future.done():
                    continue
                if isinstance(reply, RedisRefusal):
                    self._fail(future, reply)
                else:
                    future.set_result(reply)
        finally:
            self._writer = None
            writer.close()
            while self._waiting:
                future = self._waiting.popleft()
                if not future.done():
                    self._fail(future, ConnectionError("the connection to Redis was lost"))
