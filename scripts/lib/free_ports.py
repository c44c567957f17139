"""Usage: free_ports.py COUNT, or: free_ports.py --check ADDRESS PORT

Prints COUNT TCP ports of 127.0.0.1, distinct and free at this moment, one a line. They are taken from below
the range of ephemeral ports, so that no outgoing connection gets one before its server does: a client that
reconnects to the port of a stopped server within that range can be given the same number as its own source
port, and then talks to itself. With --check the exit status tells whether a server could listen on the port.
"""

import random
import socket
import sys


def listen(address, port):
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        server.bind((address, port))
        server.listen()
    except OSError:
        server.close()
        return None
    return server


def free_ports(count):
    servers = {}
    for port in random.SystemRandom().sample(range(20000, 32000), 2000):
        server = listen("127.0.0.1", port)
        if server is not None:
            servers[port] = server
        if len(servers) == count:
            break
    for server in servers.values():
        server.close()
    if len(servers) < count:
        sys.exit("free_ports.py: no free ports between 20000 and 32000")
    return list(servers)


if __name__ == "__main__":
    if sys.argv[1] == "--check":
        sys.exit(0 if listen(sys.argv[2], int(sys.argv[3])) else 1)
    print("\n".join(str(port) for port in free_ports(int(sys.argv[1]))))
