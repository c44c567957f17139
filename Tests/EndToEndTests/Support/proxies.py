"""Operations on a TCP proxy that can fall silent: what a network does that swallows packets, no more and no less."""
import asyncio, itertools

numbers = itertools.count(1)
proxies = {}


class Proxy:
    """Passes bytes on between each client and the server, until it is told to swallow them."""

    def __init__(self, target):
        self.target = target
        # What the first bytes of a connection must contain for it to be swallowed; None: nothing is.
        self.mark = None
        self.connections = []

    async def accept(self, reader, writer):
        connection = {"first": b"", "dead": False}
        self.connections.append(connection)
        try:
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            return writer.close()
        await asyncio.gather(
            self.carry(reader, server_writer, connection, True),
            self.carry(server_reader, writer, connection, False))

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


OPERATIONS = {f.__name__: f for f in (proxy_open, proxy_swallow, proxy_pass)}
