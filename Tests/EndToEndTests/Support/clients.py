"""Operations on connections: WebSocket clients, raw TCP, raw HTTP exchanges, and Redis commands."""
import asyncio, base64, ctypes, itertools, json, socket, struct, time

from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Opcode

from client import open_socket, read_answer
from redis_client import RedisRefusal, encode, read_reply

# Seconds for what must come; only a product that fails takes so long (Harness/Eventually.swift has the same).
PATIENCE = 240

numbers = itertools.count(1)
sockets = {}
streams = {}
redis_connections = {}


async def until(changed, condition, timeout):
    """Whether the condition holds before the timeout; looked at whenever `changed` is notified."""
    async with changed:
        # wait_for gives a coroutine no chance at all when the timeout is 0.
        if condition():
            return True
        try:
            await asyncio.wait_for(changed.wait_for(condition), timeout)
            return True
        except asyncio.TimeoutError:
            return False


class Socket:
    """One WebSocket and everything that came on it; `changed` wakes whoever waits for more."""

    def __init__(self, connection, started):
        self.connection = connection
        self.started = started
        self.events = []
        self.taken = 0
        self.closing = None
        self.changed = asyncio.Condition()
        self.ping_count, self.answered, self.is_mute = 0, None, False
        self.take_frame, connection.protocol.recv_frame = connection.protocol.recv_frame, self.frame_came
        self.task = asyncio.create_task(self.receive())

    async def receive(self):
        while self.closing is None:
            try:
                event = await self.connection.recv()
            except ConnectionClosed as closed:
                event = None
                # Without a Close frame of the peer the standard's 1006 stands for "just gone".
                code = closed.rcvd.code if closed.rcvd else 1006
                reason = closed.rcvd.reason if closed.rcvd else ""
                self.closing = {"code": code, "reason": reason, "after": time.monotonic() - self.started}
            async with self.changed:
                if event is not None:
                    self.events.append((event, time.monotonic()))
                self.changed.notify_all()

    def frame_came(self, frame):
        if frame.opcode is Opcode.PING:
            self.ping_count += 1
            if self.is_mute:
                return
            self.answered = time.monotonic() - self.started
        self.take_frame(frame)

    async def until(self, condition, timeout):
        return await until(self.changed, condition, timeout)


async def ws_open(url, headers={}, publish=None, source=None, subprotocols=None, compression=None):
    """A handshake: the new socket's id, or status, headers and body of the refusal. `publish` ([port,
    channel, text]) goes to Redis in the same turn in which the 101 has been read; `source` is the client's
    own address; `compression` is "deflate" to ask for it."""
    if publish:
        await redis(publish[0], ["PING"])
    started = time.monotonic()
    local = {"local_addr": (source, 0)} if source else {}
    try:
        connection = await open_socket(url, additional_headers=headers, subprotocols=subprotocols,
                                       compression=compression, open_timeout=PATIENCE, close_timeout=PATIENCE,
                                       **local)
    except InvalidStatus as refusal:
        answer = refusal.response
        return {"status": answer.status_code, "headers": lower(answer.headers.raw_items()),
                "body": (answer.body or b"").decode()}
    if publish:
        await redis(publish[0], ["PUBLISH", publish[1], publish[2]])
    number = next(numbers)
    sockets[number] = Socket(connection, started)
    return {"id": number, "subprotocol": connection.subprotocol,
            "extensions": connection.response.headers.get("Sec-WebSocket-Extensions")}


def lower(headers):
    return {name.lower(): value for name, value in headers}


async def ws_next(id, timeout):
    """The next message: {"text"} or {"binary"} with its time; {"close"} after the last one; null when none
    came."""
    client = sockets[id]
    await client.until(lambda: len(client.events) > client.taken or client.closing, timeout)
    if len(client.events) > client.taken:
        event, at = client.events[client.taken]
        client.taken += 1
        if isinstance(event, str):
            return {"text": event, "at": at}
        return {"binary": base64.b64encode(event).decode(), "at": at}
    return {"close": client.closing["code"]} if client.closing else None


async def ws_count(id):
    """How many messages have come so far, taken or not."""
    return len(sockets[id].events)


async def ws_closed(id, timeout):
    """How the socket was closed: code (1006: no Close frame), reason, seconds since the handshake began;
    null when it was not."""
    client = sockets[id]
    return client.closing if await client.until(lambda: client.closing is not None, timeout) else None


