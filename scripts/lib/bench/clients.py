"""Two small clients that the load generator has no mode for: keep-alive HTTP requests, and connections that
hold rooms in which nothing happens."""

import base64
import json
import os
import selectors
import socket

from processes import BenchError

CONNECTIONS = 64


class HttpConnection:
    """One keep-alive connection with at most one request on its way."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), 10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""

    def send(self, path):
        self.socket.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())

    def receive(self):
        """The body when the answer is complete, else None. Anything but 200 ends the benchmark."""
        part = self.socket.recv(65536)
        if not part:
            raise BenchError("the gateway closed a keep-alive connection")
        self.buffer += part
        head, separator, body = self.buffer.partition(b"\r\n\r\n")
        if not separator:
            return None
        if not head.startswith(b"HTTP/1.1 200 "):
            raise BenchError(f"the gateway answered {head.splitlines()[0].decode()}")
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        if len(body) < length:
            return None
        self.buffer = body[length:]
        return body[:length]

    def get(self, path):
        self.send(path)
        while (body := self.receive()) is None:
            pass
        return body


def get_token(connection, number):
    return json.loads(connection.get(f"/get/token?isLogin=false&deviceId=bench-{number}"))["data"]


def request(port, paths, count):
    """Makes `count` requests over one connection for each path, each as soon as the last is answered: no
    pipelining."""
    selector = selectors.DefaultSelector()
    connections = []
    try:
        for path in paths:
            connection = HttpConnection(port)
            connections.append(connection)
            selector.register(connection.socket, selectors.EVENT_READ, (connection, path))
        for key in list(selector.get_map().values()):
            key.data[0].send(key.data[1])
        sent, answered = len(paths), 0
        while answered < count:
            events = selector.select(10)
            if not events:
                raise BenchError("the gateway did not answer for 10 s")
            for key, _ in events:
                connection, path = key.data
                if connection.receive() is None:
                    continue
                answered += 1
                if sent < count:
                    connection.send(path)
                    sent += 1
    finally:
        for connection in connections:
            connection.socket.close()
        selector.close()


class HeldRooms:
    """Connections in two rooms each, all different, in which nothing is published. They send no heartbeats:
    the gateway must have a long --heartbeat-timeout."""

    def __init__(self, port, client_count):
        self.sockets = []
        self.room_count = 2 * client_count
        try:
            tokens = HttpConnection(port)
            for number in range(client_count):
                # Addresses of their own, so that ports do not run out beside the load generator.
                address = f"127.1.0.{1 + number // 5000}"
                token = get_token(tokens, number)
                self.sockets.append(self._connect(port, address, token, number))
            tokens.socket.close()
        except BaseException:
            self.close()
            raise

    @staticmethod
    def _connect(port, address, token, number):
        client = socket.create_connection(("127.0.0.1", port), 10, source_address=(address, 0))
        key = base64.b64encode(os.urandom(16)).decode()
        client.sendall((
            f"GET /ws?token={token}&roomIds=held-{2 * number},held-{2 * number + 1} HTTP/1.1\r\n"
            f"Host: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n").encode())
        answer = client.recv(4096)
        if not answer.startswith(b"HTTP/1.1 101 "):
            client.close()
            raise BenchError(f"handshake {number} of the held rooms: {answer[:80]!r}")
        return client

    def close(self):
        for client in self.sockets:
            client.close()
