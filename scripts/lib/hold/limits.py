"""What the system must allow before a hold is begun: each limit with what the run needs of it."""

import resource
from pathlib import Path

# Of a gateway's descriptors; the rest is for requests: loadtest keeps 64 connections for them in each of its
# processes, and up to 512 handshakes on their way.
GATEWAY_SHARE = 0.8
HANDSHAKES_ON_THEIR_WAY = 512
CLIENTS_PER_LOAD_PROCESS = 15000
# loadtest takes this many ports of one source address towards one gateway, then the next address.
PORTS_PER_SOURCE = 20000
# Both ends in the kernel and all processes together, with a reserve; measured: docs/HOLD.md.
BYTES_PER_CLIENT = 24 << 10
BYTES_PER_CLIENT_BEHIND_NGINX = 80 << 10
# Descriptors of an nginx worker that are no tunnels: log, listener, requests.
NGINX_RESERVED = 1500


def descriptors_per_process():
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def number(path):
    """The last number of a file of /proc; None where this kernel has none."""
    try:
        return int(Path(path).read_text().split()[-1])
    except (OSError, ValueError, IndexError):
        return None


def first_numbers(path):
    return [int(word) for word in Path(path).read_text().split() if word.isdigit()]


def memory_available():
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0


def processes_for(clients, each):
    return -(-clients // each)


def gateways_for(clients):
    return processes_for(clients, int(descriptors_per_process() * GATEWAY_SHARE))


def nginx_workers_for(clients):
    """A tunnel takes two descriptors of its worker process."""
    return processes_for(clients, max(1, (descriptors_per_process() - NGINX_RESERVED) // 2))


def obstacles(clients, gateways, has_nginx):
    """Sentences, one for each limit that stands in the way of a run."""
    found = []

    def need(name, have, wanted, what):
        if have is not None and have < wanted:
            found.append(f"{name} is {have}, and {what} needs {wanted}")

    pairs = clients * (2 if has_nginx else 1)
    share = processes_for(clients, gateways)
    load_processes = processes_for(clients, CLIENTS_PER_LOAD_PROCESS)
    descriptors = descriptors_per_process()
    need("ulimit -Hn", descriptors, int(share / GATEWAY_SHARE), f"a gateway with {share} clients")
    need("ulimit -Hn", descriptors, min(clients, CLIENTS_PER_LOAD_PROCESS) + 128,
         "a process of the load test")
    need("net.core.somaxconn", number("/proc/sys/net/core/somaxconn"),
         min(4096, HANDSHAKES_ON_THEIR_WAY * processes_for(load_processes, gateways)),
         "a wave of handshakes at one listener")
    low, high = first_numbers("/proc/sys/net/ipv4/ip_local_port_range")
    ports = share if has_nginx else min(share, PORTS_PER_SOURCE)
    need("the range net.ipv4.ip_local_port_range", high - low + 1, ports,
         "connections of one address to a gateway")
    # Each connection is two sockets, each with a descriptor and a place in an epoll set.
    used = first_numbers("/proc/sys/fs/file-nr")[0]
    need("fs.file-max, less what is open,", number("/proc/sys/fs/file-max") - used, 2 * pairs,
         "all sockets together")
    need("fs.epoll.max_user_watches", number("/proc/sys/fs/epoll/max_user_watches"), 2 * pairs,
         "all epoll sets together")
    tracked_most = number("/proc/sys/net/netfilter/nf_conntrack_max")
    if tracked_most is not None:
        tracked = number("/proc/sys/net/netfilter/nf_conntrack_count")
        need("net.netfilter.nf_conntrack_max, less what is tracked (closed connections: for two minutes),",
             tracked_most - tracked, pairs + pairs // 50, "tracking all connections")
    # A socket with anything queued holds a page.
    pages = first_numbers("/proc/sys/net/ipv4/tcp_mem")
    need("net.ipv4.tcp_mem (its middle value, pages)", pages[1], pairs, "a notice on its way to all")
    each = BYTES_PER_CLIENT_BEHIND_NGINX if has_nginx else BYTES_PER_CLIENT
    need("the available memory, in MiB,", memory_available() >> 20, clients * each >> 20, "everything together")
    return found
