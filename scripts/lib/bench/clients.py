"""Two small crowds that the load generator has no mode for: keep-alive HTTP requests, and connections that hold rooms
in which nothing happens."""

import asyncio
import json

from client import HttpConnection, open_socket
from processes import ProcessError
from redis_client import encode, read_reply

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


async def handshakes(port, targets):
    """WebSockets to these targets, in their order."""
    found, left = [None] * len(targets), iter(enumerate(targets))

    async def some():
        for number, target in left:
            found[number] = await open_socket(f"ws://127.0.0.1:{port}{target}")

    await asyncio.gather(*(some() for _ in range(HANDSHAKES)))
    return found


async def fill_room(redis_port, name, notice, count):
    """Publishes durably; the first id."""
    reader, writer = await asyncio.open_connection("127.0.0.1", redis_port)
    for _ in range(count):
        writer.write(encode(["FCALL", "roomcast_publish", 1, name, notice]))
    replies = [await read_reply(reader) for _ in range(count)]
    writer.close()
    if not all(isinstance(reply, list) for reply in replies):
        raise ProcessError(f"Redis has answered to a durable publish: {replies[0]}")
    return replies[0][0]


class HeldRooms:
    """Connections in two rooms each, all different, in which nothing is published. They send no heartbeats: the
    gateway must have a long --heartbeat-timeout. `since` is added to their targets."""

    def __init__(self, port, client_count, since=""):
        self._port, self._sockets, self._since = port, [], since
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
                token = await _token(connection, number)
                url = f"ws://127.0.0.1:{self._port}/ws?token={token}&roomIds={rooms}{self._since}"
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
