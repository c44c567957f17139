"""A page on which all visitors see each other's messages: the smallest application around Roomcast.

The browser asks this backend for a token, listens to the gateway, and posts messages to this backend, which publishes
them. Needs redis-py and otherwise only Python's standard library.

    pip install redis          (or: apt-get install python3-redis)
    python3 server.py          # then open http://127.0.0.1:8000

Environment: LISTEN (127.0.0.1:8000), GATEWAY (http://127.0.0.1:8080, as browsers and this backend reach it),
REDIS_URL (redis://127.0.0.1:6379), ISSUE_KEY (if the gateways have one).
"""

import json
import os
import urllib.error
import urllib.request
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import redis

HERE = Path(__file__).resolve().parent
GATEWAY = os.environ.get("GATEWAY", "http://127.0.0.1:8080").rstrip("/")
FILES = {
    "/": (HERE / "index.html", "text/html; charset=utf-8"),
    "/chat.js": (HERE / "chat.js", "text/javascript"),
    "/roomcast.js": (HERE.parent.parent / "clients" / "js" / "roomcast.js", "text/javascript"),
}
ROOM = "chat"
MAXIMUM_BODY_BYTES = 4096

redis_client = redis.Redis.from_url(os.environ.get("REDIS_URL", "redis://127.0.0.1:6379"), socket_timeout=5)


def issue_token() -> str:
    """A token for one visitor, bound to the chat's room."""
    query = f"isLogin=false&deviceId={uuid.uuid4()}&rooms={ROOM}"
    request = urllib.request.Request(f"{GATEWAY}/get/token?{query}")
    if key := os.environ.get("ISSUE_KEY"):
        request.add_header("Authorization", f"Bearer {key}")
    with urllib.request.urlopen(request, timeout=5) as answer:
        return json.load(answer)["data"]


def publish(body: bytes) -> None:
    """Sends a visitor's message to all of them.

    Raises ValueError if it is not `{"name": …, "text": …}` with two short texts.
    """
    said = json.loads(body)
    if not isinstance(said, dict):
        raise ValueError("not an object")
    name, text = said.get("name"), said.get("text")
    if not (isinstance(name, str) and isinstance(text, str) and 0 < len(name) <= 40 and 0 < len(text) <= 1000):
        raise ValueError("name or text is missing or too long")
    notice = json.dumps({"type": "said", "data": {"name": name, "text": text}})
    # Durably: visitors who are away for a moment receive it when they are back.
    redis_client.execute_command("FCALL", "roomcast_publish", 1, f"room:{ROOM}", notice)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/token":
            try:
                self.answer(200, {"gateway": GATEWAY, "room": ROOM, "token": issue_token()})
            except (OSError, urllib.error.URLError, ValueError):
                self.answer(503, {"error": "cannot issue a token now"})
        elif self.path in FILES:
            path, kind = FILES[self.path]
            self.send(200, kind, path.read_bytes())
        else:
            self.answer(404, {"error": "not found"})

    def do_POST(self):
        length = self.headers.get("Content-Length", "")
        if self.path != "/say" or not length.isdigit() or int(length) > MAXIMUM_BODY_BYTES:
            self.close_connection = True
            return self.answer(400, {"error": "bad request"})
        try:
            publish(self.rfile.read(int(length)))
            self.answer(200, {})
        except ValueError as error:
            self.answer(400, {"error": str(error)})
        except redis.RedisError:
            self.answer(503, {"error": "not sent: try again"})

    def answer(self, status, body):
        self.send(status, "application/json", json.dumps(body).encode())

    def send(self, status, kind, body):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *arguments):
        """Silent, because request lines are private."""


if __name__ == "__main__":
    host, _, port = os.environ.get("LISTEN", "127.0.0.1:8000").rpartition(":")
    server = ThreadingHTTPServer((host, int(port)), Handler)
    print(f"open http://{host}:{server.server_port}", flush=True)
    server.serve_forever()
