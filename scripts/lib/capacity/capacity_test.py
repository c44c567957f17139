"""Whether scripts/capacity reckons as it says. Run by Tests/EndToEndTests/ScriptTests.swift."""

import contextlib
import copy
import io
import json
import math
import subprocess
import tempfile
import unittest
from dataclasses import replace
from pathlib import Path

import costs
import guide
import main
import report
from model import Kind, Load, Machines, Profile, Span, along, spread
from plan import Plan

SIZES = [128, 512, 4096]


def even_costs():
    """Round figures, so that a case can be reckoned by hand."""
    rows = {
        "B": 5.0, "C": 15.0, "memory": {"fresh": 10 * 2**20, "connection": 400}, "requests": {"/get/token": 20.0},
        "handshakes": 50.0, "idle": {"node": 2.0, "redis": 0.8}, "pong": {"node": 0.5, "redis": 0.2},
        "durable": {"message": 3.0, "durable": 4.0},
        "compression": [{
            "bytes": size, "wireBytes-off": size + 4, "wireBytes-on": size / 2 + 4, "delivery-off": 5.0,
            "delivery-on": 5.0, "message-off": 3.0, "message-on": 13.0} for size in SIZES],
        "redis": {
            "publish": [{"bytes": size, "receivers": count, "alone": 10 + 5 * count, "together": 1 + 0.5 * count}
                        for size in (128, 1024) for count in (0, 1, 4, 16, 64)],
            "commands": {"issue": {"alone": 40, "together": 10}, "heartbeat": {"together": 6.0},
                         "confirm": {"alone": 7.0, "together": 1.0}, "handshake": {"alone": 100, "together": 50},
                         "lookUp": {"together": 0.25}},
            "durable": [{"bytes": size, "alone": 30, "together": 21, "bytesANotice": 1.5 * size}
                        for size in (128, 1024)],
            "memory": {"token": 300, "channel": 200, "furtherNode": 100},
            "bus": {"nodes": 3, "bytes": 128, "alone": {"publishing": 14.0, "other": 5.0},
                    "together": {"publishing": 3.0, "other": 2.0}}}}
    return costs.Costs({name: {"date": "2026-11-30", "machine": "m", "place": "here", "costs": row}
                        for name, row in rows.items()})


def value(plan, name):
    return next(row[3] for row in plan.rows() if row[1].startswith(name))


USUAL = Profile(400_000, (Kind(8000, 200, 512, 0.1), Kind(400_000, 500, 128, 0.0)), compressed=0.2, streams=0.1)


