"""Operations on servers that say that they are a Redis Cluster, and send everybody who wants a key to each other."""
import asyncio, hashlib, time

# Port by port: how often each was asked for a key.
liars = {}
subscribers = {}


def bulk(text):
    text = text.encode() if isinstance(text, str) else text
    return b"$%d\r\n%s\r\n" % (len(text), text)


def array(*parts):
    return b"*%d\r\n%s" % (len(parts), b"".join(parts))


class Liar:
    def __init__(self, kind):
        self.kind = kind
        self.ports = []

    async def accept(self, reader, writer):
        own = writer.get_extra_info("sockname")[1]
        try:
            while line := await reader.readline():
                words = []
                for _ in range(int(line[1:])):
                    length = int((await reader.readline())[1:])
                    words.append((await reader.readexactly(length + 2))[:-2])
                writer.write(self.reply(words, own, writer))
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, ValueError):
            pass
        for listening in subscribers.values():
            listening.discard(writer)
        writer.close()

    def reply(self, words, own, writer):
        name = words[0].upper()
        if name in (b"SUBSCRIBE", b"UNSUBSCRIBE"):
            listening = [subscribers.setdefault(channel, set()) for channel in words[1:]]
            for those in listening:
                those.add(writer) if name == b"SUBSCRIBE" else those.discard(writer)
            return b"".join(array(bulk(name.lower()), bulk(channel), b":1\r\n") for channel in words[1:])
        if name == b"PUBLISH":
            for listener in subscribers.get(words[1], ()):
                listener.write(array(bulk("message"), bulk(words[1]), bulk(words[2])))
            return b":1\r\n"
        if name == b"CLUSTER":
            half = 8192
            return array(*(
                array(b":%d\r\n" % first, b":%d\r\n" % (first + half - 1),
                      array(bulk("127.0.0.1"), b":%d\r\n" % port, bulk("%040d" % port)))
                for first, port in zip((0, half), self.ports)))
        if name == b"PING":
            return b"+PONG\r\n"
        if name == b"INFO":
            return bulk(f"run_id:{own:040}\r\nredis_version:7.0.0\r\nredis_mode:cluster\r\nrole:master\r\n")
        if name == b"ROLE":
            return array(bulk("master"), b":0\r\n", array())
        if name == b"TIME":
            now = time.time()
            return array(bulk(str(int(now))), bulk(str(int(now % 1 * 1e6))))
        if name == b"SCRIPT":
            return bulk(hashlib.sha1(words[2]).hexdigest())
        if name in (b"CLIENT", b"AUTH", b"ASKING", b"FUNCTION"):
            return b"+OK\r\n"
        liars[own] += 1
        other = self.ports[self.ports[0] == own]
        return f"-{self.kind} 1 127.0.0.1:{other}\r\n".encode()


async def liars_open(kind):
    """Two servers that answer MOVED or ASK, each to the other; their ports."""
    liar = Liar(kind)
    for _ in range(2):
        server = await asyncio.start_server(liar.accept, "127.0.0.1", 0)
        liar.ports.append(server.sockets[0].getsockname()[1])
        liars[liar.ports[-1]] = 0
    return liar.ports


async def liars_asked(ports):
    """How often they were asked for a key."""
    return sum(liars[port] for port in ports)


OPERATIONS = {f.__name__: f for f in (liars_open, liars_asked)}
