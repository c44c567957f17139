"""Holds the descriptions in docs/api against running gateways.

Usage: api_description.py DIRECTORY OPEN GUARDED CUT_OFF FULL REDIS OPEN_ADMIN GUARDED_ADMIN CUT_OFF_ADMIN

DIRECTORY has openapi.yaml and asyncapi.yaml. The others are ports on 127.0.0.1, of gateways and of their
Redis: OPEN lets everybody in and tells gaps; GUARDED has the issue key below and takes one connection and one token a
second from an address; CUT_OFF cannot reach its Redis; FULL takes one connection. The last three are the admin
listeners of the first three; GUARDED and CUT_OFF have the admin key below.

Both descriptions must be valid by the validators of their fields; every answer that openapi.yaml names must be given
by one of the gateways, with the status, the headers and a body as described; every frame must be as asyncapi.yaml
says.
Prints what was seen; exits with 1 and the reason at the first difference.
"""

import http.client
import json
import os
import socket
import sys
from urllib.parse import urlencode

import jsonschema
import yaml
from openapi_spec_validator import validate as validate_openapi
from pydantic_asyncapi import AsyncAPI
from websockets.sync.client import connect

ISSUE_KEY = "the-key-of-the-backend"
ADMIN_KEY = "the-key-of-the-operator"
HANDSHAKE = {
    "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


def resolve(document, node):
    """`node` with every reference into `document` replaced by what it names."""
    if isinstance(node, dict):
        if "$ref" in node:
            target = document
            for part in node["$ref"].removeprefix("#/").split("/"):
                target = target[part]
            return resolve(document, target)
        return {key: resolve(document, value) for key, value in node.items()}
    if isinstance(node, list):
        return [resolve(document, item) for item in node]
    return node


class Description:
    """openapi.yaml, and which of its answers have been seen."""

    def __init__(self, path):
        with open(path, encoding="utf-8") as file:
            source = yaml.safe_load(file)
        validate_openapi(source)
        self.paths = resolve(source, source)["paths"]
        self.unseen = {
            (path, status) for path in self.paths for status in self.operation(path)["responses"]
        }

    def operation(self, path):
        """The one operation of a path."""
        return next(item for name, item in self.paths[path].items() if name in ("get", "post"))

    def check(self, port, path, query, headers=None, expect=200, method="GET", body=None):
        """Sends a request; returns the body, checked as the answer that is described for the expected status."""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        target = path + ("?" + urlencode(query, safe=",") if query else "")
        connection.request(method, target, body=body, headers=headers or {})
        answer = connection.getresponse()
        where = f"{method} {target.split('token=')[0]}: {answer.status}"
        assert answer.status == expect, f"{where} instead of {expect}: {answer.read()!r}"
        described = self.operation(path)["responses"].get(str(answer.status))
        assert described is not None, f"{where} is not described"
        optional = "when" in json.dumps(described.get("headers", {}).get("Sec-WebSocket-Version", {})).lower()
        for name, header in described.get("headers", {}).items():
            value = answer.headers.get(name)
            if value is None and (optional or answer.status == 101):
                continue
            assert value is not None, f"{where} has no {name}"
            jsonschema.validate(value, header["schema"])
        self.unseen.discard((path, str(answer.status)))
        if answer.status == 101:
            connection.close()
            return None
        assert answer.headers["Cache-Control"] == "no-store", f"{where} is for caches"
        assert answer.headers["Date"], f"{where} has no date"
        if "text/event-stream" in described["content"]:
            assert answer.headers["Content-Type"] == "text/event-stream", f"{where} is no event stream"
            assert answer.readline().startswith(b"retry: "), f"{where} does not begin as described"
            connection.close()
            return None
        content = described["content"]["application/json"]
        assert answer.headers["Content-Type"] == "application/json", f"{where} is {answer.headers['Content-Type']}"
        body = json.loads(answer.read())
        jsonschema.validate(body, content["schema"])
        if "example" in content:
            jsonschema.validate(content["example"], content["schema"])
        connection.close()
        return body


def redis(port, *words):
    """One command; returns the first line of its reply."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as link:
        parts = [b"*%d\r\n" % len(words)]
        for word in words:
            data = word.encode()
            parts.append(b"$%d\r\n%s\r\n" % (len(data), data))
        link.sendall(b"".join(parts))
        return link.makefile("rb").readline().strip()


def check_requests(description, open_port, guarded, cut_off, full):
    token = {"isLogin": "true", "userId": "42"}
    check = description.check
    issued = check(open_port, "/get/token", token)["data"]
    check(open_port, "/get/token", {"isLogin": "false", "deviceId": "kiosk", "rooms": "lobby"})
    assert check(open_port, "/get/token", {"isLogin": "true"}, expect=400) == {"data": "Invalid request parameters"}
    check(open_port, "/get/token", token, expect=405, method="DELETE")
    check(guarded, "/get/token", token, expect=401)
    bearer = {"Authorization": f"Bearer {ISSUE_KEY}"}
    own = check(guarded, "/get/token", token, headers=bearer)["data"]
    for _ in range(20):
        # The bucket holds one second's worth and may just have been filled again.
        try:
            check(guarded, "/get/token", token, headers=bearer, expect=429)
            break
        except AssertionError as difference:
            if "200 instead of 429" not in str(difference):
                raise
    else:
        raise AssertionError("no request for a token was refused in twenty")
    check(cut_off, "/get/token", token, expect=503)

    check(open_port, "/heartbeat", {"token": issued})
    assert check(open_port, "/heartbeat", {"token": "x"}, expect=500) == {"data": "token error"}
    check(open_port, "/heartbeat", {"token": issued}, expect=405, method="POST")
    check(open_port, "/heartbeat", {"token": "x"}, {"Authorization": f"Bearer {issued}"}, expect=400)
    check(cut_off, "/heartbeat", {"token": issued}, expect=503)

    query = {"token": issued, "roomIds": "lobby"}
    check(open_port, "/ws", query, HANDSHAKE, expect=101)
    assert check(open_port, "/ws", query, expect=400) == {"data": "Invalid WebSocket handshake"}
    check(open_port, "/ws", query, HANDSHAKE | {"Sec-WebSocket-Version": "8"}, expect=400)
    assert check(open_port, "/ws", {"roomIds": "lobby"}, HANDSHAKE, expect=401) == {"data": "Missing token"}
    assert check(open_port, "/ws", {"token": issued}, HANDSHAKE, expect=401) == {"data": "Missing room"}
    bound = check(open_port, "/get/token", token | {"rooms": "lobby"})["data"]
    refused = check(open_port, "/ws", {"token": bound, "roomIds": "cellar"}, HANDSHAKE, expect=403)
    assert refused == {"data": "Room not allowed"}
    check(open_port, "/ws", query, HANDSHAKE, expect=405, method="POST")
    unknown = check(open_port, "/ws", {"token": "x", "roomIds": "lobby"}, HANDSHAKE, expect=500)
    assert unknown == {"data": "Token error"}
    with connect(f"ws://127.0.0.1:{guarded}/ws?token={own}&roomIds=lobby"):
        check(guarded, "/ws", {"token": own, "roomIds": "lobby"}, HANDSHAKE, expect=429)
        check(guarded, "/events", {"token": own, "roomIds": "lobby"}, expect=429)
    with connect(f"ws://127.0.0.1:{full}/ws?token={issued}&roomIds=lobby"):
        check(full, "/ws", query, HANDSHAKE, expect=503)
        check(full, "/events", query, expect=503)


def check_events(description, open_port):
    check = description.check
    token = {"isLogin": "true", "userId": "42"}
    issued = check(open_port, "/get/token", token)["data"]
    query = {"token": issued, "roomIds": "lobby"}
    check(open_port, "/events", query)
    check(open_port, "/events", query, {"Last-Event-ID": "k3f9x2ab.1795969278590-57"})
    check(open_port, "/events", query, {"Last-Event-ID": "57"}, expect=400)
    assert check(open_port, "/events", {"roomIds": "lobby"}, expect=401) == {"data": "Missing token"}
    bound = check(open_port, "/get/token", token | {"rooms": "lobby"})["data"]
    assert check(open_port, "/events", {"token": bound, "roomIds": "cellar"}, expect=403) == {"data": "Room not allowed"}
    check(open_port, "/events", query, expect=405, method="POST")
    assert check(open_port, "/events", {"token": "x", "roomIds": "lobby"}, expect=500) == {"data": "Token error"}


def check_publishing(description, open_admin, guarded_admin, cut_off_admin, redis_port):
    schema = description.operation("/api/publish")["requestBody"]["content"]["application/json"]["schema"]

    def check(port, request, expect=200, key=ADMIN_KEY, kind="application/json", method="POST"):
        headers = {"Content-Type": kind} | ({"Authorization": f"Bearer {key}"} if key else {})
        return description.check(
            port, "/api/publish", {}, headers, expect, method, json.dumps(request).encode())

    plain = {"room": "lobby", "data": None}
    durable = {"rooms": ["lobby", "user-42"], "type": "t", "data": [1], "durable": True, "once": "k",
               "historyLimit": 5, "historyAgeMs": 600000}
    for request in (plain, durable):
        jsonschema.validate(request, schema)
    assert check(guarded_admin, plain)["rooms"][0].keys() == {"room", "nodes"}
    first = check(guarded_admin, durable)["rooms"]
    again = check(guarded_admin, durable)["rooms"]
    assert [room["id"] for room in first] == [room["id"] for room in again]
    assert all(room["known"] and room["nodes"] is None for room in again)
    for wrong in (
        {"data": 1}, {"room": "lobby"}, {"room": "lobby", "rooms": ["lobby"], "data": 1}, plain | {"durabel": True},
        durable | {"historyAgeMs": 599999}, durable | {"historyLimit": 0}, durable | {"once": ""},
        durable | {"rooms": [str(number) for number in range(101)]}, plain | {"type": 1},
    ):
        try:
            jsonschema.validate(wrong, schema)
            raise AssertionError(f"{wrong} is described as right")
        except jsonschema.ValidationError:
            check(guarded_admin, wrong, expect=400)
    check(guarded_admin, plain, expect=405, method="GET")
    check(guarded_admin, plain, expect=415, kind="text/plain")
    check(open_admin, plain, expect=403)
    assert redis(redis_port, "SET", "room:text", "x") == b"+OK"
    refused = check(guarded_admin, {"rooms": ["text", "lobby"], "data": 1, "durable": True}, expect=503)["rooms"]
    assert "error" in refused[0] and "id" in refused[1]
    check(cut_off_admin, plain, expect=503)
    for _ in range(6):
        try:
            check(guarded_admin, plain, expect=401, key="wrong-" + ADMIN_KEY)
        except AssertionError as difference:
            if "429 instead of 401" not in str(difference):
                raise
            check(guarded_admin, plain, expect=429, key="wrong-" + ADMIN_KEY)
            return
    raise AssertionError("any number of wrong keys may be tried")


def check_frames(directory, description, port, redis_port):
    with open(os.path.join(directory, "asyncapi.yaml"), encoding="utf-8") as file:
        source = yaml.safe_load(file)
    AsyncAPI.model_validate(source)
    messages = resolve(source, source)["components"]["messages"]
    for message in messages.values():
        for example in message["examples"]:
            jsonschema.validate(example["payload"], message["payload"])

    token = description.check(port, "/get/token", {"isLogin": "true", "userId": "42"})["data"]
    with connect(
        f"ws://127.0.0.1:{port}/ws?roomIds=lobby", subprotocols=["roomcast", f"token.{token}"]
    ) as client:
        assert client.subprotocol == "roomcast"
        notice = {"type": "notice", "data": {"text": "Hello"}}
        redis(redis_port, "PUBLISH", "room:lobby", json.dumps(notice))
        received = json.loads(client.recv(timeout=10))
        assert received == notice
        jsonschema.validate(received, messages["Notice"]["payload"])
        assert redis(redis_port, "CLIENT", "KILL", "TYPE", "pubsub") != b":0"
        gap = json.loads(client.recv(timeout=10))
        jsonschema.validate(gap, messages["Gap"]["payload"])
        assert gap["data"]["rooms"] == ["lobby"]


def main():
    directory = sys.argv[1]
    open_port, guarded, cut_off, full, redis_port, *admins = map(int, sys.argv[2:])
    description = Description(os.path.join(directory, "openapi.yaml"))
    check_requests(description, open_port, guarded, cut_off, full)
    check_events(description, open_port)
    check_publishing(description, *admins, redis_port)
    check_frames(directory, description, open_port, redis_port)
    assert not description.unseen, f"described and never seen: {sorted(description.unseen)}"
    print(json.dumps({"seen": sum(len(description.operation(path)["responses"]) for path in description.paths)}))


if __name__ == "__main__":
    try:
        main()
    except (AssertionError, jsonschema.ValidationError) as difference:
        sys.exit(str(difference))