async def ws_send(id, text=None, binary=None):
    await sockets[id].connection.send(text if text is not None else base64.b64decode(binary))


async def ws_ping(id, payload, timeout):
    """Sends a ping; true when the pong with the same payload came in time."""
    pong = await sockets[id].connection.ping(payload)
    try:
        await asyncio.wait_for(pong, timeout)
        return True
    except asyncio.TimeoutError:
        return False


async def ws_pings(id):
    """How many pings have come, and when the last one was answered, in seconds since the handshake began."""
    return {"count": sockets[id].ping_count, "answered": sockets[id].answered}


async def ws_mute(id):
    """Answers no ping any more."""
    sockets[id].is_mute = True


async def ws_close(id, code=1000, reason=""):
    """Closes and returns the peer's Close: its code and reason."""
    await sockets[id].connection.close(code, reason)
    return await ws_closed(id, PATIENCE)


async def ws_sequence(ids, count, timeout):
    """Waits until each socket has `count` messages of {"data":{"n":...}}; per socket: how many came and
    the index of the first that is not the expected number (null when all are in order)."""
    deadline = time.monotonic() + timeout

    async def check(id):
        client = sockets[id]
        left = max(0, deadline - time.monotonic())
        await client.until(lambda: len(client.events) >= count or client.closing, left)
        seen = [json.loads(event)["data"]["n"] for event, _ in client.events]
        wrong = next((i for i, n in enumerate(seen) if n != i), None)
        return {"count": len(seen), "wrong": wrong}

    return await asyncio.gather(*(check(id) for id in ids))


async def tcp_open(port, receive_buffer=0):
    """A raw connection that reads only when asked, so that a test can be as slow a consumer as it likes."""
    stream = socket.socket()
    if receive_buffer:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    stream.setblocking(False)
    await asyncio.get_running_loop().sock_connect(stream, ("127.0.0.1", port))
    number = next(numbers)
    streams[number] = stream
    return number


# asm-generic/socket.h and linux/filter.h: the program `return 0` drops every packet.
SO_ATTACH_FILTER, DROP_ALL = 26, ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))


async def tcp_deafen(id):
    """Lets nothing through to the connection any more, acknowledgements included: to its peer it is as if the
    machine had vanished, without an end of the connection."""
    program = struct.pack("HxxxxxxP", 1, ctypes.addressof(DROP_ALL))
    streams[id].setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)


async def tcp_orphans(port):
    """Counts sockets of this port that no process has open, in FIN-WAIT-1 (proc(5), net/tcp)."""
    with open("/proc/net/tcp", encoding="ascii") as table:
        rows = [line.split() for line in table]
    return sum(1 for row in rows if row[1].endswith(f":{port:04X}") and row[3] == "04" and row[9] == "0")


async def tcp_send(id, bytes):
    """Sends; false when the peer has already gone."""
    try:
        await asyncio.get_running_loop().sock_sendall(streams[id], base64.b64decode(bytes))
        return True
    except (BrokenPipeError, ConnectionResetError):
        return False


async def tcp_receive(id, count, timeout, until=""):
    """Up to `count` bytes, up to and with the text `until`, or all until the end: {"bytes", "end"}, where
    end is "eof", "reset" or null when the peer is still there."""
    loop, stream, got, end = asyncio.get_running_loop(), streams[id], bytearray(), None
    mark = until.encode()
    deadline = time.monotonic() + timeout
    while len(got) < count and not (mark and got.endswith(mark)):
        # Byte by byte up to a mark: what follows it belongs to the next call.
        size = 1 if mark else min(count - len(got), 1 << 20)
        try:
            left = max(0.001, deadline - time.monotonic())
            piece = await asyncio.wait_for(loop.sock_recv(stream, size), left)
        except asyncio.TimeoutError:
            break
        except ConnectionResetError:
            end = "reset"
            break
        if not piece:
            end = "eof"
            break
        got += piece
    return {"bytes": base64.b64encode(got).decode(), "end": end}


async def tcp_close(id):
    streams.pop(id).close()


