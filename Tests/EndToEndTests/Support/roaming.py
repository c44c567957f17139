"""Clients that go from node to node, as a rolling restart makes them, and the ledger of what each of them got.

Publisher and clients are tasks of this process, so that one clock tells when a message was published, when a
handshake was answered and when a Close came.
"""
import asyncio, collections, json, random, time

from websockets.exceptions import ConnectionClosed, InvalidHandshake

import clients
from client import open_socket

roamings = {}


class Stay:
    """One connection: when its 101 and its Close came, and the numbers between with their times."""

    def __init__(self):
        self.began = time.monotonic()
        self.ended = None
        self.code = None
        self.got = []


class Roaming:
    def __init__(self, urls, tokens, room, port, interval):
        self.urls, self.room, self.port, self.interval = urls, room, port, interval
        # When each message was handed to Redis, and when Redis had answered.
        self.published = []
        self.answered = []
        self.stays = {token: [] for token in tokens}
        self.is_over = False
        self.roamers = [asyncio.create_task(self.roam(token)) for token in tokens]
        self.publisher = None

    async def publish(self):
        """Publishes 0, 1, 2 … until told to stop; notes when each was handed to Redis."""
        while not self.is_over:
            number = len(self.published)
            self.published.append(time.monotonic())
            body = json.dumps({"type": "notice", "data": {"n": number}})
            await clients.redis(self.port, ["PUBLISH", f"room:{self.room}", body])
            self.answered.append(time.monotonic())
            await asyncio.sleep(self.interval)

    async def roam(self, token):
        """Holds a connection; when it ends, goes to another node that takes it."""
        while not self.is_over:
            # As a balancer would: any node, and another one when that does not answer or refuses.
            url = f"{random.choice(self.urls)}?token={token}&roomIds={self.room}"
            try:
                connection = await open_socket(url, open_timeout=clients.PATIENCE)
            except (OSError, InvalidHandshake, asyncio.TimeoutError):
                await asyncio.sleep(0.02)
                continue
            stay = Stay()
            self.stays[token].append(stay)
            try:
                while True:
                    number = json.loads(await connection.recv())["data"]["n"]
                    stay.got.append((number, time.monotonic()))
            except ConnectionClosed as closed:
                stay.ended = connection.close_came or time.monotonic()
                stay.code = closed.rcvd.code if closed.rcvd else 1006

    def open_count(self):
        return sum(1 for stays in self.stays.values() if stays and stays[-1].ended is None)

    def judge(self):
        """The ledger. A message is owed to a connection that had its 101 before the message was published, and its
        Close later than the slowest delivery of the whole run took, twice: the Close is on its way for a time, too."""
        slowest = max((at - self.published[n] for stays in self.stays.values() for stay in stays
                       for n, at in stay.got), default=0)
        end = time.monotonic()
        lost = duplicated = misordered = received = 0
        for stays in self.stays.values():
            for stay in stays:
                # Of each connection: nodes are not in step, so what was on its way to the next one while the client
                # went there may come again.
                numbers = [n for n, _ in stay.got]
                received += len(numbers)
                duplicated += len(numbers) - len(set(numbers))
                misordered += sum(1 for before, after in zip(numbers, numbers[1:]) if after < before)
                got = set(numbers)
                owed = {n for n, (at, answered) in enumerate(zip(self.published, self.answered))
                        if at > stay.began and answered + 2 * slowest < (stay.ended or end)}
                # In between nothing may be missing, whenever its neighbours came.
                if got:
                    owed.update(range(min(got), max(got)))
                lost += len(owed - got)
        codes = collections.Counter(str(stay.code) for stays in self.stays.values() for stay in stays if stay.ended)
        return {"published": len(self.published), "received": received, "lost": lost, "duplicated": duplicated,
                "misordered": misordered, "slowest": slowest, "codes": dict(codes),
                "stays": [len(stays) for stays in self.stays.values()]}


async def roam_start(urls, tokens, room, port, interval):
    """Connects a client for each token; each message is published `interval` seconds after the one before, from
    when all are there."""
    number = next(clients.numbers)
    roaming = roamings[number] = Roaming(urls, tokens, room, port, interval)
    while roaming.open_count() < len(tokens):
        await asyncio.sleep(0.01)
    roaming.publisher = asyncio.create_task(roaming.publish())
    return number


async def roam_targets(id, urls):
    roamings[id].urls = urls


async def roam_open(id):
    """How many clients have a connection, and how many messages are published."""
    return {"open": roamings[id].open_count(), "published": len(roamings[id].published)}


async def roam_stop(id):
    """Ends publishing, waits until every client has the last message, and returns the ledger."""
    roaming = roamings[id]
    roaming.is_over = True
    await roaming.publisher
    last = len(roaming.published) - 1
    deadline = time.monotonic() + clients.PATIENCE
    while time.monotonic() < deadline and not all(
            stays[-1].got and stays[-1].got[-1][0] == last for stays in roaming.stays.values()):
        await asyncio.sleep(0.01)
    verdict = roaming.judge()
    for task in roaming.roamers:
        task.cancel()
    return verdict


OPERATIONS = {f.__name__: f for f in (roam_start, roam_targets, roam_open, roam_stop)}
