"""Requests as a client of the gateways makes them: one line, an answer with a length."""

import asyncio

ANSWER_SECONDS = 10


class HttpConnection:
    """A connection that is kept; opened with the first request and after each failure."""

    def __init__(self, port):
        self._port = port
        self._reader = self._writer = None

    async def get(self, target):
        """(status, body); OSError, EOFError or TimeoutError when there is no whole answer."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                if self._writer is None:
                    self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
                self._writer.write(f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
                return await self._answer()
        except BaseException:
            self.close()
            raise

    async def _answer(self):
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        length, is_kept = 0, True
        for line in head[1:]:
            name, _, value = line.partition(":")
            if name.lower() == "content-length":
                length = int(value)
            elif name.lower() == "connection" and "close" in value.lower():
                is_kept = False
        body = await self._reader.readexactly(length)
        if not is_kept:
            self.close()
        return int(head[0].split(" ", 2)[1]), body

    def close(self):
        if self._writer is not None:
            self._writer.close()
            self._reader = self._writer = None


async def get(port, target):
    """One request over a connection of its own."""
    connection = HttpConnection(port)
    try:
        return await connection.get(target)
    finally:
        connection.close()
