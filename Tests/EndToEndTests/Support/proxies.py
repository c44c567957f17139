"""Operations on a TCP proxy that can fall silent, as a network does that swallows packets, and that can answer HTTP
itself, as an ingress does that has no way to its gateways."""
import asyncio, itertools

numbers = itertools.count(1)
proxies = {}


class Proxy:
    """Passes bytes on between each client and the server, until it is told to swallow them."""

    def __init__(self, target):
        self.target = target
        # What the first bytes of a connection must contain for it to be swallowed; None: nothing is.
        self.mark = None
        # What the proxy says to requests in whose head a text stands, and how often it has said it.
        self.pages = []
        self.page_count = 0
        self.connections = []

    async def accept(self, reader, writer):
        connection = {"first": b"", "dead": False, "writer": writer}
        self.connections.append(connection)
        if self.pages:
            return await self.answer(reader, writer)
        try:
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            return writer.close()
        await asyncio.gather(
            self.carry(reader, server_writer, connection, True),
            self.carry(server_reader, writer, connection, False))

    async def answer(self, reader, writer):
        """One request a connection, so that each next one is judged anew."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            page = next((answer for mark, answer in self.pages if mark in head), None)
            if page is None:
                target_reader, target_writer = await asyncio.open_connection("127.0.0.1", self.target)
                is_upgrade = b"upgrade: websocket" in head.lower()
                target_writer.write(head if is_upgrade else head.replace(b"keep-alive", b"close"))
                connection = {"first": head, "dead": False}
                return await asyncio.gather(
                    self.carry(reader, target_writer, connection, True),
                    self.carry(target_reader, writer, connection, False))
            self.page_count += 1
            writer.write(page)
            await writer.drain()
        except (ConnectionError, OSError, asyncio.IncompleteReadError):
            pass
        writer.close()

    async def carry(self, reader, writer, connection, from_client):
        try:
            while piece := await reader.read(1 << 16):
                if from_client and len(connection["first"]) < 1024:
                    connection["first"] += piece
                self.judge(connection)
                if not connection["dead"]:
                    writer.write(piece)
                    await writer.drain()
        except ConnectionError:
            pass
        # The end of a connection is swallowed as well: nobody hears anything any more.
        if not connection["dead"]:
            writer.close()

    def judge(self, connection):
        """Once swallowed a connection stays so: its bytes have a hole."""
        if self.mark is not None and self.mark in connection["first"]:
            connection["dead"] = True

    def swallow(self, mark):
        self.mark = mark
        for connection in self.connections:
            self.judge(connection)


async def proxy_open(target):
    """Starts a proxy to a port of loopback: its number and its own port."""
    proxy, number = Proxy(target), next(numbers)
    server = await asyncio.start_server(proxy.accept, "127.0.0.1", 0)
    proxies[number] = (proxy, server)
    return [number, server.sockets[0].getsockname()[1]]


async def proxy_swallow(id, containing=""):
    """From now on nothing passes on connections, old and new, in whose first bytes a text stands."""
    proxies[id][0].swallow(containing.encode())


async def proxy_pass(id):
    """New connections work again; those that were swallowed never will."""
    proxies[id][0].mark = None


async def proxy_answer(id, status, body, containing):
    """New connections get a page, if `containing` stands in the head of their request; pages that any site may read,
    and that ask for three seconds of patience. Those that were kept alive end, WebSockets stay."""
    page = (f"HTTP/1.1 {status} Something\r\nContent-Type: text/html\r\nContent-Length: {len(body.encode())}\r\n"
            f"Access-Control-Allow-Origin: *\r\nAccess-Control-Expose-Headers: Retry-After\r\nRetry-After: 3\r\n"
            f"Connection: close\r\n\r\n{body}").encode()
    proxies[id][0].pages.append((containing.encode(), page))
    for connection in proxies[id][0].connections:
        if b"upgrade: websocket" not in connection["first"].lower():
            connection["writer"].close()


async def proxy_page_count(id):
    """How many pages were given out."""
    return proxies[id][0].page_count


async def proxy_stop_answering(id):
    proxies[id][0].pages = []


OPERATIONS = {f.__name__: f for f in (
    proxy_open, proxy_swallow, proxy_pass, proxy_answer, proxy_page_count, proxy_stop_answering)}
