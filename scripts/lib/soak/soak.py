"""One run: the installation, the crowd, the publishers, the faults; and its account in the end."""

import asyncio
import random
import sys
import time
from collections import Counter

import report
from account import Account
from clients import Crowd
from cluster_faults import ClusterFaults
from faults import Faults
from gaps import FrameGaps, PolledGaps
from histories import DurableRoom
from ledger import NEVER, Room
from processes import ProcessError
from publishers import DurablePublishers, Publishers
from verdict import Verdict
from watch import DURABLE_METRICS, NodeWatch

HALLS, CORNERS = 8, 8
HALL_RATE, CORNER_RATE, HEAVY_RATE = 4, 2, 12
# A stuck client of the heavy room is over its limit within seconds, whatever the sockets on the way hold.
PADDING_BYTES, HEAVY_PADDING_BYTES = 100, 64 * 1024
# What durable rooms keep: for longer than any outage here, but for that of the heavy room, whose slow readers fall out
# of it. A durable notice has 64 KiB at most.
ROOM_LIMIT, HEAVY_LIMIT, DURABLE_HEAVY_PADDING_BYTES = 1000, 300, 32 * 1024
SPREAD_SECONDS = 4
WARM_UP_SECONDS = 12
PAUSE_SECONDS = (1, 5)
SETTLE_SECONDS = 15
CONNECT_SECONDS = 60
PROGRESS_SECONDS = 1
LINE_SECONDS = 30


