"""Whether the ledger of plain rooms notices what it is there for, and what faults excuse. Run by
Tests/EndToEndTests/ScriptTests.swift."""

import unittest

from cluster_faults import ClusterFaults
from faults import Fault, Faults
from gaps import FrameGaps, PolledGaps
from ledger import Room, Stay
from verdict import Verdict


def published(room, at, answered_after=0.01):
    number = room.next(at)
    room.answered[number] = at + answered_after
    return number


class Rig(unittest.TestCase):
    """A connection from 10 s on; a notice each second before it, and each second while it lives."""

    def setUp(self):
        self.room, self.other = Room("hall", 10), Room("corner", 10)
        self.gaps = PolledGaps()
        self.faults = Faults(None, None, None, None, None)
        published(self.room, 9.0)
        self.stay = Stay("regular", [self.room], 10.0)
        self.stay.node = "node-1"

    def publish(self, count):
        return [published(self.room, 11.0 + index) for index in range(count)]

    def take(self, numbers):
        for number in numbers:
            self.assertTrue(self.stay.take(self.room.payload(number)))

    def judged(self, ending="over", at=20.0):
        self.stay.end(ending, at)
        verdict = Verdict(self.gaps, self.faults)
        verdict.judge(self.stay)
        return verdict

    def check(self, verdict, **counts):
        found = {name: count for name, count in verdict.counts.items() if count}
        self.assertEqual(found, counts)


class Losses(Rig):
    """What is missing, and why."""

    def test_everything_once_and_in_order_is_all_there_is(self):
        self.take(self.publish(5))
        verdict = self.judged()
        self.check(verdict, delivered=5)
        self.assertEqual(verdict.expected, 5)

    def test_what_was_published_before_the_101_is_not_owed_but_may_come(self):
        self.take([0, *self.publish(2)])
        self.check(self.judged(), delivered=2)

    def test_one_that_is_missing_in_between_is_lost_outside(self):
        numbers = self.publish(5)
        self.take(numbers[:2] + numbers[3:])
        verdict = self.judged()
        self.check(verdict, delivered=4, lostOutside=1)
        self.assertEqual(verdict.examples[0]["number"], numbers[2])

    def test_the_first_one_that_is_missing_is_lost_outside(self):
        self.take(self.publish(3)[1:])
        self.check(self.judged(), delivered=2, lostOutside=1)

    def test_the_last_one_that_is_missing_at_the_end_of_the_run_is_lost_outside(self):
        self.take(self.publish(3)[:2])
        self.check(self.judged(at=13.1), delivered=2, lostOutside=1)

    def test_who_reads_is_too_slow_only_for_what_a_server_of_a_cluster_has_held_back(self):
        for faults, kind, counts in [
                (Faults, "reading", {"lostOutside": 2}), (ClusterFaults, "reading", {"lostToSlowReader": 2}),
                (Faults, "stuck", {"lostOutside": 2}), (ClusterFaults, "stuck", {"lostToSlowReader": 2}),
                (ClusterFaults, "regular", {"lostOutside": 2})]:
            self.setUp()
            self.faults = faults(None, None, None, None, None)
            self.faults.done.append(Fault("freeze server", 13.0, {}, 14.0))
            self.stay.kind = kind
            self.take(self.publish(4)[:2])
            self.check(self.judged("slow", 14.9), delivered=2, **counts)

    def test_one_whose_publish_was_never_answered_is_not_owed(self):
        numbers = self.publish(2)
        self.room.next(12.5)
        self.take(numbers + [published(self.room, 13.0)])
        self.check(self.judged(), delivered=3)

    def test_one_that_comes_twice_is_a_duplicate(self):
        numbers = self.publish(2)
        self.take(numbers + numbers[1:])
        self.check(self.judged(), delivered=2, duplicates=1)

    def test_one_that_comes_late_is_out_of_order_and_not_lost(self):
        first, second, third = self.publish(3)
        self.take([first, third, second])
        self.check(self.judged(), delivered=3, outOfOrder=1)

    def test_one_of_another_room_is_misrouted(self):
        self.take(self.publish(1))
        self.stay.take(self.other.payload(published(self.other, 12.0)))
        self.check(self.judged(), delivered=1, misrouted=1)

    def test_one_whose_bytes_have_changed_is_altered(self):
        payload = self.room.payload(self.publish(1)[0])
        self.stay.take(payload.replace(b'x"}', b'y"}'))
        self.check(self.judged(at=11.0), altered=1)

    def test_a_cut_excuses_what_was_on_its_way_and_nothing_older(self):
        numbers = self.publish(4)
        self.take(numbers[:1])
        verdict = self.judged("cut", at=14.5)
        self.check(verdict, delivered=1, lostWithConnection=1, lostOutside=2)
        self.assertAlmostEqual(verdict.oldest_seconds["lostWithConnection"], 0.49)

    def test_a_cut_excuses_no_hole(self):
        numbers = self.publish(4)
        self.take(numbers[:2] + numbers[3:])
        self.check(self.judged("cut", at=14.0), delivered=3, lostOutside=1)

    def test_what_comes_after_a_goodbye_is_not_owed(self):
        numbers = self.publish(2)
        self.take(numbers)
        self.stay.end("left", 12.5)
        self.publish(1)
        self.check(self.judged(), delivered=2)

    def test_only_a_client_that_did_not_read_may_lose_its_backlog(self):
        self.take(self.publish(5)[:1])
        self.check(self.judged("cut", at=18.0), delivered=1, lostOutside=4)
        for ending, reads_late, excused in [
                ("slow", False, 0), ("slow", True, 4), ("cut", True, 4), ("drained", True, 4), ("over", True, 0)]:
            self.stay.ending, self.stay.reads_late = ending, reads_late
            counts = {"delivered": 1, "lostToSlowReader": excused, "lostOutside": 4 - excused}
            self.check(self.judged(), **{name: count for name, count in counts.items() if count})