class ByHand(unittest.TestCase):
    """100,000 clients, heartbeats every 25 s, 30 min each; 2,000 rooms of 50, 100 messages of 128 bytes a second."""

    def setUp(self):
        self.plan = Plan(Profile(100_000, (Kind(2000, 100, 128, 0.0),)), Machines(), even_costs())
        self.load = self.plan.load

    def test_nodes_are_those_that_the_clients_need_and_one_that_may_fail(self):
        self.assertEqual(self.plan.nodes, 3)

    def test_load(self):
        self.assertEqual(self.load.beats, 4000)
        self.assertEqual(self.load.deliveries, 5000)
        self.assertAlmostEqual(self.load.sessions, 55.56, places=2)
        # 300,000: two more have left for each one that is there, and their tokens live for an hour.
        self.assertEqual(self.load.tokens, 300_000)

    def test_a_node(self):
        # 2 µs/s of 50,000 clients; 27.8 tokens and handshakes of 70 µs; every message to each of two nodes, and its
        # 25 deliveries of 5 µs.
        expected = 50_000 * 2 + 27.78 * 70 + 100 * (3 + 25 * 5)
        self.assertAlmostEqual(self.load.node_cpu(2).busy, expected, delta=1)
        # Row C: 150 µs for ten deliveries of 5 µs; so a message alone costs 100 µs.
        self.assertAlmostEqual(self.load.node_cpu(2).alone, expected + 100 * 97, delta=1)

    def test_redis(self):
        # Heartbeats of 6 + 1 µs; 55.6 tokens and handshakes of 60; a PUBLISH to three nodes is 2.5 µs.
        self.assertAlmostEqual(self.load.redis_cpu(3).busy, 4000 * 7 + 55.56 * 60 + 100 * 2.5, delta=2)
        # Alone 0.6 µs/s and client, which is 15 µs a heartbeat; 140; 25.
        self.assertAlmostEqual(self.load.redis_cpu(3).alone, 4000 * 15 + 55.56 * 140 + 100 * 25, delta=2)

    def test_memory(self):
        self.assertAlmostEqual(self.load.node_memory(2), 10 * 2**20 + 50_000 * (400 + 5324.8))
        # Every room on all three nodes.
        self.assertAlmostEqual(self.load.redis_memory(3, 1, 1), 300_000 * 300 + 2000 * (200 + 2 * 100), delta=1)

    def test_one_redis_is_enough(self):
        self.assertEqual(self.plan.masters, 1)

    def test_a_cluster_shares_tokens_and_copies_but_every_server_pays_for_each_publish(self):
        load = Load(Profile(100_000, (Kind(2000, 1000, 128, 0.0),)), even_costs())
        # 2 µs to read it, and half of the 3 - 1 µs that sending it to two others has added.
        self.assertAlmostEqual(load.bus_cpu(6).busy, 1000 * 3.0)
        # A third of the tokens; a third of the PUBLISHes; a sixth of 12 copies of 0.5 µs.
        tokens = 4000 * 7 + 55.56 * 60
        self.assertAlmostEqual(load.master_cpu(12, 3, 1).busy, tokens / 3 + 3000 + 1000 / 3 + 1000 * 2 * 0.5, delta=20)

    def test_the_wall_of_a_cluster_is_its_bus(self):
        # 0.6 of a core, 3 µs each: 200,000 a second, however many masters.
        fits, fails = (Plan(Profile(2e6, (Kind(1e6, rate, 128, 0.0),)), Machines(), even_costs())
                       for rate in (150_000, 220_000))
        self.assertIsNotNone(fits.masters)
        self.assertIsNone(fails.masters)
        self.assertIn("cluster bus", fails.obstacle)

    def test_no_number_of_nodes_helps_where_each_gets_everything(self):
        plan = Plan(Profile(1e6, (Kind(1, 1e6, 128, 0.0),)), Machines(), even_costs())
        self.assertIsNone(plan.nodes)
        self.assertIn("CPU of workers", plan.obstacle)


