"""Operations of peers that mean harm: connections that end by a reset, that trickle, that flood."""
import asyncio, base64, itertools, socket, struct, time

import clients


def raw_socket(send_buffer=0):
    stream = socket.socket()
    if send_buffer:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    stream.setblocking(False)
    return stream


async def tcp_reset(id):
    """Ends a raw connection by a reset: nothing of what it has not read, or not sent, is waited for."""
    stream = clients.streams.pop(id)
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.close()


async def dribble(id, bytes):
    """Sends byte by byte on a raw connection, each in a segment of its own; false when the peer has gone."""
    clients.streams[id].setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        for byte in base64.b64decode(bytes):
            await asyncio.get_running_loop().sock_sendall(clients.streams[id], b"%c" % byte)
        return True
    except (BrokenPipeError, ConnectionResetError):
        return False


trickle_is_over = asyncio.Event()


async def trickle(port, head, count, interval, timeout):
    """Opens `count` connections that send `head`, then x after x, one byte in `interval` seconds, until they are
    answered or cut. For each: the status of the answer (0 without one), the seconds until then, and whether the
    server has closed within `timeout` seconds. All of them go at `trickle_end`."""
    loop = asyncio.get_running_loop()

    async def one():
        stream, got, started = raw_socket(), b"", time.monotonic()
        ended, answered = False, 0.0
        await loop.sock_connect(stream, ("127.0.0.1", port))
        letters = itertools.chain(base64.b64decode(head), itertools.repeat(ord("x")))
        while not ended and not trickle_is_over.is_set() and time.monotonic() - started < timeout:
            try:
                if not got:
                    await loop.sock_sendall(stream, b"%c" % next(letters))
                piece = await asyncio.wait_for(loop.sock_recv(stream, 4096), interval)
                got += piece
                ended = not piece
            except asyncio.TimeoutError:
                continue
            except (BrokenPipeError, ConnectionResetError):
                ended = True
            answered = answered or time.monotonic() - started
        stream.close()
        status = int(got.split(b" ")[1]) if got.startswith(b"HTTP/1.1 ") else 0
        return {"status": status, "after": answered, "closed": ended}

    return await asyncio.gather(*(one() for _ in range(count)))


async def trickle_end():
    trickle_is_over.set()


class Flood:
    def __init__(self, stream, data):
        self.stream, self.data, self.sent = stream, memoryview(data), 0


async def flood_begin(port, pieces, repeats, stall):
    """Sends `pieces` again and again on a connection of which nothing is read, until all is sent or the peer has
    taken nothing for `stall` seconds; its id and how many bytes the peer and the kernel have taken."""
    loop = asyncio.get_running_loop()
    flood = Flood(raw_socket(send_buffer=64 << 10), b"".join(map(base64.b64decode, pieces)) * repeats)
    await loop.sock_connect(flood.stream, ("127.0.0.1", port))
    while flood.sent < len(flood.data):
        try:
            flood.sent += flood.stream.send(flood.data[flood.sent:flood.sent + 65536])
        except BlockingIOError:
            writable = loop.create_future()
            loop.add_writer(flood.stream, lambda: writable.done() or writable.set_result(None))
            try:
                await asyncio.wait_for(writable, stall)
            except asyncio.TimeoutError:
                break
            finally:
                loop.remove_writer(flood.stream)
    number = next(clients.numbers)
    clients.streams[number] = flood
    return {"id": number, "taken": flood.sent, "all": len(flood.data)}


async def flood_end(id, count, timeout):
    """Sends the rest and reads `count` answers: their statuses, in order, up to the last that came in time."""
    flood = clients.streams.pop(id)
    reader, writer = await asyncio.open_connection(sock=flood.stream, limit=1 << 22)
    statuses = []
    try:
        async with asyncio.timeout(timeout):
            writer.write(flood.data[flood.sent:])
            while len(statuses) < count:
                statuses.append((await clients.read_answer(reader)).status)
    except (asyncio.IncompleteReadError, ConnectionError, TimeoutError):
        pass
    writer.close()
    return statuses


OPERATIONS = {f.__name__: f for f in (tcp_reset, dribble, trickle, trickle_end, flood_begin, flood_end)}
