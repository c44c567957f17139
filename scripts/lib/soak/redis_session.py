"""A connection to Redis that is made again when it is lost. Commands are pipelined; those that wait then fail."""

import asyncio
from collections import deque

RETRY_SECONDS = 0.05


class RedisRefusal(Exception):
    """An error reply."""


def encode(words):
    parts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)


class RedisSession:
    """Logs in as `user`; `run` keeps the connection until it is cancelled."""

    def __init__(self, port, user, password):
        self._port, self._user, self._password = port, user, password
        self._writer = None
        self._waiting = deque()

    @property
    def is_up(self):
        return self._writer is not None

    def send(self, *words):
        """Sends a command at once; the future has its reply, or ConnectionError."""
        future = asyncio.get_running_loop().create_future()
        if self._writer is None:
            future.set_exception(ConnectionError("no connection to Redis"))
            # Whoever does not look at it has lost nothing.
            future.exception()
            return future
        self._waiting.append(future)
        self._writer.write(encode(words))
        return future

    async def run(self):
        while True:
            try:
                await self._serve()
            except (OSError, EOFError, RedisRefusal):
                pass
            await asyncio.sleep(RETRY_SECONDS)

    async def _serve(self):
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            writer.write(encode(["AUTH", self._user, self._password]))
            await self._read(reader)
            self._writer = writer
            while True:
                try:
                    reply = await self._read(reader)
                except RedisRefusal as refusal:
                    reply = refusal
                future = self._waiting.popleft()
                if future.done():
                    continue
                if isinstance(reply, RedisRefusal):
                    future.set_exception(reply)
                    future.exception()
                else:
                    future.set_result(reply)
        finally:
            self._writer = None
            writer.close()
            while self._waiting:
                future = self._waiting.popleft()
                if not future.done():
                    future.set_exception(ConnectionError("the connection to Redis was lost"))
                    future.exception()

    async def _read(self, reader):
        line = await reader.readline()
        if not line.endswith(b"\r\n"):
            raise EOFError("Redis has closed the connection")
        kind, text = line[:1], line[1:-2]
        if kind == b"-":
            raise RedisRefusal(text.decode())
        if kind == b":":
            return int(text)
        if kind == b"$":
            return None if text == b"-1" else (await reader.readexactly(int(text) + 2))[:-2]
        return text