class Growth(unittest.TestCase):
    """More of anything never takes less of anything."""

    NAMES = ["gateway nodes", "masters"]

    def figures(self, profile, machines=Machines()):
        """What is needed with as many nodes and masters for all, and their numbers."""
        load, plan = Load(profile, even_costs()), Plan(profile, machines, even_costs())
        return [load.node_cpu(8).busy, load.node_cpu(8).alone, load.node_memory(8), load.redis_cpu(8).busy,
                load.redis_cpu(8).alone, load.master_cpu(8, 3, 1).busy, load.redis_memory(8, 1, 1),
                load.redis_memory(8, 3, 6), load.redis_network(8, 3, 6), load.client_bytes(), load.copied_bytes(8),
                plan.nodes or math.inf, plan.masters or math.inf]

    def grows(self, profiles):
        before = None
        for profile in profiles:
            now = self.figures(profile)
            if before is not None:
                for place, (less, more) in enumerate(zip(before, now)):
                    self.assertGreaterEqual(more, less * (1 - 1e-9), f"figure {place} of {profile}")
            before = now

    def kinds(self, **changes):
        first, second = USUAL.kinds
        return replace(USUAL, kinds=(replace(first, **changes), second))

    def test_clients(self):
        self.grows(replace(USUAL, clients=count) for count in (1, 10, 1000, 50_000, 400_000, 3e6, 2e7, 1e9))

    def test_rooms_with_as_many_messages_each(self):
        self.grows(self.kinds(rooms=rooms, rate=0.025 * rooms) for rooms in (1, 10, 1000, 8000, 100_000, 400_000, 2e6))

    def test_rate(self):
        self.grows(self.kinds(rate=rate) for rate in (0, 0.001, 1, 100, 10_000, 100_000, 1e6))

    def test_payload(self):
        for compressed in (0.0, 1.0):
            self.grows(replace(self.kinds(payload=size), compressed=compressed)
                       for size in (1, 100, 128, 129, 512, 1024, 1500, 4096, 65_536, 2**20))

    def test_durable(self):
        self.grows(self.kinds(durable=share / 10) for share in range(11))

    def test_shorter_intervals_and_sessions(self):
        self.grows(replace(USUAL, interval=seconds) for seconds in (3600, 120, 25, 5, 1))
        self.grows(replace(USUAL, session=seconds) for seconds in (86_400, 3600, 60, 1))

    def test_requests_cost_no_less_than_pongs(self):
        self.grows(replace(USUAL, heartbeat=mode) for mode in ("pong", "request"))

    def test_compression_saves_bytes_and_costs_cpu(self):
        little, much = (Load(replace(USUAL, compressed=share), even_costs()) for share in (0.2, 0.9))
        self.assertLess(much.client_bytes(), little.client_bytes())
        none = Load(replace(USUAL, compressed=0.0), even_costs())
        self.assertGreater(little.node_cpu(8).busy, none.node_cpu(8).busy)

    def test_event_streams_send_requests(self):
        none, all_of_them = (Load(replace(USUAL, heartbeat="pong", streams=share), even_costs())
                             for share in (0.0, 1.0))
        self.assertEqual(none.requests, 0)
        self.assertEqual(all_of_them.requests, all_of_them.beats)

    def test_larger_machines_need_no_more_of_them(self):
        def numbers(machines):
            plan = Plan(USUAL, machines, even_costs())
            return plan.nodes, plan.masters
        usual = numbers(Machines())
        for name in ("node_clients", "descriptors", "node_cores", "node_memory", "node_network", "redis_memory",
                     "redis_network"):
            more = numbers(replace(Machines(), **{name: getattr(Machines(), name) * 2}))
            self.assertTrue(more[0] <= usual[0] and more[1] <= usual[1], name)

    def test_a_plan_is_within_its_limits_and_one_node_less_is_not(self):
        for clients in (1, 49_999, 50_001, 400_000, 7e6):
            plan = Plan(replace(USUAL, clients=clients), Machines(), even_costs())
            self.assertTrue(all(wall["share"] <= 1 for wall in plan.walls()))
            self.assertTrue(plan._carries(plan.carriers))
            self.assertTrue(plan.carriers == 1 or not plan._carries(plan.carriers - 1))


class Walls(unittest.TestCase):
    def first(self, profile, **machines):
        return Plan(profile, replace(Machines(), **machines), even_costs()).first_wall()["wall"]

    def test_each_wall_can_be_the_first(self):
        quiet, busy = Profile(100_000), Profile(100_000, (Kind(1, 10, 128, 0.0),))
        self.assertEqual(self.first(quiet, descriptors=60_000), "descriptors")
        self.assertEqual(self.first(quiet, node_memory=600e6), "node memory")
        self.assertEqual(self.first(busy, node_cores=6), "CPU of workers")
        self.assertEqual(self.first(busy, node_cores=64, node_network=2e9), "network of a node")
        self.assertEqual(self.first(replace(quiet, clients=1e6)), "Redis CPU")
        self.assertEqual(self.first(quiet, redis_memory=200e6), "Redis memory")
        self.assertEqual(self.first(quiet, redis_network=20e6), "network of Redis")
        # The tokens are divided among many masters: most of what each does is the bus.
        self.assertEqual(self.first(
            Profile(1e6, (Kind(1e6, 195_000, 128, 0.0),)), redis_network=1e14), "cluster bus")

    def test_the_bus_is_shown_apart(self):
        plan = Plan(Profile(2e6, (Kind(1e6, 150_000, 128, 0.0),)), Machines(), even_costs())
        bus = next(wall for wall in plan.walls() if wall["wall"] == "cluster bus")
        self.assertAlmostEqual(bus["share"], 150_000 * 3e-6 / 0.6, places=3)

    def test_growth_to_a_wall_reaches_it(self):
        wall = next(each for each in Plan(Profile(100_000), Machines(), even_costs()).walls()
                    if each["wall"] == "descriptors")
        self.assertAlmostEqual(wall["clients"] / 2, 0.9 * 262_144, delta=1)


