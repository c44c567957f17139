"""A client's WebSocket, which may read slowly or not at all, and end without a goodbye."""

import asyncio
import socket
import time

from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from client import open_socket

HANDSHAKE_SECONDS = 12
CLOSE_SECONDS = 6
# Small, so that who stops to read is soon behind.
SLOW_RECEIVE_BUFFER_BYTES = 8192


class Refused(Exception):
    """The handshake was answered by something else than 101."""

    def __init__(self, status, body):
        super().__init__(f"{status} {body}")
        self.status, self.body = status, body


class Connection:
    """`on_open()` at the 101, `on_message(payload)` for each frame, `on_end(code, at)` once (None: no Close)."""

    @classmethod
    async def open(cls, port, target, on_open, on_message, on_end, is_slow=False):
        """Returns when the 101 is there. Raises Refused, OSError or EOFError."""
        end = socket.socket()
        end.setblocking(False)
        if is_slow:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SLOW_RECEIVE_BUFFER_BYTES)
        try:
            async with asyncio.timeout(HANDSHAKE_SECONDS):
                await asyncio.get_running_loop().sock_connect(end, ("127.0.0.1", port))
                web_socket = await open_socket(
                    f"ws://127.0.0.1:{port}{target}", sock=end, open_timeout=None, close_timeout=CLOSE_SECONDS)
        except InvalidStatus as refusal:
            answer = refusal.response
            raise Refused(answer.status_code, (answer.body or b"").decode("latin-1")) from None
        except InvalidHandshake as error:
            raise EOFError(str(error)) from None
        except BaseException:
            end.close()
            raise
        return cls(web_socket, on_open, on_message, on_end)

    def __init__(self, web_socket, on_open, on_message, on_end):
        self._web_socket = web_socket
        self._on_message, self._on_end = on_message, on_end
        # Seconds between two reads of a client that reads slowly.
        self.pause_seconds = 0.0
        on_open()
        self.closed = asyncio.create_task(self._receive())

    async def _receive(self):
        try:
            while True:
                self._on_message(await self._web_socket.recv(decode=False))
                if self.pause_seconds > 0:
                    self.pause()
                    asyncio.get_running_loop().call_later(self.pause_seconds, self.resume)
        except ConnectionClosed as closed:
            self._on_end(closed.rcvd.code if closed.rcvd else None, self._web_socket.close_came or time.monotonic())

    def pause(self):
        if not self._web_socket.transport.is_closing():
            self._web_socket.transport.pause_reading()

    def resume(self):
        if not self._web_socket.transport.is_closing():
            self._web_socket.transport.resume_reading()

    async def leave(self):
        """Says goodbye and waits for the end."""
        await self._web_socket.close(1000)

    def abort(self):
        self._web_socket.transport.abort()