class Gaps(Rig):
    """The two ways in which a gap is declared; here from 12 to 13 s."""

    def look(self, at, count, is_up, node="node-1", run=1):
        self.gaps.look(node, run, count, is_up, at, at + 0.01)

    def missing_second(self):
        numbers = self.publish(3)
        self.take([numbers[0], numbers[2]])

    def test_a_hole_in_a_polled_gap_of_the_node_is_excused(self):
        self.missing_second()
        for at, count, is_up in [(11.6, 0, True), (11.9, 0, True), (12.1, 1, False), (13.0, 1, True)]:
            self.look(at, count, is_up)
        self.check(self.judged(), delivered=2, lostInGap=1)

    def test_a_gap_that_was_too_short_to_be_seen_down_is_seen_by_its_count(self):
        self.missing_second()
        for at, count in [(11.2, 0), (12.7, 1)]:
            self.look(at, count, True)
        self.check(self.judged(), delivered=2, lostInGap=1)

    def test_a_polled_gap_of_another_node_or_time_excuses_nothing(self):
        self.missing_second()
        for at, count in [(11.9, 0), (12.1, 1)]:
            self.look(at, count, True, node="node-2")
        for at, count in [(14.0, 0), (14.1, 1)]:
            self.look(at, count, True)
        self.check(self.judged(), delivered=2, lostOutside=1)

    def test_a_node_that_starts_again_has_no_gap_by_counting_anew(self):
        self.missing_second()
        self.look(11.9, 0, True)
        self.look(12.1, 1, True, run=2)
        self.look(12.2, 1, True, run=2)
        self.check(self.judged(), delivered=2, lostOutside=1)

    def test_a_frame_excuses_the_rooms_and_the_time_that_it_names(self):
        self.gaps = FrameGaps()
        numbers = self.publish(3)
        self.take(numbers[:1])
        self.assertTrue(self.gaps.take(self.stay, b'{"type":"gap","data":{"rooms":["hall"],"ms":900}}', 12.8))
        self.take(numbers[2:])
        self.check(self.judged(), delivered=2, lostInGap=1)
        self.stay.gaps = [(start + 3, end + 3, due) for start, end, due in self.stay.gaps]
        self.check(self.judged(), delivered=2, lostOutside=1)

    def test_a_frame_that_comes_before_or_behind_its_hole_excuses_nothing(self):
        frame = b'{"type":"gap","data":{"rooms":["hall"],"ms":4000}}'
        for before in range(4):
            self.setUp()
            self.gaps = FrameGaps()
            numbers = self.publish(4)
            came = [numbers[0], numbers[2], numbers[3]]
            self.take(came[:before])
            self.gaps.take(self.stay, frame, 14.1)
            self.take(came[before:])
            self.check(self.judged(), delivered=3, **({"lostInGap": 1} if before == 1 else {"lostOutside": 1}))

    def test_a_frame_of_a_room_that_is_not_the_connections_is_no_gap(self):
        self.gaps = FrameGaps()
        for text in [b'{"type":"gap","data":{"rooms":["corner"],"ms":9}}', b'{"type":"gap"}', b"[]", b"{"]:
            self.assertFalse(self.gaps.take(self.stay, text, 12.8))

    def test_a_frame_that_others_got_excuses_only_an_end_within_the_gap(self):
        self.gaps = FrameGaps()
        numbers = self.publish(4)
        other = Stay("regular", [self.other], 10.0)
        other.node = "node-1"
        self.gaps.take(other, b'{"type":"gap","data":{"rooms":["corner"],"ms":2500}}', 14.0)
        self.take([numbers[0], numbers[3]])
        self.check(self.judged("left", at=14.5), delivered=2, lostOutside=2)
        self.stay.seats["hall"].holes, self.stay.seats["hall"].last = [], numbers[0]
        self.check(self.judged(), delivered=2, lostInGap=3)
        self.stay.node = "node-2"
        self.check(self.judged(), delivered=2, lostAtGoodbye=1, lostOutside=2)


