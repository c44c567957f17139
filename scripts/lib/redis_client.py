"""A client of Redis, for scripts and tests: commands and replies, and a session that outlives its connections."""

import asyncio
import ssl
from collections import deque

RETRY_SECONDS = 0.05


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
        self.connection_count = 0

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
            self.connection_count += 1
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
