"""The load of an installation, from what its clients do, and what it takes of a node, of Redis and of the network. CPU
comes as two figures in microseconds a second: `busy`, of commands and messages that come close together, which is what
a loaded process pays and what its limit is; and `alone`, of each by itself, which is what `top` may show."""

import math
from dataclasses import dataclass

# Bytes beside the payload, from the protocols: Ethernet, IP and TCP with timestamps of a packet; RESP of a PUBLISH and
# of a message to a subscriber, with a room's name; RESP of a renewal and of its look-up; HTTP of a heartbeat and of its
# answer; token, handshake and their answers; the header of a message on the cluster bus (Redis 7: clusterMsg).
PACKET_BYTES, SEGMENT_BYTES = 66, 1448
PUBLISH_BYTES, MESSAGE_BYTES = 60, 60
RENEWAL_BYTES, RENEWED_BYTES = 260, 40
BEAT_ANSWER_BYTES = 350
SESSION_BYTES = 1500
BUS_BYTES = 2256
# A frame's header, and what an event stream has around a notice.
FRAME_BYTES, EVENT_BYTES = 4, 8
# The kernel's part of a connection, of one end (docs/HOLD.md: both ends 10.4 KiB).
KERNEL_BYTES = 5.2 * 1024
# A stream without its notices (docs/guides/durable-rooms.md).
HISTORY_BYTES = 4400
# Standards of gateway and publisher.
TOKEN_SECONDS, PING_SECONDS = 3600, 25
HISTORY_COUNT, HISTORY_SECONDS = 1000, 3600
HISTORY_CACHE_BYTES = 32 << 20
RENEWALS_PER_TOKEN = 4
# Of its descriptors a node gives so many to clients.
CLIENT_SHARE = 0.9
MILLION = 1e6


@dataclass(frozen=True)
class Kind:
    """Rooms of one kind: each client is in one of them."""
    rooms: float
    rate: float
    payload: int
    durable: float


@dataclass(frozen=True)
class Profile:
    """What the clients do. Shares from 0 to 1."""
    clients: float
    kinds: tuple = ()
    heartbeat: str = "request"
    interval: float = 25.0
    session: float = 1800.0
    compressed: float = 0.0
    streams: float = 0.0


@dataclass(frozen=True)
class Machines:
    """What a node and a server of Redis have. Bytes; bits a second; `target` is how much of it is to be used."""
    node_clients: int = 50_000
    descriptors: int = 262_144
    node_cores: int = 4
    node_memory: float = 8 * 2**30
    node_network: float = 10e9
    redis_memory: float = 16 * 2**30
    redis_network: float = 10e9
    replicas: int = 1
    target: float = 0.6


@dataclass(frozen=True)
class Span:
    """`busy` and `alone`, or two figures that are as far apart."""
    busy: float
    alone: float

    @staticmethod
    def of(cost):
        """A measured cost. Noise on a machine that others use as well may turn the two around."""
        busy = cost["together"]
        return Span(busy, max(busy, cost.get("alone", busy)))

    def __add__(self, other):
        return Span(self.busy + other.busy, self.alone + other.alone)

    def __mul__(self, factor):
        return Span(self.busy * factor, self.alone * factor)


ZERO = Span(0, 0)


def along(points, at):
    """The value at `at` on the line through points (x, y) with rising x. It never falls: a point below an earlier one
    is noise. Before the first point it is the first value, and behind the last point the last slope goes on."""
    rising, most = [], -math.inf
    for x, y in points:
        most = max(most, y)
        rising.append((x, most))
    if at <= rising[0][0] or len(rising) == 1:
        return rising[0][1]
    first, last = next(((one, two) for one, two in zip(rising, rising[1:]) if at <= two[0]), rising[-2:])
    return first[1] + (last[1] - first[1]) * (at - first[0]) / (last[0] - first[0])


def spread(nodes, members):
    """On how many of the nodes a room is that has so many members on average, if chance places them."""
    return nodes * -math.expm1(-members / nodes)


