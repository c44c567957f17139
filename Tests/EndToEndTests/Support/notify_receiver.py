# Usage: notify_receiver.py ADDRESS
# The service manager's end of sd_notify: prints each datagram that comes as one line of JSON. ADDRESS is a path, or
# `@` and an abstract name.
import json
import socket
import sys

address = sys.argv[1]
receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
receiver.bind("\0" + address[1:] if address.startswith("@") else address)
print(json.dumps(["listening"]), flush=True)
while True:
    print(json.dumps(receiver.recv(65536).decode().split("\n")), flush=True)
