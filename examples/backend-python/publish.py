"""Sends a notice to a room from a Python backend, through any Redis client; here redis-py.

    pip install redis          (or: apt-get install python3-redis)
    REDIS_URL=redis://127.0.0.1:6379 python3 publish.py lobby "Hello from Python"
"""

import json
import os
import sys

import redis


def notify(client: redis.Redis, room: str, data: object, kind: str = "notice") -> int:
    """Publishes `data` to `room`; returns how many gateway nodes have a client there."""
    return client.publish(f"room:{room}", json.dumps({"type": kind, "data": data}))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(f"usage: {sys.argv[0]} ROOM TEXT")
    connection = redis.Redis.from_url(os.environ.get("REDIS_URL", "redis://127.0.0.1:6379"), socket_timeout=5)
    nodes = notify(connection, sys.argv[1], {"text": sys.argv[2]})
    print(f"sent to {nodes} node{'' if nodes == 1 else 's'}")
