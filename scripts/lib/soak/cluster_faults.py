"""What goes wrong with a Redis Cluster: its servers die, freeze, change places and leave, and slots move."""

import asyncio
import math
import signal
import time

from cluster import FORM_SECONDS, key_slot
from faults import EMPTY, POLL_SECONDS, ROLLBACK_SECONDS, TOKEN_GONE, Faults
from histories import START
from processes import ProcessError
from redis_client import RedisRefusal

# Twice the node timeout, and what an election and a starved machine take.
PROMOTION_SECONDS = 45
# A server gives a failover by hand up by itself after five seconds.
FAILOVER_SECONDS = 6
MOVED_SLOTS = (100, 1000)
# A durable notice that a frozen master answers behind its replica's promotion is discarded by the cluster, whoever asks: so
# it is not frozen for as long as that.
FROZEN_SECONDS, DURABLE_FROZEN_SECONDS = (1, 8), (1, 3.5)
# The rest knows after a node timeout that it is none.
MINORITY_SECONDS = (6, 10)
# A node leaves a server that brings nothing within --redis-silence-timeout, 5 s.
LEAVE_SECONDS = 30


class ClusterFaults(Faults):
    names = ("kill node", "drain node", "kill master", "kill replica", "restart master", "freeze server", "fail over",
             "move slots", "remove server", "lose majority", "cut subscribers", "cut commands", "reload nginx",
             "restart nginx")
    parting = {"kill master", "kill replica", "restart master", "freeze server", "remove server", "lose majority",
               "cut subscribers", "roll back master"}
    # The sign of life that came last is that of one of three masters in turn.
    gap_early_seconds = 2.5 + 3 * 1.25
    durable_names = ("roll back master", "empty master", "trim rooms", "delete room")
    lagging_replica = "kill master before its replica had all"
    busy_disk = "restart master while its disk is busy"
    answers_early = True
    losing = {"roll back master", "empty master", lagging_replica, busy_disk}
    # A token may be gone that was issued just before its master died.
    forgetting = {"kill master", "restart master", "freeze server", "lose majority", *losing}
    refusing = {"kill master", "kill replica", "restart master", "freeze server", "lose majority", "cut commands",
                "roll back master", lagging_replica, busy_disk}

    def explains_close(self, stay):
        """Records of clients that are connected are written again: their tokens are never gone."""
        return stay.code != TOKEN_GONE and super().explains_close(stay)

    def explains_refused_beat(self, issued_at, at):
        return False

    # Looking

    @property
    def _servers(self):
        return self._installation.server

    async def _prepare(self):
        await self._operator.wait_until_whole()

    async def _members(self, besides=()):
        """The cluster as one of its other servers sees it."""
        for port in self._operator.up_ports:
            if port not in besides:
                try:
                    return await self._operator.view(port)
                except ConnectionError:
                    pass
        raise ConnectionError("no server of the cluster answers")

    async def _choose(self, is_master):
        """One of the servers, as the others see it."""
        return self._random.choice([each for each in await self._members() if each.is_master == is_master])

    async def _until(self, what, is_so, seconds=PROMOTION_SECONDS):
        deadline = time.monotonic() + seconds
        while True:
            try:
                if await is_so():
                    return
            except (ConnectionError, RedisRefusal):
                pass
            if time.monotonic() > deadline:
                raise ProcessError(f"{what} after {seconds} s")
            await asyncio.sleep(POLL_SECONDS)

    async def _promotion(self, master):
        """Waits until everybody knows who has the slots of a master that is gone."""
        async def is_over():
            views = [await self._operator.view(port) for port in self._operator.up_ports if port != master.port]
            return views and all(
                any(each.is_master and each.port != master.port and each.has(master.ranges[0][0]) for each in view)
                for view in views)
        await self._until(f"nobody has taken the place of the master at {master.port}", is_over)

    async def _look(self, fault, newest, kind):
        """In a durable soak: what the cluster has lost of what it had answered; `kind` is the fault then."""
        if self._is_durable:
            await self._look_for_losses(fault, newest)
            fault.details["rooms"] = [
                room.name for room in self._rooms if any(each is fault for *_, each in room.rollbacks)]
            if fault.details["lost"] > 0:
                fault.kind = kind

    # The kinds

    async def _kill(self, server):
        """Ends a server; returns the newest id that it can have given."""
        server.process.signal(signal.SIGKILL)
        await server.process.ended()
        return int(time.time() * 1000), math.inf

    async def _start(self, server):
        server.process.start()
        await self._installation.redis_answers(server)

    async def _kill_master(self, fault):
        await self._replace(fault, await self._choose(is_master=True), self.lagging_replica)

    async def _replace(self, fault, master, kind):
        server = self._servers.server(master.port)
        fault.details["server"] = server.process.name
        newest = await self._kill(server)
        fault.lost_at = time.monotonic()
        await self._promotion(master)
        fault.details["replacedAt"] = time.monotonic()
        await self._look(fault, newest, kind)
        await self._start(server)

    async def _kill_replica(self, fault):
        server = self._servers.server((await self._choose(is_master=False)).port)
        fault.details["server"] = server.process.name
        await self._kill(server)
        await asyncio.sleep(self._random.uniform(0, 2))
        await self._start(server)

    async def _restart_master(self, fault):
        """It is back before anybody has missed it."""
        master = await self._choose(is_master=True)
        server = self._servers.server(master.port)
        fault.details["server"] = server.process.name
        newest = await self._kill(server)
        fault.lost_at = time.monotonic()
        await self._start(server)
        await self._look(fault, newest, self.busy_disk)

    async def _freeze_server(self, fault):
        process = self._random.choice(self._servers.servers).process
        seconds = self._random.uniform(*(DURABLE_FROZEN_SECONDS if self._is_durable else FROZEN_SECONDS))
        fault.details |= {"server": process.name, "seconds": round(seconds, 1)}
        process.signal(signal.SIGSTOP)
        await asyncio.sleep(seconds)
        process.signal(signal.SIGCONT)

    async def _lose_majority(self, fault):
        """One master and its replica are left."""
        left = await self._choose(is_master=True)
        ports = {each.port for each in await self._members() if left.id not in (each.id, each.master_id)}
        processes = [server.process for server in self._servers.servers if server.port in ports]
        seconds = self._random.uniform(*MINORITY_SECONDS)
        fault.details |= {"left": left.port, "seconds": round(seconds, 1)}
        for process in processes:
            process.signal(signal.SIGSTOP)
        await asyncio.sleep(seconds)
        for process in processes:
            process.signal(signal.SIGCONT)

    async def _fail_over(self, fault):
        """A replica and its master change places."""
        replica = await self._choose(is_master=False)
        fault.details["to"] = replica.port
        asked_at = -math.inf

        async def is_over():
            nonlocal asked_at
            views = [await self._operator.view(port) for port in self._operator.up_ports]
            if all(any(each.port == replica.port and each.is_master for each in view) for view in views):
                return True
            if time.monotonic() - asked_at > FAILOVER_SECONDS:
                asked_at = time.monotonic()
                await self._operator.sessions[replica.port].send("CLUSTER", "FAILOVER")
            return False
        await self._until(f"the replica at {replica.port} has not become a master", is_over)

    async def _move_slots(self, fault):
        """From the master that has most."""
        masters = [each for each in await self._members() if each.is_master]
        source = max(masters, key=lambda each: each.slot_count)
        target = self._random.choice([each for each in masters if each is not source])
        count = self._random.randint(*MOVED_SLOTS)
        fault.details |= {"from": source.port, "to": target.port, "slots": count}
        await self._servers.redis_cli(
            "reshard", f"127.0.0.1:{source.port}", "--cluster-from", source.id, "--cluster-to", target.id,
            "--cluster-slots", count, "--cluster-yes")

    async def _remove_server(self, fault):
        """A replica is taken out and runs on, alone; whoever listens there hears nothing. Then it comes back."""
        replicas = [each for each in await self._members() if not each.is_master]
        listened = [each for each in replicas if await self._listeners(each.port)]
        replica = self._random.choice(listened or replicas)
        session = self._operator.sessions[replica.port]
        fault.details |= {"server": self._servers.server(replica.port).process.name, "listeners": bool(listened)}
        for each in (self._operator, self._publisher):
            each.leaving.add(replica.port)
        # What was published there has reached the others.
        await session.send("PING")
        for port, other in self._operator.sessions.items():
            if port != replica.port:
                await other.send("CLUSTER", "FORGET", replica.id)
        await session.send("CLUSTER", "RESET", "SOFT")

        async def is_left():
            return not await self._listeners(replica.port)
        await self._until(f"a node still listens at {replica.port}, which was taken out,", is_left, LEAVE_SECONDS)
        await self._bring_back(session, replica)
        for each in (self._operator, self._publisher):
            each.leaving.discard(replica.port)

    async def _listeners(self, port):
        return await self._operator.sessions[port].send("PUBSUB", "CHANNELS", "gateway:*")

    async def _bring_back(self, session, replica):
        """As a new server: the others do not take one in for a minute that they have just forgotten."""
        await session.send("CLUSTER", "RESET", "HARD")
        other = next(port for port in self._operator.up_ports if port != replica.port)
        await session.send("CLUSTER", "MEET", "127.0.0.1", other, self._servers.bus_ports[other])

        async def is_replica():
            views = [await self._operator.view(port) for port in self._operator.up_ports]
            own = next(member for view in views for member in view if member.is_self and member.port == replica.port)
            if own.master_id == replica.master_id:
                return True
            if all(any(member.id == own.id and member.is_well for member in view) for view in views):
                await session.send("CLUSTER", "REPLICATE", replica.master_id)
            return False
        await self._until(f"the server at {replica.port} was not taken in again", is_replica, FORM_SECONDS)

    # Those of the durable soak

    async def _roll_back_master(self, fault):
        """It dies, and its replica has not heard the last that it has answered."""
        master = await self._choose(is_master=True)
        replica = next(each for each in await self._members() if each.master_id == master.id)
        follower = self._operator.sessions[replica.port]
        await follower.send("CONFIG", "SET", "masterauth", "unknown")
        await self._operator.sessions[master.port].send("CLIENT", "KILL", "TYPE", "replica")
        await asyncio.sleep(self._random.uniform(*ROLLBACK_SECONDS))
        await self._replace(fault, master, fault.kind)
        await follower.send("CONFIG", "SET", "masterauth", self._servers.password("cluster"))

    async def _empty_master(self, fault):
        master = await self._choose(is_master=True)
        rooms = [room for room in self._rooms if master.has(key_slot(f"room:{room.name}"))]
        fault.details |= {
            "server": self._servers.server(master.port).process.name, "rooms": [room.name for room in rooms]}
        milliseconds = await self._operator.sessions[master.port].send("EVAL", EMPTY, 0)
        fault.lost_at = time.monotonic()
        for room in rooms:
            room.rollbacks.append((START, (milliseconds, math.inf), fault))

    async def _cut(self, fault, kind):
        replies = await asyncio.gather(*(
            session.send("CLIENT", "KILL", "TYPE", kind) for session in self._operator.sessions.values()))
        fault.details["connections"] = sum(replies)
