"""The installation of a soak: a redis-server or a cluster of six, three gateways and nginx, as deployments run them. Each
process can be ended and started again; one that ends by itself is a failure."""

import asyncio
import os
import signal
import subprocess
import time

import client
from cluster import SERVER_COUNT, ClusterSession, DeployedCluster
from free_ports import free_ports
from processes import POLL_SECONDS, ROOT, START_SECONDS, DeployedRedis, ProcessError, Processes
from redis_client import RedisSession

# For so long a node stays in a room without clients.
UNSUBSCRIBE_GRACE_SECONDS = 2
NODE_COUNT = 3
DRAIN_SECONDS = 3
# From what is enough for everybody who comes back soon to next to nothing, so that nearly all of it is read from Redis.
HISTORY_CACHES = ("4MiB", "64KiB", "512KiB")


class Installation:
    """All processes, their ports, and sessions to Redis as the users of deploy/redis.conf."""

    def __init__(self, directory, binaries, is_durable=False, is_secured=False, is_cluster=False):
        self.directory, self.binaries, self._is_durable = directory, binaries, is_durable
        help_text = subprocess.run(
            [binaries / "gateway", "--help"], check=True, capture_output=True, text=True).stdout
        self.declares_gaps = "--gap-notice" in help_text
        self.port, *ports = free_ports(1 + 2 * NODE_COUNT + 2 * SERVER_COUNT)
        self._ports, self.admin_ports, ports = ports[:NODE_COUNT], ports[NODE_COUNT:2 * NODE_COUNT], ports[2 * NODE_COUNT:]
        self.processes = Processes(directory)
        if is_cluster:
            self.server = DeployedCluster(self.processes, ports)
        else:
            self.server = DeployedRedis(self.processes, ports[0], is_secured)
        self.nodes = [self._node(number) for number in range(1, NODE_COUNT + 1)]
        gateways = " ".join(f"127.0.0.1:{port}" for port in self._ports)
        self.nginx = self.processes.add("nginx", [ROOT / "deploy/nginx-start", directory], {
            "NGINX_LISTEN": f"127.0.0.1:{self.port}", "NGINX_GATEWAYS": gateways,
            # As the composition of a cluster has it: a 503 for the tokens of one master is no failure of the node.
            **({"NGINX_MAX_FAILS": "0"} if is_cluster else {})})

    def _node(self, number):
        # Rooms are left soon, so that leaving and joining again happens often; queues are short, so that slow
        # clients are cut while they are looked at.
        # The first node has one thread for all.
        options = ["--workers", 1 if number == 1 else 2, "--unsubscribe-grace", f"{UNSUBSCRIBE_GRACE_SECONDS}s", "--maximum-queue-bytes", "256KiB"]
        if self.declares_gaps:
            options += ["--gap-notice", "on"]
        if self._is_durable:
            options += ["--history-cache", HISTORY_CACHES[number - 1]]
        return self.processes.add(f"node-{number}", [self.binaries / "gateway", *options], {
            "GATEWAY_LISTEN": f"127.0.0.1:{self._ports[number - 1]}",
            "GATEWAY_ADMIN_LISTEN": f"127.0.0.1:{self.admin_ports[number - 1]}",
            **self.server.environment("GATEWAY", "gateway"), "GATEWAY_NODE_ID": f"node-{number}",
            "GATEWAY_TRUSTED_PROXIES": "127.0.0.1/32", "GATEWAY_DRAIN_TIME": f"{DRAIN_SECONDS}s"})

    @property
    def redis(self):
        """The process of the one server."""
        return self.server.process

    def session(self, user, lookout=None):
        """`lookout`: of a cluster's session, see there."""
        if isinstance(self.server, DeployedCluster):
            return ClusterSession(
                [server.port for server in self.server.servers], user, self.server.password(user), lookout)
        return RedisSession(self.server.port, user, self.server.password(user), self.server.authority)

    async def start(self):
        for server in self.server.servers:
            server.process.start()
        for server in self.server.servers:
            await self.redis_answers(server)
        await self.server.form()
        for node in self.nodes:
            node.start()
        for node in self.nodes:
            await self.node_is_ready(node)
        self.nginx.start()
        await self.nginx_answers()

    async def _wait(self, process, is_ready):
        deadline = time.monotonic() + START_SECONDS
        while not await is_ready():
            process.check()
            if time.monotonic() >= deadline:
                raise ProcessError(f"{process.name} was not ready within {START_SECONDS} s (its log: {process.log})")
            await asyncio.sleep(POLL_SECONDS)

    async def redis_answers(self, server=None):
        """Waits for the one server, or for this one."""
        server = server or self.server

        async def is_ready():
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", server.port)
            except OSError:
                return False
            writer.close()
            return True
        await self._wait(server.process, is_ready)

    async def node_is_ready(self, node):
        port = self.admin_ports[self.nodes.index(node)]
        await self._wait(node, lambda: self._answers(port, "/readyz", 200))

    async def nginx_answers(self):
        # A path that only a gateway knows to be unknown.
        await self._wait(self.nginx, lambda: self._answers(self.port, "/", 404))

    async def _answers(self, port, path, wanted):
        try:
            status, _ = await client.get(port, path)
        except (OSError, EOFError):
            return False
        return status == wanted

    def signal_nginx(self, number):
        """To nginx itself: nginx-start would let tunnels end first."""
        if number != signal.SIGHUP:
            self.nginx.should_run = False
        os.kill(int((self.directory / "nginx.pid").read_text()), number)

    def stop(self):
        """Ends all, nginx first: nobody is left to be drained. Returns who had to be killed."""
        if (self.directory / "nginx.pid").exists() and self.nginx.run > 0:
            try:
                self.signal_nginx(signal.SIGTERM)
            except (ProcessLookupError, ValueError):
                pass
        return self.processes.stop_all()
