"""Operations on a crowd: thousands of WebSockets, each in two rooms of its own. What they get is looked at here."""
import asyncio, collections, itertools, json

import processes
from client import HttpConnection, open_socket
from clients import PATIENCE
from redis_client import encode, read_reply
from websockets.exceptions import ConnectionClosed

# On their way at the same time.
HANDSHAKES = 32
# Addresses of their own, so that ports do not run out beside other tests.
CLIENTS_OF_AN_ADDRESS = 5000

numbers = itertools.count(1)
crowds = {}


def channels(number, client):
    return [f"crowd-{number}-{2 * client}", f"crowd-{number}-{2 * client + 1}"]


async def crowd_open(port, count):
    # Of which the other operations need a few.
    processes.use_all_descriptors(count + 500)
    number = next(numbers)
    sockets, left = [None] * count, iter(range(count))

    async def some():
        connection = HttpConnection(port, PATIENCE)
        for client in left:
            answer = await connection.get(f"/get/token?isLogin=false&deviceId=crowd-{client}")
            token = json.loads(answer.body)["data"]
            sockets[client] = await open_socket(
                f"ws://127.0.0.1:{port}/ws?token={token}&roomIds={','.join(channels(number, client))}",
                local_addr=(f"127.1.0.{1 + client // CLIENTS_OF_AN_ADDRESS}", 0), open_timeout=PATIENCE)
        connection.close()

    await asyncio.gather(*(some() for _ in range(HANDSHAKES)))
    crowds[number] = sockets
    return number


async def crowd_publish(id, port):
    """Publishes each room's own number to it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for client in range(len(crowds[id])):
        for index, room in enumerate(channels(id, client)):
            writer.write(encode(["PUBLISH", f"room:{room}", 2 * client + index]))
        if client % 100 == 99:
            for _ in range(200):
                await read_reply(reader)
    for _ in range(2 * (len(crowds[id]) % 100)):
        await read_reply(reader)
    writer.close()


async def crowd_read(id):
    """Reads until each client has a notice of each of its rooms: what came, in words, and to how many clients. `first`
    and `second` are the notices of its own rooms."""
    async def read(client):
        own = {str(2 * client): "first", str(2 * client + 1): "second"}
        seen, left = [], 2
        while left:
            try:
                text = await crowds[id][client].recv()
            except ConnectionClosed:
                return " ".join(seen + ["closed"])
            is_gap = text.startswith('{"type":"gap"')
            seen.append("gap" if is_gap else own.get(text, text))
            left -= not is_gap
        return " ".join(seen)

    async with asyncio.timeout(PATIENCE):
        return collections.Counter([await read(client) for client in range(len(crowds[id]))])


OPERATIONS = {f.__name__: f for f in (crowd_open, crowd_publish, crowd_read)}
