"""A WebSocket client's side of RFC 6455, as far as a gateway that only sends needs it."""

import asyncio
import base64
import os
import socket

HANDSHAKE_SECONDS = 12
CLOSE_SECONDS = 6
# Small, so that who stops to read is soon behind.
SLOW_RECEIVE_BUFFER_BYTES = 8192


class Refused(Exception):
    """The handshake was answered by something else than 101."""

    def __init__(self, status, body):
        super().__init__(f"{status} {body}")
        self.status, self.body = status, body


def client_frame(opcode, payload):
    mask = os.urandom(4)
    masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
    return bytes([0x80 | opcode, 0x80 | len(payload)]) + mask + masked


class Connection(asyncio.Protocol):
    """`on_open()` at the 101, `on_message(payload)` for each text frame, `on_end(code)` once (None: no Close)."""

    def __init__(self, target, on_open, on_message, on_end):
        self._target = target
        self._on_open, self._on_message, self._on_end = on_open, on_message, on_end
        self._pending = b""
        self._is_open = False
        self._has_ended = False
        loop = asyncio.get_running_loop()
        self.opened = loop.create_future()
        self.closed = loop.create_future()
        self.transport = None
        # Seconds between two reads of a client that reads slowly.
        self.pause_seconds = 0.0

    @classmethod
    async def open(cls, port, target, on_open, on_message, on_end, is_slow=False):
        """Returns when the 101 is there. Raises Refused, OSError or EOFError."""
        loop = asyncio.get_running_loop()
        end = socket.socket()
        end.setblocking(False)
        if is_slow:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SLOW_RECEIVE_BUFFER_BYTES)
        connection = None
        try:
            async with asyncio.timeout(HANDSHAKE_SECONDS):
                await loop.sock_connect(end, ("127.0.0.1", port))
                _, connection = await loop.create_connection(
                    lambda: cls(target, on_open, on_message, on_end), sock=end)
                await connection.opened
        except BaseException:
            if connection is not None and connection.transport is not None:
                connection.transport.abort()
            else:
                end.close()
            raise
        return connection

    # Callbacks of the loop

    def connection_made(self, transport):
        self.transport = transport
        key = base64.b64encode(os.urandom(16)).decode()
        transport.write((
            f"GET {self._target} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n").encode())

    def data_received(self, data):
        buffer = self._pending + data if self._pending else data
        if not self._is_open:
            buffer = self._read_answer(buffer)
            if not self._is_open:
                self._pending = buffer
                return
        at = 0
        while len(buffer) - at >= 2 and not self._has_ended:
            length, start = buffer[at + 1], at + 2
            if length == 126:
                length, start = int.from_bytes(buffer[start:start + 2]), start + 2
            elif length == 127:
                length, start = int.from_bytes(buffer[start:start + 8]), start + 8
            if start + length > len(buffer):
                break
            self._frame(buffer[at], buffer[start:start + length])
            at = start + length
        self._pending = buffer[at:]
        if self.pause_seconds > 0 and not self.transport.is_closing():
            self.transport.pause_reading()
            asyncio.get_running_loop().call_later(self.pause_seconds, self.resume)

    def connection_lost(self, error):
        if not self.opened.done():
            self.opened.set_exception(EOFError("the connection ended before the 101"))
            self.opened.exception()
        elif self._is_open:
            self._end(None)
        if not self.closed.done():
            self.closed.set_result(None)

    # What came

    def _read_answer(self, buffer):
        """The bytes after a 101; all of them while the answer is not complete."""
        head, separator, rest = buffer.partition(b"\r\n\r\n")
        if not separator:
            return buffer
        status = int(head.split(b" ", 2)[1])
        if status == 101:
            self._is_open = True
            self._on_open()
            self.opened.set_result(None)
            return rest
        if not self.opened.done():
            # The body may come later; a refusal is told by its status, a 500 by its body, which is short.
            if not rest:
                return buffer
            self.opened.set_exception(Refused(status, rest.decode("latin-1")))
        return b""

    def _frame(self, head, payload):
        if head == 0x81:
            self._on_message(payload)
        elif head == 0x88:
            self.transport.write(client_frame(8, payload[:2]))
            self._end(int.from_bytes(payload[:2]) if len(payload) >= 2 else 1005)
            self.transport.close()
        elif head == 0x89:
            self.transport.write(client_frame(10, payload))
        else:
            # Nothing else belongs here; no notice is empty.
            self._on_message(b"")

    def _end(self, code):
        if not self._has_ended:
            self._has_ended = True
            self._on_end(code)

    # What the client does

    def pause(self):
        self.transport.pause_reading()

    def resume(self):
        if not self.transport.is_closing():
            self.transport.resume_reading()

    async def leave(self):
        """Says goodbye and waits for the end."""
        self.transport.write(client_frame(8, (1000).to_bytes(2)))
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await asyncio.shield(self.closed)
        except TimeoutError:
            self.transport.abort()

    def abort(self):
        self.transport.abort()