class Reasons(unittest.TestCase):
    """What may come of a fault, here one of node-2 or of all from 100 to 102 s."""

    def faults(self, kind, **details):
        faults = Faults(None, None, None, None, None)
        faults.done = [Fault(kind, 100.0, details, 102.0)]
        return faults

    def ended(self, ending, at, node="node-2"):
        stay = Stay("regular", [], 10.0)
        stay.node = node
        stay.end(ending, at)
        return stay

    def test_a_killed_node_cuts_its_own_clients_and_only_then(self):
        faults = self.faults("kill node", node="node-2")
        self.assertTrue(faults.explains_end(self.ended("cut", 100.1)))
        self.assertTrue(faults.explains_end(self.ended("cut", 100.1, None)))
        for stay in [self.ended("cut", 99.9), self.ended("cut", 103.1), self.ended("cut", 100.1, "node-1"),
                     self.ended("drained", 100.1)]:
            self.assertFalse(faults.explains_end(stay))

    def test_a_drain_closes_with_1001_and_a_restarted_nginx_cuts_everybody(self):
        self.assertTrue(self.faults("drain node", node="node-2").explains_end(self.ended("drained", 101.0)))
        self.assertFalse(self.faults("drain node", node="node-2").explains_end(self.ended("cut", 101.0)))
        self.assertTrue(self.faults("restart nginx").explains_end(self.ended("cut", 101.0, "node-1")))
        for kind in ["reload nginx", "cut commands", "cut subscribers", "stop redis", "restart redis"]:
            for ending in ["cut", "drained"]:
                self.assertFalse(self.faults(kind).explains_end(self.ended(ending, 101.0)))

    def test_a_gap_needs_a_fault_that_parts_nodes_from_redis_and_lasts_not_much_longer(self):
        for kind in Faults.names:
            is_parting = kind in ("stop redis", "restart redis", "cut subscribers")
            self.assertEqual(self.faults(kind).explains_gap(99.0, 104.0), is_parting, kind)
        for start, end in [(90.0, 104.0), (99.0, 120.0), (99.0, None)]:
            self.assertFalse(self.faults("stop redis").explains_gap(start, end))

    def test_a_token_is_lost_only_with_the_data_of_redis(self):
        self.assertTrue(self.faults("restart redis").explains_lost_token(50.0, 110.0))
        self.assertFalse(self.faults("restart redis").explains_lost_token(102.5, 110.0))
        self.assertFalse(self.faults("restart redis").explains_lost_token(50.0, 99.0))
        self.assertFalse(self.faults("stop redis").explains_lost_token(50.0, 110.0))


if __name__ == "__main__":
    unittest.main()
