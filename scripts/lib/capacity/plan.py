"""How many nodes and masters carry a load, what each of them has to do, and which wall is hit first."""

import math

from model import CLIENT_SHARE, MILLION, Load

MAXIMUM_NODES, MAXIMUM_MASTERS = 100_000, 1000
# A cluster of fewer masters cannot elect one for a master that has failed.
LEAST_MASTERS = 3
BUS_SHARE = 0.8
REMEDIES = {
    "descriptors": "raise LimitNOFILE=, or take more nodes",
    "node memory": "take more nodes",
    "CPU of workers": "take more cores or nodes; publish less to large rooms",
    "network of a node": "take more nodes; compress; send less",
    "Redis CPU": "--heartbeat pong, longer intervals, more masters of a Redis Cluster",
    "Redis memory": "a larger Redis or more masters; keep fewer durable notices",
    "network of Redis": "fewer, larger nodes; rooms that are on fewer nodes; smaller payloads",
    "cluster bus": "publish less: no number of masters moves it, since each PUBLISH costs every server",
}


class Plan:
    """`nodes` and `masters` are None if no number is enough; then `obstacle` says why. One master is a single Redis."""

    def __init__(self, profile, machines, costs):
        self.profile, self.machines, self.load = profile, machines, Load(profile, costs)
        self.obstacle = None
        self.nodes = self._least_nodes()
        self.masters = None if self.nodes is None else self._least_masters()

    @property
    def carriers(self):
        """All nodes but one, which may fail."""
        return self.nodes - 1

    @property
    def servers(self):
        """That take subscribers: with one Redis its replicas stand by."""
        return 1 if self.masters == 1 else self.masters * (1 + self.machines.replicas)

    # Nodes

    def _node_limits(self, nodes):
        """[(wall, used, limit)] of each of so many nodes."""
        machines, load = self.machines, self.load
        return [
            ("descriptors", self.profile.clients / nodes, CLIENT_SHARE * machines.descriptors),
            ("CPU of workers", load.node_cpu(nodes).busy / MILLION, machines.target * machines.node_cores),
            ("node memory", load.node_memory(nodes), machines.target * machines.node_memory),
            ("network of a node", 8 * load.client_bytes() / nodes, machines.target * machines.node_network)]

    def _carries(self, nodes):
        return self.profile.clients / nodes <= self.machines.node_clients and all(
            used <= limit for _, used, limit in self._node_limits(nodes))

    def _least_nodes(self):
        """As many as carry the load, and one more. What each has to do never grows with their number."""
        if not self._carries(MAXIMUM_NODES):
            wall = max(self._node_limits(MAXIMUM_NODES), key=lambda each: each[1] / each[2])[0]
            self.obstacle = f"{MAXIMUM_NODES:,} nodes do not carry this: {wall}"
            return None
        few, many = 0, 1
        while not self._carries(many):
            few, many = many, many * 2
        while many - few > 1:
            middle = (few + many) // 2
            few, many = (few, middle) if self._carries(middle) else (middle, many)
        return many + 1

    # Redis

    def _redis_limits(self, masters):
        machines, load = self.machines, self.load
        if masters == 1:
            cpu, servers = load.redis_cpu(self.nodes), 1
        else:
            servers = masters * (1 + machines.replicas)
            cpu = load.master_cpu(self.nodes, masters, machines.replicas)
        found = [
            ("Redis CPU", cpu.busy / MILLION, machines.target),
            ("Redis memory", load.redis_memory(self.nodes, masters, servers) / masters,
             machines.target * machines.redis_memory),
            ("network of Redis", 8 * load.redis_network(self.nodes, masters, servers),
             machines.target * machines.redis_network)]
        if masters > 1:
            found.append(("cluster bus", load.bus_cpu(servers).busy / MILLION, machines.target))
        return found

    def _least_masters(self):
        for masters in [1, *range(LEAST_MASTERS, MAXIMUM_MASTERS + 1)]:
            if all(used <= limit for _, used, limit in self._redis_limits(masters)):
                return masters
        limits = self._redis_limits(MAXIMUM_MASTERS)
        wall = self._named(next(wall for wall, used, limit in limits if used > limit), limits)
        self.obstacle = f"{MAXIMUM_MASTERS:,} masters do not carry this: {wall} ({REMEDIES[wall]})"
        return None

    @staticmethod
    def _named(wall, limits):
        """The bus is a part of Redis' CPU: where it is almost all of it, that is the wall: more masters do not help."""
        used = {name: value for name, value, _ in limits}
        return "cluster bus" if wall == "Redis CPU" and used.get("cluster bus", 0) > BUS_SHARE * used[wall] else wall

    # Walls

    def walls(self):
        """How near each limit is with one node gone, the nearest first; with the number of clients, with the same
        habits and as many rooms and messages for each, at which these nodes and masters reach it."""
        limits = self._node_limits(self.carriers) + self._redis_limits(self.masters)
        shares = [(wall, used, limit, used / limit) for wall, used, limit in limits]
        return sorted(({"wall": wall, "used": used, "limit": limit, "share": share,
                        "clients": self.profile.clients / share if share else None, "remedy": self._remedy(wall)}
                       for wall, used, limit, share in shares), key=lambda each: -each["share"])

    def _remedy(self, wall):
        """What is left to do."""
        done = "--heartbeat pong, " if self.profile.heartbeat == "pong" else ""
        return REMEDIES[wall].removeprefix(done)

    def first_wall(self):
        """Its entry of `walls`."""
        walls = self.walls()
        name = self._named(walls[0]["wall"], self._redis_limits(self.masters))
        return next(wall for wall in walls if wall["wall"] == name)

    # What the installation is

    def rows(self):
        """[(group, name, unit, value, value of the same alone or None)]"""
        load = self.load
        found = [
            ("load", "heartbeats", "/s", load.beats, None),
            ("load", "new clients (token, handshake)", "/s", load.sessions, None),
            ("load", "messages published", "/s", load.messages, None),
            ("load", "deliveries to clients", "/s", load.deliveries, None)]
        if self.nodes is None:
            return found
        found.append(("load", "copies from Redis to nodes", "/s", load.copies(self.nodes), None))
        found += self._node_rows()
        if self.masters is not None:
            found += self._redis_rows()
        return found

    def _node_rows(self):
        load, each = self.load, self.profile.clients / self.carriers
        cpu = load.node_cpu(self.carriers)
        session = load.costs["handshakes"] / MILLION
        return [
            ("nodes", "gateway nodes, one may fail", "", self.nodes, None),
            ("nodes", "clients of each, one gone", "", each, None),
            ("nodes", "cores of each", "", self._cores(), None),
            ("nodes", "CPU used of each, busy to alone", "cores", cpu.busy / MILLION, cpu.alone / MILLION),
            ("nodes", "memory of each", "bytes", load.node_memory(self.carriers), None),
            ("nodes", "network from each to clients", "bit/s", 8 * load.client_bytes() / self.carriers, None),
            ("nodes", "CPU for a lost node's clients to return", "core s", each * session, None)]

    def _redis_rows(self):
        load, masters, servers, nodes = self.load, self.masters, self.servers, self.nodes
        cluster = masters > 1
        cpu = load.master_cpu(nodes, masters, self.machines.replicas) if cluster else load.redis_cpu(nodes)
        cores = self._cores()
        taken, given = load.store_bytes()
        links = nodes * cores + math.ceil(nodes / servers) if cluster else nodes * (cores + 1)
        each = " of each" if cluster else ""
        found = [
            ("Redis", "masters of a Redis Cluster" if cluster else "Redis servers, no cluster", "", masters, None),
            ("Redis", "replicas", "", masters * self.machines.replicas, None),
            ("Redis", f"CPU used{each}, busy to alone", "cores", cpu.busy / MILLION, cpu.alone / MILLION)]
        if cluster:
            bus = load.bus_cpu(servers)
            found.append(("Redis", "of that, cluster bus", "cores", bus.busy / MILLION, bus.alone / MILLION))
        found += [
            ("Redis", f"memory{each}", "bytes", load.redis_memory(nodes, masters, servers) / masters, None),
            ("Redis", f"connections{each}, at least", "", links, None),
            ("network", "into Redis", "bit/s", 8 * (taken + load.published_bytes()), None),
            ("network", "from Redis to nodes", "bit/s", 8 * (given + load.copied_bytes(nodes)), None)]
        if cluster:
            found.append(
                ("network", "cluster bus, to all servers", "bit/s", 8 * load.bus_bytes() * (servers - 1), None))
        found.append(("network", "from nodes to clients", "bit/s", 8 * load.client_bytes(), None))
        return found

    def _cores(self):
        return max(1, math.ceil(self.load.node_cpu(self.carriers).busy / MILLION / self.machines.target))
