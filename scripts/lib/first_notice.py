"""Usage: first_notice.py HOST:PORT PUBLISHER

Sends one notice through the whole chain and shows it: token and WebSocket through nginx, the notice through
the publisher (its Redis comes from the environment). Exits 1 with one line when a step fails.
"""

import json
import os
import subprocess
import sys
import time
import urllib.request

from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

STEP_SECONDS = 10
ROOM = "welcome"


def get_token(edge):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    url = f"http://{edge}/get/token?isLogin=false&deviceId=first-notice"
    with opener.open(url, timeout=STEP_SECONDS) as answer:
        return json.load(answer)["data"]


def publish(publisher, notice):
    command = [publisher, "--room", ROOM, "--data", json.dumps(notice)]
    finished = subprocess.run(command, env=os.environ, capture_output=True, text=True, timeout=STEP_SECONDS)
    if finished.returncode != 0:
        raise OSError(f"publisher ended with {finished.returncode}: {finished.stderr.strip()}")


def send_and_receive(edge, publisher):
    notice = {"text": "Hello from Roomcast", "number": time.time_ns()}
    address = f"ws://{edge}/ws?token={get_token(edge)}&roomIds={ROOM}"
    with connect(address, open_timeout=STEP_SECONDS, proxy=None) as client:
        started = time.monotonic()
        publish(publisher, notice)
        text = client.recv(timeout=STEP_SECONDS)
        elapsed_milliseconds = (time.monotonic() - started) * 1000
    if json.loads(text) != {"type": "notice", "data": notice}:
        raise OSError(f"unexpected message: {text}")
    print(f"A client received {text}")
    print(f"{elapsed_milliseconds:.1f} ms after the publisher was started")


try:
    send_and_receive(sys.argv[1], sys.argv[2])
except (OSError, ValueError, WebSocketException, subprocess.TimeoutExpired) as error:
    sys.exit(f"first_notice.py: {type(error).__name__}: {error}")
