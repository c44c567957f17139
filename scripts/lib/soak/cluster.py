"""A Redis Cluster as deployments run it: three masters, each with a replica; and a session to all of its servers."""

import asyncio
import binascii
import os
import re
from dataclasses import dataclass

from processes import POLL_SECONDS, ROOT, DeployedRedis, ProcessError, fresh_passwords
from redis_client import RedisRefusal, RedisSession

SERVER_COUNT = 6
SLOT_COUNT = 16384
# That of deploy/docker-compose.cluster.yml.
NODE_TIMEOUT_MS = 5000
FORM_SECONDS = 60
MAP_SECONDS = 0.1
MAP_ANSWER_SECONDS = 0.5
MOST_REDIRECTIONS = 5
# What a server that is lost has passed on may still be on its way when the next one is asked.
CHANGE_SECONDS = 0.5
# Refusals that end by themselves, as a lost connection does.
PASSING = ("CLUSTERDOWN", "TRYAGAIN", "LOADING", "MASTERDOWN", "READONLY")


class DeployedCluster:
    """Six servers with the users of deploy/redis.conf, made into a cluster by deploy/redis-cluster."""

    def __init__(self, processes, ports):
        """`ports`: two for each server, the second one for the other servers."""
        self._passwords = fresh_passwords("gateway", "publisher", "operator", "cluster")
        # Without its replica a master takes its own slots along, and no others.
        options = ["--cluster-enabled", "yes", "--cluster-node-timeout", NODE_TIMEOUT_MS,
                   "--cluster-require-full-coverage", "no", "--bind", "127.0.0.1"]
        self.servers = [
            DeployedRedis(processes, port, name=f"redis-{number}", passwords=self._passwords,
                          options=[*options, "--cluster-port", bus_port])
            for number, (port, bus_port) in enumerate(zip(ports[::2], ports[1::2]), 1)]
        self.bus_ports = dict(zip(ports[::2], ports[1::2]))

    def password(self, user):
        return self._passwords[f"ROOMCAST_{user.upper()}_PASSWORD"]

    def environment(self, program, user):
        """The variables with which a program connects as this user."""
        seeds = ",".join(f"127.0.0.1:{server.port}" for server in self.servers)
        return {f"{program}_REDIS": f"cluster://{user}@{seeds}", f"{program}_REDIS_PASSWORD": self.password(user)}

    def server(self, port):
        return next(server for server in self.servers if server.port == port)

    async def form(self):
        await self.tool(
            ROOT / "deploy/redis-cluster", *(f"127.0.0.1:{server.port}" for server in self.servers), user="cluster")

    async def redis_cli(self, *options):
        """Runs a command of `redis-cli --cluster`."""
        await self.tool("redis-cli", "--no-auth-warning", "--user", "operator", "--cluster", *options, user="operator")

    async def tool(self, *command, user):
        """Runs a program that logs in as this user; ProcessError with its last words when it fails."""
        process = await asyncio.create_subprocess_exec(
            *map(str, command), env={**os.environ, "REDISCLI_AUTH": self.password(user)},
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT)
        try:
            async with asyncio.timeout(FORM_SECONDS):
                said, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
        if process.returncode != 0:
            last = said.decode(errors="replace").strip().splitlines()[-3:]
            raise ProcessError(f"{command[0]} ended with {process.returncode}: {' / '.join(last)}")


@dataclass
class Member:
    """A server as another one sees it, by a line of CLUSTER NODES."""
    id: str
    port: int
    flags: set
    # Of a replica.
    master_id: str
    is_linked: bool
    # (first, last)
    ranges: list

    @classmethod
    def read(cls, line):
        node_id, address, flags, master_id, _, _, _, link, *slots = line.split()
        # In brackets stands a slot that moves.
        ranges = [tuple(map(int, (each.split("-") * 2)[:2])) for each in slots if not each.startswith("[")]
        return cls(node_id, int(re.search(r":(\d+)@", address)[1]), set(flags.split(",")), master_id,
                   link == "connected", ranges)

    @property
    def is_well(self):
        return self.is_linked and not self.flags & {"fail", "fail?", "handshake", "noaddr"}

    @property
    def is_master(self):
        return "master" in self.flags

    @property
    def is_self(self):
        return "myself" in self.flags

    @property
    def slot_count(self):
        return sum(last - first + 1 for first, last in self.ranges)

    def has(self, slot):
        return any(first <= slot <= last for first, last in self.ranges)


def key_slot(key):
    """The hash slot of a key: of what is in its first braces, if there is anything."""
    key = key if isinstance(key, bytes) else str(key).encode()
    start = key.find(b"{")
    end = key.find(b"}", start + 1)
    if 0 <= start < end - 1:
        key = key[start + 1:end]
    return binascii.crc_hqx(key, 0) % SLOT_COUNT


def command_key(words):
    """The key that tells where a command belongs."""
    return words[3] if words[0] in ("EVAL", "FCALL") else words[1]


