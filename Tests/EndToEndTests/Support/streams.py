"""Operations on event streams: a reader written from the HTML standard (section 9.2.6), over HTTP/1.1 by hand."""
import asyncio, base64, itertools

from client import read_head
from clients import PATIENCE, until

numbers = itertools.count(1)
streams = {}


class EventStream:
    """One stream and everything that came on it; `changed` wakes whoever waits for more."""

    def __init__(self, reader, writer, is_chunked):
        self.reader, self.writer, self.is_chunked = reader, writer, is_chunked
        self.events, self.taken, self.comments, self.raw = [], 0, [], bytearray()
        # None while the stream goes on; "eof" when it has ended as it should, "reset", or "cut" within a chunk.
        self.end = None
        self.last_event_id, self.retry = "", None
        self.line, self.after_return = bytearray(), False
        self.name, self.data, self.id = "", [], ""
        self.changed = asyncio.Condition()
        self.task = asyncio.create_task(self.receive())

    async def receive(self):
        try:
            while piece := await self.piece():
                async with self.changed:
                    self.take(piece)
                    self.changed.notify_all()
            end = "eof"
        except asyncio.IncompleteReadError:
            end = "cut"
        except ConnectionError:
            end = "reset"
        async with self.changed:
            self.end = end
            self.changed.notify_all()

    async def piece(self):
        if not self.is_chunked:
            return await self.reader.read(65536)
        size = int((await self.reader.readuntil(b"\r\n")).split(b";")[0], 16)
        return (await self.reader.readexactly(size + 2))[:-2]

    def take(self, piece):
        self.raw += piece
        for byte in piece:
            # A line ends with a line feed, a carriage return, or both.
            if byte == 0x0A and self.after_return:
                self.after_return = False
            elif byte in (0x0A, 0x0D):
                self.after_return = byte == 0x0D
                self.take_line(self.line.decode())
                self.line.clear()
            else:
                self.after_return = False
                self.line.append(byte)

    def take_line(self, line):
        if not line:
            return self.dispatch()
        name, colon, value = line.partition(":")
        value = value.removeprefix(" ")
        if colon and not name:
            self.comments.append(value)
        elif name == "event":
            self.name = value
        elif name == "data":
            self.data.append(value)
        elif name == "id" and "\0" not in value:
            self.id = value
        elif name == "retry" and value.isascii() and value.isdigit():
            self.retry = int(value)

    def dispatch(self):
        self.last_event_id = self.id
        if self.data:
            self.events.append({"event": self.name or "message", "data": "\n".join(self.data), "id": self.id})
        self.name, self.data = "", []

    async def until(self, condition, timeout):
        return await until(self.changed, condition, timeout)


async def stream_open(port, head, receive_buffer=0):
    """Sends a request head: the new stream's id with status and headers, or the answer that is none."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 22)
    writer.write(head.encode())
    async with asyncio.timeout(PATIENCE):
        version, status, headers = await read_head(reader)
        answer = {"version": version, "status": status, "headers": headers, "body": ""}
        if headers.get("content-type") != "text/event-stream" or head.startswith("HEAD "):
            if "content-length" in headers and not head.startswith("HEAD "):
                answer["body"] = (await reader.readexactly(int(headers["content-length"]))).decode()
            writer.close()
            return answer
    number = next(numbers)
    streams[number] = EventStream(reader, writer, headers.get("transfer-encoding") == "chunked")
    return {"id": number, **answer}


async def stream_next(id, timeout):
    """The next event: {"event", "data", "id"}; {"end"} behind the last one; null when none came."""
    stream = streams[id]
    await stream.until(lambda: len(stream.events) > stream.taken or stream.end, timeout)
    if len(stream.events) > stream.taken:
        stream.taken += 1
        return stream.events[stream.taken - 1]
    return {"end": stream.end} if stream.end else None


async def stream_state(id):
    """What the stream has set so far."""
    stream = streams[id]
    return {"lastEventId": stream.last_event_id, "retry": stream.retry, "comments": stream.comments,
            "count": len(stream.events), "raw": base64.b64encode(stream.raw).decode()}


async def stream_send(id, bytes):
    stream = streams[id]
    stream.writer.write(base64.b64decode(bytes))
    await stream.writer.drain()


async def stream_close(id):
    streams[id].writer.close()


OPERATIONS = {f.__name__: f for f in (stream_open, stream_next, stream_state, stream_send, stream_close)}