async def exchange(port, pieces, count=1, timeout=PATIENCE, patience=0, host="127.0.0.1"):
    """Sends raw bytes to an HTTP server, piece by piece, and reads `count` answers, then looks whether the
    server closes within `patience` seconds (0: not asked)."""
    # Before the server's time for the request begins.
    answers, started = [], time.monotonic()
    reader, writer = await asyncio.open_connection(host, port, limit=1 << 22)
    try:
        async with asyncio.timeout(timeout):
            for piece in pieces:
                writer.write(base64.b64decode(piece))
                await writer.drain()
                if len(pieces) > 1:
                    await asyncio.sleep(0)
            for _ in range(count):
                answers.append(vars(await read_answer(reader)))
                answers[-1]["body"] = answers[-1]["body"].decode()
                answers[-1]["after"] = time.monotonic() - started
    except (asyncio.IncompleteReadError, ConnectionError, TimeoutError) as error:
        if len(answers) < count:
            raise RuntimeError(f"{len(answers)} of {count} answers, then {type(error).__name__}") from error
    try:
        ended = patience > 0 and await asyncio.wait_for(reader.read(1), patience) == b""
    except asyncio.TimeoutError:
        ended = False
    except ConnectionError:
        ended = True
    writer.close()
    return {"answers": answers, "closed": ended}


async def redis_once(port, args):
    """One command on a connection of its own."""
    pair = await asyncio.open_connection("127.0.0.1", port, limit=1 << 26)
    try:
        return await redis_call(pair, args)
    finally:
        pair[1].close()


async def redis(port, args, password=None, user=None):
    """One command on a kept connection, which is opened again when Redis was restarted; errors come as
    {"error"}."""
    kept = redis_connections.setdefault((port, user, password), {"lock": asyncio.Lock(), "pair": None})
    async with kept["lock"]:
        for attempt in (1, 2):
            try:
                if kept["pair"] is None:
                    kept["pair"] = await asyncio.open_connection("127.0.0.1", port, limit=1 << 26)
                    if password:
                        await redis_call(kept["pair"], ["AUTH", *([user] if user else []), password])
                return await redis_call(kept["pair"], args)
            except (ConnectionError, EOFError):
                kept["pair"] = None
                if attempt == 2:
                    raise


async def redis_call(pair, args):
    reader, writer = pair
    # A list is [base64]: bytes that need not be text.
    writer.write(encode([base64.b64decode(a[0]) if isinstance(a, list) else a for a in args]))
    return plain(await read_reply(reader))


def plain(reply):
    """A reply as JSON can hold it; an error as {"error"}."""
    if isinstance(reply, RedisRefusal):
        return {"error": str(reply)}
    if isinstance(reply, list):
        return [plain(part) for part in reply]
    return reply.decode(errors="backslashreplace") if isinstance(reply, bytes) else reply


async def redis_collect(port, subscribe, publish, text, prefix, count, timeout):
    """Subscribes to a channel, publishes `text` to another, and returns what comes until `count` messages begin with
    `prefix`."""
    pair = await asyncio.open_connection("127.0.0.1", port, limit=1 << 26)
    messages = []
    try:
        async with asyncio.timeout(timeout):
            await redis_call(pair, ["SUBSCRIBE", subscribe])
            await redis(port, ["PUBLISH", publish, text])
            while sum(m.startswith(prefix) for m in messages) < count:
                messages.append(plain(await read_reply(pair[0]))[2])
    finally:
        pair[1].close()
    return messages


async def publish_sequence(port, channel, count, padding=0):
    """Publishes {"type":"notice","data":{"n":0...}} `count` times, pipelined; the sum of the receivers."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    total = 0
    for start in range(0, count, 250):
        numbers_now = range(start, min(start + 250, count))
        for n in numbers_now:
            body = json.dumps({"type": "notice", "data": {"n": n, "pad": "x" * padding}}).encode()
            writer.write(encode(["PUBLISH", channel, body]))
        for _ in numbers_now:
            total += await read_reply(reader)
    writer.close()
    return total


OPERATIONS = {f.__name__: f for f in (
    ws_open, ws_next, ws_count, ws_closed, ws_send, ws_ping, ws_pings, ws_mute, ws_close, ws_sequence,
    tcp_open, tcp_deafen, tcp_orphans, tcp_send, tcp_receive, tcp_close, exchange, redis, redis_once, redis_collect,
    publish_sequence)}