class Soak:
    def __init__(self, options, installation):
        self._options, self._installation = options, installation
        self._random = random.Random(options.seed)
        self._gaps = FrameGaps() if installation.declares_gaps else PolledGaps()
        self._operator = installation.session("operator")
        self._publisher = installation.session("publisher", lookout=self._operator)
        is_durable = options.durable
        self._rooms = {
            "halls": [self._room(f"hall-{number}") for number in range(HALLS)],
            "corners": [self._room(f"corner-{number}") for number in range(CORNERS)],
            "heavy": [DurableRoom("heavy", DURABLE_HEAVY_PADDING_BYTES, HEAVY_LIMIT) if is_durable
                      else Room("heavy", HEAVY_PADDING_BYTES)],
            "byHand": [self._room("by-hand")],
        }
        self._watches = [
            NodeWatch(node, port, self._gaps) for node, port in zip(installation.nodes, installation.admin_ports)]
        self._crowd = Crowd(
            installation.port, self._rooms, self._operator, self._gaps,
            lambda number: random.Random(options.seed * 100_000 + number), SPREAD_SECONDS, is_durable)
        self._faults = (ClusterFaults if options.cluster else Faults)(
            installation, self._operator, self._publisher, self._random, self._is_well, options.kinds, self._all_rooms)
        publishing = installation, self._publisher, self._rates(), self._rooms["byHand"][0]
        self._publishers = DurablePublishers(*publishing, self._operator) if is_durable else Publishers(*publishing)
        self._footprints = {}
        # By node: resident bytes in the course of the run.
        self._courses = {node.name: [] for node in installation.nodes}
        self._tasks = []
        self._began_at = self._shown_at = 0.0

    def _room(self, name):
        return DurableRoom(name, PADDING_BYTES, ROOM_LIMIT) if self._options.durable else Room(name, PADDING_BYTES)

    @property
    def _all_rooms(self):
        return [room for group in self._rooms.values() for room in group]

    def _rates(self):
        rates = {"halls": HALL_RATE, "corners": CORNER_RATE, "heavy": HEAVY_RATE}
        return [(room, rate) for name, rate in rates.items() for room in self._rooms[name]]

    def _is_well(self):
        return self._crowd.missing_count == 0 and all(watch.is_ready for watch in self._watches)

    async def run(self):
        say(f"Starting {'a Redis Cluster' if self._options.cluster else 'Redis'}, 3 gateways, nginx and {self._options.clients} clients; seed {self._options.seed}; "
            f"logs: {self._installation.directory}")
        try:
            await self._start()
            end = time.monotonic() + self._options.minutes * 60
            await self._go_on(WARM_UP_SECONDS)
            await self._take_footprints()
            while time.monotonic() < end:
                await self._watched(self._faults.one())
                await self._go_on(self._random.uniform(*PAUSE_SECONDS))
                await self._take_footprints()
            return await self._finish()
        finally:
            if sys.stderr.isatty():
                print(file=sys.stderr)
            await self._crowd.stop()
            await self._publishers.cancel()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _start(self):
        await self._installation.start()
        self._began_at = time.monotonic()
        sessions = [self._operator, self._publisher]
        self._tasks = [asyncio.create_task(each.run()) for each in [*sessions, *self._watches]]
        count = self._options.clients
        others = {"churning": count // 6, "stuck": 4, "slow": 2, "reading": 4}
        if self._options.durable:
            others["plain"] = count // 10
        self._crowd.start({"regular": count - sum(others.values()), **others})
        self._publishers.start()
        deadline = time.monotonic() + CONNECT_SECONDS
        while time.monotonic() < self._began_at + SPREAD_SECONDS or not self._is_well():
            if time.monotonic() > deadline:
                raise ProcessError(f"{self._crowd.missing_count} clients were not connected within {CONNECT_SECONDS} s")
            await self._go_on(0.1)

    async def _watched(self, work):
        """Waits for the work, and meanwhile looks for what should not have ended."""
        task = asyncio.create_task(work)
        try:
            while not task.done():
                self._check()
                await asyncio.wait([task], timeout=0.2)
            return task.result()
        finally:
            task.cancel()

    async def _go_on(self, seconds):
        await self._watched(asyncio.sleep(seconds))

    def _check(self):
        self._installation.processes.check()
        self._crowd.check()
        self._publishers.check()
        for task in self._tasks:
            if task.done():
                task.result()
        self._show()

    def _show(self):
        now = time.monotonic()
        interval = PROGRESS_SECONDS if sys.stderr.isatty() else LINE_SECONDS
        if now - self._shown_at < interval:
            return
        self._shown_at = now
        delivered = sum(len(track.taken) for _, track in self._crowd.tracks) if self._options.durable else sum(
            seat.delivered for stay in self._crowd.stays for seat in stay.seats.values())
        last = self._faults.done[-1].kind if self._faults.done else "none yet"
        line = (f"{now - self._began_at:5.0f} s, {self._crowd.connected_count} of {self._options.clients} connected, "
                f"{delivered:,} deliveries, {len(self._faults.done)} faults, the last: {last}")
        if sys.stderr.isatty():
            print(f"\r{line:<110}", end="", file=sys.stderr, flush=True)
        else:
            say(line)

    # The end

    async def _take_footprints(self):
        """The first after each start of a node, and that after each kind of fault has happened once, stand for what
        it takes when it is warm."""
        is_round_over = len(self._faults.done) == len(self._options.kinds)
        for node, watch in zip(self._installation.nodes, self._watches):
            footprint = await watch.footprint()
            known = self._footprints.setdefault(node.name, footprint)
            if known["run"] != node.run or is_round_over:
                self._footprints[node.name] = footprint
            self._courses[node.name].append([round(time.monotonic() - self._began_at), footprint["residentBytes"]])

    async def _finish(self):
        await self._publishers.stop()
        self._crowd.read_on()
        deadline = time.monotonic() + SETTLE_SECONDS
        while time.monotonic() < deadline and not self._is_settled():
            await asyncio.sleep(0.1)
        now = time.monotonic()
        self._crowd.finish(now)
        # Before the account is made, which takes a while in which nobody beats.
        ends = {node.name: await watch.footprint() for node, watch in zip(self._installation.nodes, self._watches)}
        verdict = Verdict(self._gaps, self._faults)
        for stay in self._crowd.stays:
            verdict.judge(stay)
        account = self._account() if self._options.durable else None
        return self._result(verdict, account, ends, now - self._began_at)

    def _account(self):
        account = Account(self._faults, [stay for _, stay in self._crowd.durable_stays])
        for client, track in self._crowd.tracks:
            stay = client.stay
            is_connected = stay is not None and stay.ending == "over" and track in stay.tracks.values()
            account.judge(client, track, is_connected)
        for client, stay in self._crowd.durable_stays:
            account.judge_promptness(client, stay)
        return account

    def _is_settled(self):
        if self._options.durable:
            newest = {room.name: room.newest_answered for room in self._all_rooms}
            return all(
                client.journey.has_all(newest) for client in self._crowd.clients
                if client.is_connected and client.journey)
        return all(
            seat.is_complete for stay in self._crowd.stays
            if stay.ended_at is None for seat in stay.seats.values())

    def _result(self, verdict, account, ends, seconds):
        crowd, faults, rooms = self._crowd, self._faults, self._all_rooms
        # A client that does not read is cut when it does not even take its Close frame.
        cuts = [stay for stay in crowd.endings if stay.ending == "cut" and not stay.reads_late]
        wrong = [
            stay for stay in crowd.endings
            if (stay.ending == "closed" or stay.ending == "slow" and stay.kind not in ("stuck", "slow"))
            and not faults.explains_close(stay)
            or stay.ending == "drained" and not faults.explains_end(stay)]
        declared = self._gaps.declared
        strange = [[node, start, end] for node, start, end in declared if not faults.explains_gap(start, end)]
        deliveries = dict(verdict.counts) | {
            "expected": verdict.expected, "wrongCloses": len(wrong),
            "refusedBeats": sum(
                not faults.explains_refused_beat(beat["issued"], beat["at"]) for beat in crowd.refused_beats),
            "unexplainedCuts": sum(not faults.explains_end(stay) for stay in cuts),
            "unexplainedGaps": len(strange),
            "unexplainedTokens": sum(not faults.explains_lost_token(*times) for times in crowd.lost_tokens),
            "unexplainedRefusals": len(self._publishers.refusals) + sum(
                not faults.explains_refused_publish(*times) for times in self._publishers.cli_failures)}
        result = {
            "seconds": seconds, "seed": self._options.seed, "clients": self._options.clients,
            "isSecured": self._options.tls, "isCluster": self._options.cluster, "notices": {
                "sent": sum(len(room.sent) for room in rooms),
                "due": round(sum(rate for _, rate in self._rates()) * seconds),
                "answered": sum(answered != NEVER for room in rooms for answered in room.answered),
                "byHand": sum(answered != NEVER for answered in self._rooms["byHand"][0].answered),
                "cliRuns": self._publishers.cli_runs, "cliFailures": len(self._publishers.cli_failures),
                "refusals": self._publishers.refusals[:20],
            },
            "deliveries": deliveries, "oldestSeconds": dict(verdict.oldest_seconds),
            "examples": verdict.examples, "beganAt": self._began_at,
            "wrong": [[stay.kind, stay.node, stay.ending, stay.code, stay.ended_at] for stay in wrong[:20]],
            "gaps": report.spread([end - start for _, start, end in declared if end is not None]),
            "gapSource": self._gaps.title, "strangeGaps": strange[:20],
            "connections": len(crowd.stays), "reconnects": len(crowd.stays) - len(crowd.clients),
            "unknownNodes": sum(stay.node is None for stay in crowd.stays),
            "refusals": {str(status): count for status, count in crowd.refusals.items()},
            "beats": sum(crowd.beats.values()),
            "refusedBeats": crowd.refused_beats[:100], "lostTokens": len(crowd.lost_tokens),
            "failedBeats": {str(status): count for status, count in crowd.beats.items() if status != 200},
            "slowCloses": sum(watch.totals["slow"] for watch in self._watches),
            "shed": sum(watch.totals["shed"] for watch in self._watches),
            "faults": report.faults_by_kind(faults.done), "faultProblems": faults.problems,
            "faultList": [vars(fault) for fault in faults.done],
            "nodes": {
                name: {"start": self._footprints[name], "end": end, "course": self._courses[name]}
                for name, end in ends.items()},
        }
        if account is not None:
            result["durable"] = self._durable_result(account, deliveries)
        result["problems"] = report.problems(result)
        return result

    def _durable_result(self, account, deliveries):
        publishers, faults = self._publishers, self._faults
        deliveries.update(account.counts)
        deliveries |= {
            "expected": account.expected,
            "disobediences": sum(stay.disobediences for _, stay in self._crowd.durable_stays),
            "plainDuplicates": sum(stay.repeated for stay in self._crowd.plain_stays),
            "plainOutOfOrder": sum(stay.disordered for stay in self._crowd.plain_stays),
            "contradictions": sum(room.is_contradictory for room in self._all_rooms),
            "repeated": sum(room.repeated() for room in self._all_rooms),
            "notStored": sum(not faults.explains_missing(at) for _, at in publishers.not_stored)}
        totals = sum((watch.totals for watch in self._watches), Counter())
        return {
            "losses": dict(account.losses), "told": dict(account.told), "toldAfter": report.spread(account.told_after),
            "plainDelivered": sum(stay.delivered for stay in self._crowd.plain_stays),
            "examples": account.examples, "nodes": {name: totals[name] for name in DURABLE_METRICS},
        }


def say(text):
    print(f"==> {text}", file=sys.stderr, flush=True)