class Parts(unittest.TestCase):
    def test_a_line_never_falls_and_goes_on(self):
        points = [(10, 1), (20, 3), (30, 2), (40, 5)]
        self.assertEqual([along(points, at) for at in (0, 10, 15, 20, 25, 30, 35, 40, 50)],
                         [1, 1, 2, 3, 3, 3, 4, 5, 7])

    def test_spread(self):
        self.assertAlmostEqual(spread(20, 1), 0.975, places=3)
        self.assertAlmostEqual(spread(20, 1e6), 20)
        self.assertLess(spread(20, 50), 20)

    def test_alone_is_never_less_than_busy(self):
        self.assertEqual(Span.of({"alone": 1, "together": 2}), Span(2, 2))


class Sources(unittest.TestCase):
    RAW = {"started": "2026-11-30T10:00:00+00:00", "command": "scripts/bench --rows B",
           "machine": {"processor": "p", "cores": 2, "redis": "7"},
           "runs": [{"row": "B", "server": "ours", "figures": {"total": total}} for total in (4.0, 6.0, 5.0)]}

    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.root = Path(directory.name)
        (self.root / costs.RAW).mkdir(parents=True)
        committed = self.root / costs.COMMITTED
        committed.parent.mkdir(parents=True)
        rows = {name: {key: row[key] for key in ("date", "machine", "costs")}
                for name, row in even_costs().rows.items()}
        committed.write_text(json.dumps(rows))

    def add(self, name, **changes):
        (self.root / costs.RAW / name).write_text(json.dumps({**copy.deepcopy(self.RAW), **changes}))

    def test_without_a_run_here_all_is_from_elsewhere_and_says_so(self):
        known = costs.load(self.root)
        self.assertEqual([source["place"] for source in known.sources()], [costs.ELSEWHERE])

    def test_what_was_measured_here_wins_row_by_row(self):
        self.add("one.json", runs=[*self.RAW["runs"], {"row": "C", "server": "nchan", "figures": {"total": 1.0}}])
        known = costs.load(self.root)
        self.assertEqual(known["B"], 5.0)
        self.assertEqual(known["C"], 15.0)
        self.assertEqual([source["rows"] for source in known.sources() if source["place"] == costs.HERE], [["B"]])

    def test_the_newest_long_run_counts(self):
        self.add("b.json", started="2026-11-29T00:00:00+00:00")
        later = [{"row": "B", "server": "ours", "figures": {"total": 7.0}}]
        self.add("a.json", started="2026-11-30T00:00:00+00:00", runs=later)
        self.add("c.json", started="2026-12-01T00:00:00+00:00", command="scripts/bench --quick",
                 runs=[{"row": "B", "server": "ours", "figures": {"total": 9.0}}])
        self.assertEqual(costs.load(self.root)["B"], 7.0)

    def test_a_run_that_ended_while_it_wrote_is_passed_over(self):
        (self.root / costs.RAW / "cut.json").write_text('{"runs": [')
        self.assertEqual(costs.load(self.root)["B"], 5.0)

    def test_what_is_nowhere_is_named(self):
        (self.root / costs.COMMITTED).write_text("{}")
        self.add("one.json")
        with self.assertRaisesRegex(costs.CostError, "scripts/bench --rows C,memory,requests,"):
            costs.load(self.root)

    def test_the_committed_costs_are_whole(self):
        self.assertEqual(list(costs.load(main.ROOT, main.ROOT / costs.COMMITTED).rows), list(costs.ROWS))


