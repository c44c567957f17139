"""Two small crowds that the load generator has no mode for: keep-alive HTTP requests, and connections that hold rooms
in which nothing happens."""

import asyncio
import json

from client import HttpConnection, open_socket
from processes import ProcessError

CONNECTIONS = 64
# On their way at the same time.
HANDSHAKES = 32


async def _get(connection, path):
    answer = await connection.get(path)
    if answer.status != 200:
        raise ProcessError(f"the gateway answered {answer.status} to {path}")
    return answer.body


async def _token(connection, number):
    return json.loads(await _get(connection, f"/get/token?isLogin=false&deviceId=bench-{number}"))["data"]


async def tokens(port, count):
    connection = HttpConnection(port)
    try:
        return [await _token(connection, number) for number in range(count)]
    finally:
        connection.close()


async def request(port, paths, count):
    """Makes `count` requests over one connection for each path, each as soon as the last is answered: no
    pipelining."""
    left = iter(range(count))

    async def one(path):
        connection = HttpConnection(port)
        try:
            for _ in left:
                await _get(connection, path)
        finally:
            connection.close()

    await asyncio.gather(*map(one, paths))


class HeldRooms:
    """Connections in two rooms each, all different, in which nothing is published. They send no heartbeats: the
    gateway must have a long --heartbeat-timeout."""

    def __init__(self, port, client_count):
        self._port, self._sockets = port, []
        self._loop = asyncio.new_event_loop()
        try:
            self._loop.run_until_complete(self._open(client_count))
        except BaseException:
            self.close()
            raise

    async def _open(self, client_count):
        left = iter(range(client_count))

        async def some():
            connection = HttpConnection(self._port)
            for number in left:
                # Addresses of their own, so that ports do not run out beside the load generator.
                address = (f"127.1.0.{1 + number // 5000}", 0)
                rooms = f"held-{2 * number},held-{2 * number + 1}"
                url = f"ws://127.0.0.1:{self._port}/ws?token={await _token(connection, number)}&roomIds={rooms}"
                self._sockets.append(await open_socket(url, local_addr=address))
            connection.close()

        await asyncio.gather(*(some() for _ in range(HANDSHAKES)))

    def close(self):
        for socket in self._sockets:
            socket.transport.abort()
        # So that the transports are closed.
        self._loop.run_until_complete(asyncio.sleep(0.1))
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.close()