class Load:
    """All that comes in a second."""

    def __init__(self, profile, costs):
        self.profile, self.costs = profile, costs
        self.beats = profile.clients / profile.interval
        # With pongs only event streams send requests.
        self.requests = self.beats * (profile.streams if profile.heartbeat == "pong" else 1)
        self.pongs = self.beats - self.requests
        self.sessions = profile.clients / profile.session
        self.messages = sum(kind.rate for kind in profile.kinds)
        self.deliveries = sum(kind.rate * self.members(kind) for kind in profile.kinds)
        # One for each client, and those of clients that have left within a token's life.
        self.tokens = profile.clients * (1 + TOKEN_SECONDS / profile.session)

    def members(self, kind):
        return self.profile.clients / kind.rooms

    def copies(self, nodes):
        """Messages from Redis to nodes."""
        return sum(kind.rate * spread(nodes, self.members(kind)) for kind in self.profile.kinds)

    def subscriptions(self, nodes):
        return sum(kind.rooms * spread(nodes, self.members(kind)) for kind in self.profile.kinds)

    # Bytes

    def wire_bytes(self, payload):
        """A delivery, on average over the clients."""
        plain = payload + self.profile.streams * EVENT_BYTES + (1 - self.profile.streams) * FRAME_BYTES
        points = [(0, 0), *((point["bytes"], point["wireBytes-on"]) for point in self.costs["compression"])]
        saved = max(0, payload + FRAME_BYTES - along(points, payload))
        sent = plain - self._compressed * saved
        return sent + PACKET_BYTES * (1 + int(sent) // SEGMENT_BYTES)

    @property
    def _compressed(self):
        """Share of clients: event streams are never compressed."""
        return self.profile.compressed * (1 - self.profile.streams)

    def client_bytes(self):
        """To all clients."""
        delivered = sum(kind.rate * self.members(kind) * self.wire_bytes(kind.payload) for kind in self.profile.kinds)
        kept = self.requests * (BEAT_ANSWER_BYTES + PACKET_BYTES) + self.profile.clients / PING_SECONDS * PACKET_BYTES
        return delivered + kept + self.sessions * SESSION_BYTES

    def store_bytes(self):
        """Heartbeats and sessions, to Redis and back: two figures."""
        return (self.requests * RENEWAL_BYTES + self.sessions * SESSION_BYTES,
                self.requests * RENEWED_BYTES + self.sessions * SESSION_BYTES / 4)

    def published_bytes(self):
        return sum(kind.rate * (kind.payload + PUBLISH_BYTES) for kind in self.profile.kinds)

    def copied_bytes(self, nodes):
        return sum(kind.rate * spread(nodes, self.members(kind)) * (kind.payload + MESSAGE_BYTES)
                   for kind in self.profile.kinds)

    # A node

    def node_cpu(self, nodes):
        """Of each of so many nodes."""
        costs, each = self.costs, self.profile.clients / nodes
        idle, pong = costs["idle"]["node"], costs["pong"]["node"]
        share = self.pongs / self.beats
        beats = (pong * share + idle * (1 - share)) * PING_SECONDS / self.profile.interval
        session = costs["handshakes"] + costs["requests"]["/get/token"]
        used = Span(1, 1) * (each * beats + self.sessions / nodes * session)
        for kind in self.profile.kinds:
            used += self._message(kind) * (kind.rate * spread(nodes, self.members(kind)) / nodes)
            used += Span(1, 1) * (kind.rate * self.members(kind) / nodes * self._delivery(kind.payload))
        return used

    def _delivery(self, payload):
        """A write to one client: row B, with the sizes of the row about compression."""
        sizes = [(point["bytes"], point["delivery-off"]) for point in self.costs["compression"]]
        return self.costs["B"] * along(sizes, payload) / sizes[0][1]

    def _message(self, kind):
        """A message on a node that has the room, without its deliveries."""
        costs = self.costs
        sizes = [(point["bytes"], point["message-off"]) for point in costs["compression"]]
        busy = costs["durable"]["message"] + along(sizes, kind.payload) - sizes[0][1]
        busy += kind.durable * max(0, costs["durable"]["durable"] - costs["durable"]["message"])
        if self._compressed > 0:
            extra = [(point["bytes"], point["message-on"] - point["message-off"]) for point in costs["compression"]]
            busy += max(0, along(extra, kind.payload))
        # Row C: ten deliveries a message, each message by itself.
        waking = max(0, 10 * (costs["C"] - costs["B"]) - costs["durable"]["message"])
        return Span(busy, busy + waking)

    def node_memory(self, nodes):
        memory = self.costs["memory"]
        is_durable = any(kind.durable and kind.rate for kind in self.profile.kinds)
        return (memory["fresh"] + self.profile.clients / nodes * (memory["connection"] + KERNEL_BYTES)
                + (HISTORY_CACHE_BYTES if is_durable else 0))

    # Redis

    def token_cpu(self):
        """Heartbeats and sessions: what a cluster divides among its masters."""
        commands = self.costs["redis"]["commands"]
        renewal, confirmation = Span.of(commands["heartbeat"]), Span.of(commands["confirm"])
        # The mean of many clients at rest, less what Redis does beside heartbeats.
        rest = max(0, self.costs["idle"]["redis"] - self.costs["pong"]["redis"]) * PING_SECONDS
        beat = renewal + confirmation
        beat = Span(beat.busy, max(beat.busy, rest))
        looked_up = Span.of(commands["lookUp"])
        renewals = self.pongs * self.profile.interval * RENEWALS_PER_TOKEN / TOKEN_SECONDS
        session = Span.of(commands["issue"]) + Span.of(commands["handshake"])
        return beat * self.requests + renewal * renewals + looked_up * self.pongs + session * self.sessions

    def publish_cpu(self, receivers, payload):
        """A PUBLISH to so many nodes."""
        points = self.costs["redis"]["publish"]
        sizes = sorted({point["bytes"] for point in points})

        def at(name):
            curves = []
            for size in sizes:
                curve = [(point["receivers"], Span.of(point)) for point in points if point["bytes"] == size]
                curves.append((size, along([(count, getattr(cost, name)) for count, cost in curve], receivers)))
            return along(curves, payload)
        return Span(at("busy"), max(at("busy"), at("alone")))

    def durable_cpu(self, payload):
        """What storing a notice adds to publishing it."""
        points = self.costs["redis"]["durable"]
        plain = self.publish_cpu(0, payload)

        def at(name):
            return along([(point["bytes"], getattr(Span.of(point), name)) for point in points], payload)
        return Span(max(0, at("busy") - plain.busy), max(0, at("busy") - plain.busy, at("alone") - plain.alone))

    def redis_cpu(self, nodes):
        """Of one Redis that serves all."""
        used = self.token_cpu()
        for kind in self.profile.kinds:
            used += self.publish_cpu(spread(nodes, self.members(kind)), kind.payload) * kind.rate
            used += self.durable_cpu(kind.payload) * (kind.rate * kind.durable)
        return used

    def bus_cpu(self, servers):
        """What all PUBLISHes cost each server of a cluster, whoever receives them: reading them, and its share in
        sending them."""
        bus = self.costs["redis"]["bus"]
        plain = self.publish_cpu(0, bus["bytes"])

        def at(how, name):
            link = max(0, bus[how]["publishing"] - getattr(plain, name)) / (bus["nodes"] - 1)
            return bus[how]["other"] + link
        busy = at("together", "busy")
        return Span(busy, max(busy, at("alone", "alone"))) * self.messages

    def master_cpu(self, nodes, masters, replicas):
        """Of each master of a cluster, whose replicas take their share of the subscribers."""
        servers = masters * (1 + replicas)
        used = self.token_cpu() * (1 / masters) + self.bus_cpu(servers)
        for kind in self.profile.kinds:
            plain = self.publish_cpu(0, kind.payload)
            receivers = spread(nodes, self.members(kind)) / servers
            all_of_it = self.publish_cpu(receivers, kind.payload)
            copies = Span(all_of_it.busy - plain.busy, max(0, all_of_it.alone - plain.alone))
            used += (plain * (1 / masters) + copies) * kind.rate
            used += self.durable_cpu(kind.payload) * (kind.rate * kind.durable / masters)
        return used

    def redis_memory(self, nodes, masters, servers):
        """Of all masters together."""
        memory = self.costs["redis"]["memory"]
        used = self.tokens * memory["token"]
        for kind in self.profile.kinds:
            subscribed = spread(nodes, self.members(kind))
            # Each server of a cluster knows the channels of its own subscribers.
            first = min(subscribed, servers)
            channels = first * memory["channel"] + (subscribed - first) * memory["furtherNode"]
            used += kind.rooms * channels * masters / servers
            used += kind.rooms * self._history_bytes(kind)
        return used

    def _history_bytes(self, kind):
        rate = kind.rate * kind.durable / kind.rooms
        if rate == 0:
            return 0
        sizes = [(point["bytes"], point["bytesANotice"]) for point in self.costs["redis"]["durable"]]
        # A room that gets one in the age of its history keeps what it has.
        kept = HISTORY_COUNT * min(1, rate * HISTORY_SECONDS)
        return min(1, rate * HISTORY_SECONDS) * HISTORY_BYTES + kept * along(sizes, kind.payload)

    def redis_network(self, nodes, masters, servers):
        """Bytes a second of the busiest direction of each master."""
        taken, given = self.store_bytes()
        bus = self.bus_bytes() if servers > 1 else 0
        incoming = taken / masters + self.published_bytes() / masters + bus
        outgoing = given / masters + self.copied_bytes(nodes) / servers + bus * (servers - 1) / masters
        return max(incoming, outgoing)

    def bus_bytes(self):
        """To each server of a cluster."""
        return sum(kind.rate * (kind.payload + BUS_BYTES) for kind in self.profile.kinds)