class Program(unittest.TestCase):
    COMMITTED = f"--costs {main.ROOT / costs.COMMITTED}"

    def run_it(self, arguments):
        """Without the shell around it, which takes longest."""
        output, errors, code = io.StringIO(), io.StringIO(), 0
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
            try:
                main.main(arguments.split())
            except SystemExit as end:
                code = end.code
        return code, output.getvalue(), errors.getvalue()

    def printed(self, arguments):
        code, output, errors = self.run_it(arguments)
        self.assertEqual((code, errors), (0, ""))
        return output

    def test_json_says_what_the_table_says(self):
        for arguments in ["--clients 1M --rooms 20k --rate 1000", "--clients 20M --rooms 20,20M --rate 10,100k",
                          "--clients 1M --rooms 1M --rate 2M"]:
            found = json.loads(self.printed(f"{arguments} --json {self.COMMITTED}"))
            self.assertEqual(report.text(found) + "\n", self.printed(f"{arguments} {self.COMMITTED}"))
            self.assertLessEqual({each["mark"] for each in [*found["rows"], *found["walls"], *found["costs"]]},
                                 {"measured", "computed"})

    def test_what_no_number_of_machines_carries_is_an_answer_too(self):
        for rooms, wall in [("--rooms 1 --rate 1M", "CPU of workers"), ("--rooms 1M --rate 2M", "cluster bus")]:
            output = self.printed(f"--clients 1M {rooms} {self.COMMITTED}")
            self.assertRegex(output, f"NOT POSSIBLE: .*{wall}")

    def test_every_line_with_a_number_has_a_mark(self):
        lines = self.printed(f"--clients 1M --rooms 20k --rate 1000 {self.COMMITTED}").splitlines()
        marked = [line for line in lines if line.startswith("  ") and "/costs.json, " not in line]
        self.assertGreater(len(marked), 50)
        for line in marked:
            self.assertRegex(line, r" (computed|measured)(: |$)")

    def test_what_is_wrong_is_named(self):
        for arguments, words in [
                ("", "--clients"), ("--clients 0", "'0' is not a number"), ("--clients many", "'many'"),
                ("--clients 1.0001", "'1.0001'"), ("--clients 5k --frob", "--frob"),
                ("--clients 5k --room 3", "--room 3"),
                ("--clients 5k --rooms 1,2,3", "two kinds"), ("--clients 5k --rooms 1,2 --rate 3", "--rate"),
                ("--clients 5k --rate 1,2", "--rate"), ("--clients 5k --rate 1 --room-rate 1", "exclude each other"),
                ("--clients 5k --rate -1", "--rate"), ("--clients 5k --payload 2MiB", "'2MiB'"),
                ("--clients 5k --payload 128", "'128'"), ("--clients 5k --durable 101%", "'101%'"),
                ("--clients 5k --compressed 50", "'50'"), ("--clients 5k --heartbeat ping", "'ping'"),
                ("--clients 5k --heartbeat-interval 25", "'25'"), ("--clients 5k --node-memory 8GB", "'8GB'"),
                ("--clients 5k --target 0%", "--target"), ("--clients 5k --costs /nowhere", "/nowhere"),
                ("--clients 5k --costs /proc/version", "/proc/version"), ("--clients 5k 5k", "5k")]:
            with self.subTest(arguments):
                code, output, errors = self.run_it(arguments)
                self.assertEqual((code, output), (2, ""))
                self.assertIn(words, errors)
                self.assertNotIn("Traceback", errors)

    def test_the_script_itself(self):
        for arguments, code in [(f"--clients 5k {self.COMMITTED}", 0), ("--clients 5k --frob", 2)]:
            done = subprocess.run([main.ROOT / "scripts/capacity", *arguments.split()], capture_output=True, text=True,
                                  check=False)
            self.assertEqual((done.returncode, done.stdout, done.stderr), self.run_it(arguments))
            self.assertEqual(done.returncode, code)

    def test_rates_of_rooms_and_of_all_rooms_are_the_same_question(self):
        one, other = (self.printed(f"--clients 1M --rooms 20k,1M {rates} --brief {self.COMMITTED}")
                      for rates in ("--rate 1000,500", "--room-rate 0.05,0.0005"))
        self.assertEqual(one, other)

    def test_the_smallest_installation(self):
        output = self.printed(f"--clients 1 {self.COMMITTED} --brief")
        self.assertRegex(output, r"gateway nodes, one may fail +2 ")
        self.assertRegex(output, r"Redis servers, no cluster +1 ")


class Guide(unittest.TestCase):
    def test_the_tables_of_the_guide_are_what_the_script_prints(self):
        blocks = guide.BLOCK.findall((main.ROOT / guide.PAGE).read_text())
        self.assertGreaterEqual(len(blocks), 3)
        for arguments, text in blocks:
            self.assertIn(f"--costs {costs.COMMITTED}", arguments)
            self.assertEqual(text, guide.printed(arguments),
                             "write them anew: PYTHONPATH=scripts/lib python3 scripts/lib/capacity/guide.py")


if __name__ == "__main__":
    unittest.main()