class ClusterSession:
    """As RedisSession, to all servers of a cluster. A command goes to the master that has its key, and follows
    redirections; a PUBLISH goes to one server as long as that is there, another one for each channel."""

    def __init__(self, ports, user, password, lookout=None):
        """`lookout`: a session that may ask which servers are linked to the others: one that has just been started takes
        PUBLISH before it is, and passes nothing on. Without one every server will do."""
        self.sessions = {port: RedisSession(port, user, password) for port in ports}
        self._lookout = lookout
        # By port, the connection since which a server is known to be linked.
        self._linked = {}
        # By slot, the port of its master; and the ports of all servers that the cluster knows.
        self._masters = {}
        self._known = []
        # Servers that are about to leave: nothing is published there any more.
        self.leaving = set()
        # By channel: where it is published, and since when.
        self._places = {}

    @property
    def is_up(self):
        return bool(self._masters) and any(session.is_up for session in self.sessions.values())

    @property
    def up_ports(self):
        return [port for port, session in self.sessions.items() if session.is_up]

    async def run(self):
        async with asyncio.TaskGroup() as group:
            for session in self.sessions.values():
                group.create_task(session.run())
            group.create_task(self._read_maps())
            if self._lookout is not None:
                group.create_task(self._look_for_links())

    async def _look_for_links(self):
        while True:
            for port, session in self.sessions.items():
                if session.is_up and not self._is_linked(port):
                    await self._look_for_links_of(port, session)
            await asyncio.sleep(POLL_SECONDS)

    async def _look_for_links_of(self, port, session):
        connection = session.connection_count
        try:
            members = await self._lookout.view(port)
        except ConnectionError:
            return
        if len(members) > 1 and all(each.is_self or each.is_well or "fail" in each.flags for each in members):
            self._linked[port] = connection

    def _is_linked(self, port):
        return self._lookout is None or self._linked.get(port) == self.sessions[port].connection_count

    async def _read_maps(self):
        while True:
            for port, session in self.sessions.items():
                try:
                    async with asyncio.timeout(MAP_ANSWER_SECONDS):
                        ranges = await session.send("CLUSTER", "SLOTS")
                except (ConnectionError, RedisRefusal, TimeoutError):
                    continue
                # One that was taken out knows of nothing.
                if ranges and port not in self.leaving:
                    self._masters = {slot: servers[0][1] for first, last, *servers in ranges
                                     for slot in range(first, last + 1)}
                    self._known = [server[1] for _, _, *servers in ranges for server in servers]
                await asyncio.sleep(MAP_SECONDS)
            await asyncio.sleep(MAP_SECONDS)

    def send(self, *words):
        """Sends a command in its turn; the future has its reply, or RedisRefusal, or ConnectionError."""
        task = asyncio.get_running_loop().create_task(self._send(words))
        # Whoever does not look at it has lost nothing.
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return task

    async def _send(self, words):
        if words[0] == "PUBLISH":
            return await self.sessions[self._place(words[1])].send(*words)
        slot = key_slot(command_key(words))
        port, is_asking = self._masters.get(slot), False
        for _ in range(1 + MOST_REDIRECTIONS):
            if port not in self.sessions:
                raise ConnectionError(f"no master has slot {slot}")
            if is_asking:
                self.sessions[port].send("ASKING")
            try:
                return await self.sessions[port].send(*words)
            except RedisRefusal as refusal:
                kind, *rest = str(refusal).split(" ")
                if kind in PASSING:
                    raise ConnectionError(str(refusal)) from None
                if kind not in ("MOVED", "ASK"):
                    raise
                port, is_asking = int(rest[1].rpartition(":")[2]), kind == "ASK"
                if not is_asking:
                    self._masters[slot] = port
        raise ConnectionError(f"slot {slot} is sent from one server to the other")

    def _place(self, channel):
        """The port of the server where this channel is published."""
        now = asyncio.get_running_loop().time()
        port, begins_at = self._places.get(channel, (None, 0))
        if port is None or not self._may_publish(port):
            able = [each for each in self._known if self._may_publish(each)]
            if not able:
                raise ConnectionError("no server of the cluster is there")
            begins_at = 0 if port is None else now + CHANGE_SECONDS
            port = able[binascii.crc32(channel.encode()) % len(able)]
            self._places[channel] = port, begins_at
        if now < begins_at:
            raise ConnectionError("another server is to be asked soon")
        return port

    def _may_publish(self, port):
        return self.sessions[port].is_up and port not in self.leaving and self._is_linked(port)

    async def view(self, port):
        """All members as this server sees them; OSError when it does not say."""
        try:
            async with asyncio.timeout(MAP_ANSWER_SECONDS):
                text = await self.sessions[port].send("CLUSTER", "NODES")
        except (RedisRefusal, TimeoutError) as error:
            raise ConnectionError(str(error)) from None
        return [Member.read(line) for line in text.decode().splitlines()]

    async def is_whole(self):
        """Whether all servers are there and agree on three masters, which have all slots, each with a replica that follows
        it."""
        masters = set()
        for port in self.sessions:
            try:
                members = await self.view(port)
                replication = (await self.sessions[port].send("INFO", "replication")).decode()
            except (ConnectionError, RedisRefusal):
                return False
            found = {member.id: member for member in members if member.is_master}
            followed = {member.master_id for member in members if not member.is_master}
            if len(members) != SERVER_COUNT or not all(member.is_well for member in members) \
                    or sum(member.slot_count for member in found.values()) != SLOT_COUNT or followed != set(found) \
                    or "role:slave" in replication and "master_link_status:up" not in replication:
                return False
            masters.add(frozenset((member.id, *member.ranges) for member in found.values()))
        return len(masters) == 1

    async def wait_until_whole(self, seconds=FORM_SECONDS):
        try:
            async with asyncio.timeout(seconds):
                while not await self.is_whole():
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError:
            raise ProcessError(f"the cluster was not whole within {seconds} s") from None
