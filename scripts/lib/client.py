"""A client of gateways, for scripts and tests: HTTP requests and WebSockets (PyPI `websockets`), on one asyncio loop."""

import asyncio
import time

from websockets.asyncio.client import ClientConnection, connect

ANSWER_SECONDS = 10


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
