"""Operations of many clients as browsers are: each with a WebSocket and a kept-alive connection for its beats."""
import asyncio, base64, json, os, resource

import clients
from client import HttpConnection

HANDSHAKE = ("Host: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
             "Sec-WebSocket-Key: " + base64.b64encode(os.urandom(16)).decode() + "\r\n\r\n")


class Page:
    """A client. Its HTTP connection lives until the server ends it, and is then made anew, as browsers do."""

    def __init__(self, port, room):
        self.port, self.room, self.socket, self.token, self.end = port, room, None, None, None
        self.http = HttpConnection(port, clients.PATIENCE)

    async def connect(self):
        """Gets a token and opens the WebSocket: the status of whichever failed, or 101."""
        answer = await self.http.get("/get/token?isLogin=true&userId=a")
        if answer.status != 200:
            return answer.status
        self.token = json.loads(answer.body)["data"]
        self.socket = await asyncio.open_connection("127.0.0.1", self.port)
        head = f"GET /ws?token={self.token}&roomIds={self.room} HTTP/1.1\r\n" + HANDSHAKE
        self.socket[1].write(head.encode())
        status = int((await self.socket[0].readuntil(b"\r\n\r\n")).split(b" ")[1])
        if status == 101:
            self.end = asyncio.ensure_future(self.socket[0].read())
        return status

    def is_open(self):
        return self.end is not None and not self.end.done()

    def close(self):
        self.http.close()
        if self.socket:
            self.socket[1].close()


pages = []


async def pages_connect(port, room, count, at_once):
    """`count` pages, `at_once` of them at the same time: how often each outcome came."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    limit, outcomes = asyncio.Semaphore(at_once), {}

    async def one():
        page = Page(port, room)
        pages.append(page)
        async with limit:
            try:
                outcome = str(await page.connect())
            except (ConnectionError, asyncio.IncompleteReadError) as error:
                outcome = type(error).__name__
        outcomes[outcome] = outcomes.get(outcome, 0) + 1

    await asyncio.gather(*(one() for _ in range(count)))
    return outcomes


async def pages_beat(at_once):
    """A beat of each page: how often each status came, and how many WebSockets are open."""
    limit, outcomes = asyncio.Semaphore(at_once), {}

    async def one(page):
        async with limit:
            try:
                status = str((await page.http.get(f"/heartbeat?token={page.token}")).status)
            except (ConnectionError, asyncio.IncompleteReadError) as error:
                status = type(error).__name__
        outcomes[status] = outcomes.get(status, 0) + 1

    await asyncio.gather(*map(one, pages))
    return {"outcomes": outcomes, "open": sum(page.is_open() for page in pages)}


async def pages_close():
    for page in pages:
        page.close()
    pages.clear()


async def visitors(port, count):
    """`count` clients, one after the other, that ask once and keep their connections."""
    for _ in range(count):
        page = Page(port, "")
        pages.append(page)
        await page.http.get("/nowhere")


async def strangers(port, count):
    """Opens `count` connections that say nothing: their ids."""
    ids = []
    for _ in range(count):
        ids.append(await clients.tcp_open(port))
    return ids


OPERATIONS = {f.__name__: f for f in (pages_connect, pages_beat, pages_close, visitors, strangers)}
