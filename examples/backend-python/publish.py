"""Sends a notice to a room from a Python backend, through any Redis client; here redis-py.

    pip install redis          (or: apt-get install python3-redis)
    REDIS_URL=redis://127.0.0.1:6379 python3 publish.py lobby "Hello from Python"
    REDIS_URL=redis://127.0.0.1:6379 python3 publish.py lobby "Order 4711 is paid" order-4711

With a key as the third argument the notice is durable: the room's history keeps it, and however often this is called with
the key, it is published once. The function in Redis that does this is loaded by the nodes, or with
`publisher library | redis-cli -x FUNCTION LOAD REPLACE`.
"""

import json
import os
import sys

import redis


def notify(client: redis.Redis, room: str, data: object, kind: str = "notice") -> int:
    """Publishes `data` to `room`; returns how many gateway nodes have a client there."""
    return client.publish(f"room:{room}", json.dumps({"type": kind, "data": data}))


def notify_durably(
    client: redis.Redis, room: str, data: object, key: str, kind: str = "notice", limit: int = 1000, age_ms: int = 3600000
) -> tuple[str, int | None]:
    """Publishes `data` to `room` once for `key`, and keeps it.

    Returns the notice's id, and how many nodes received it: None if the key was known, and nothing was published now. A
    redis.ConnectionError leaves open whether the notice is out; call this again with the same key, within five minutes.
    """
    notice = json.dumps({"type": kind, "data": data}, separators=(",", ":"))
    keys = [f"room:{room}", f"once:{{room:{room}}}:{key}"]
    for attempt in range(3):
        try:
            notice_id, nodes = client.execute_command("FCALL", "roomcast_publish", 2, *keys, notice, limit, age_ms)
            return notice_id.decode(), nodes if nodes >= 0 else None
        except (redis.ConnectionError, redis.TimeoutError):
            if attempt == 2:
                raise
    raise AssertionError("unreachable")


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(f"usage: {sys.argv[0]} ROOM TEXT [KEY]")
    connection = redis.Redis.from_url(os.environ.get("REDIS_URL", "redis://127.0.0.1:6379"), socket_timeout=5)
    if len(sys.argv) == 3:
        nodes = notify(connection, sys.argv[1], {"text": sys.argv[2]})
        print(f"sent to {nodes} node{'' if nodes == 1 else 's'}")
    else:
        notice_id, nodes = notify_durably(connection, sys.argv[1], {"text": sys.argv[2]}, sys.argv[3])
        print(f"{notice_id}: already published" if nodes is None else f"{notice_id}: {nodes} node{'' if nodes == 1 else 's'}")
