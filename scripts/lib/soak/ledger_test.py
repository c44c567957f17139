"""Whether the account notices what it is there for. Run by Tests/EndToEndTests/ScriptTests.swift."""

import unittest

from account import Account
from cluster_faults import ClusterFaults
from faults import Fault, Faults
from gaps import FrameGaps, PolledGaps
from histories import START, DurableRoom, DurableStay, Journey, PlainStay
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
        for faults, counts in [(Faults, {"lostOutside": 2}), (ClusterFaults, {"lostToSlowReader": 2})]:
            self.setUp()
            self.faults = faults(None, None, None, None, None)
            self.faults.done.append(Fault("freeze server", 13.0, {}, 14.0))
            self.stay.kind = "reading"
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


class Durable(unittest.TestCase):
    """A client of a durable room; notice n is published at n seconds under the id <n>000-<n>."""

    number, kind = 7, "regular"

    def setUp(self):
        self.room, self.other = DurableRoom("hall", 10, 100), DurableRoom("corner", 10, 100)
        self.journey = Journey([self.room])
        self.faults = Faults(None, None, None, None, None)
        self.texts = {}
        self.stays = []
        for second in range(1, 31):
            number = self.room.next(second)
            self.texts[second] = b"%d000-%d" % (second, second)
            self.room.stored(number, self.texts[second], second + 0.01)

    def connect(self, at, since, lost=False, epoch="epoch1aa"):
        stay = DurableStay("regular", ["hall"], self.journey, at)
        self.stays.append(stay)
        self.hear(at, since, lost, epoch)

    def hear(self, at, since, lost=True, epoch="epoch1aa"):
        position = f"{epoch}.{since}000-{since}"
        entry = b'{"room":"hall","since":"%s","lost":%s}' % (position.encode(), b"true" if lost else b"false")
        self.assertTrue(self.stays[-1].take(b'{"type":"resume","data":{"rooms":[%s]}}' % entry, at))

    def frame(self, second):
        return self.room.frame(self.room.index(self.texts[second], second - 1, second), self.texts[second])

    def get(self, *seconds, at=None):
        for second in seconds:
            self.assertTrue(self.stays[-1].take(self.frame(second), at or second))

    def fault(self, kind, began_at, ended_at, **details):
        fault = Fault(kind, began_at, details, ended_at)
        self.faults.done.append(fault)
        return fault

    def lose(self, kind, began_at, ended_at, left, newest):
        fault = self.fault(kind, began_at, ended_at)
        self.room.rollbacks.append((left, (newest * 1000, 10 ** 6), fault))

    def account(self, is_connected=True):
        account = Account(self.faults)
        for track in [*self.journey.ended, *self.journey.tracks.values()]:
            account.judge(self, track, is_connected and track in self.journey.tracks.values())
        for stay in self.stays:
            stay.end("over", 60.0)
            account.judge_promptness(self, stay)
        return account

    def check(self, account, **counts):
        self.assertEqual({name: count for name, count in account.counts.items() if count}, counts)

    def test_everything_behind_the_first_position_over_two_connections_is_all_there_is(self):
        self.connect(2.5, 2)
        self.get(*range(3, 11))
        self.assertEqual(self.journey.since(["hall"]), "epoch1aa.10000-10")
        self.connect(20.5, 10)
        self.get(*range(11, 31))
        self.check(self.account(), delivered=28)

    def test_one_that_is_missing_between_two_connections_is_silent(self):
        self.connect(2.5, 2)
        self.get(*range(3, 11))
        self.connect(20.5, 10)
        self.get(*range(12, 31))
        account = self.account()
        self.check(account, delivered=27, silent=1)
        self.assertEqual(account.examples[0]["id"], (11000, 11))

    def test_the_last_ones_are_owed_to_the_connected_only(self):
        self.connect(2.5, 2)
        self.get(*range(3, 26))
        self.check(self.account(), delivered=23, silent=5)
        self.check(self.account(is_connected=False), delivered=23)

    def test_one_that_redis_has_not_answered_is_not_owed(self):
        self.room.answered_at[14] = float("inf")
        self.connect(2.5, 2)
        self.get(*range(3, 15), *range(16, 31))
        self.check(self.account(), delivered=27)

    def test_one_that_comes_again_on_the_next_connection_is_a_duplicate(self):
        self.connect(2.5, 2)
        self.get(3, 4)
        self.connect(20.5, 4)
        self.get(4, *range(5, 31))
        self.check(self.account(), delivered=28, duplicates=1)

    def test_one_that_comes_late_is_out_of_order_and_was_missing(self):
        self.connect(2.5, 2)
        self.get(3, 5, 4, *range(6, 31))
        self.check(self.account(), delivered=28, outOfOrder=1, silent=1)

    def test_one_of_another_room_or_with_other_bytes_is_noticed(self):
        self.connect(2.5, 2)
        stay = self.stays[-1]
        stay.take(b'{"id":"1-1","room":"corner","type":"notice","data":{}}', 3.0)
        stay.take(self.frame(3).replace(b'x"}', b'y"}'), 3.0)
        self.assertEqual((stay.misrouted, stay.altered), (1, 1))
        self.assertFalse(stay.take(b'{"type":"gap","data":{"rooms":["hall"],"ms":9}}', 3.0))

    def test_a_loss_without_a_fault_is_a_false_alarm(self):
        self.connect(2.5, 2)
        self.get(3, 4)
        self.connect(20.5, 20, lost=True)
        self.get(*range(21, 31))
        self.check(self.account(), delivered=12, told=16, falseAlarms=1)

    def test_faults_that_lose_nothing_explain_no_loss(self):
        for kind in Faults.names:
            self.setUp()
            self.connect(2.5, 2)
            self.get(*range(3, 11))
            self.fault(kind, 11.0, 12.0)
            self.connect(13.0, 13, lost=True)
            self.get(*range(14, 31))
            self.check(self.account(), delivered=25, told=3, falseAlarms=1)

    def test_what_lies_behind_the_loss_that_a_trim_explains_is_told(self):
        self.connect(2.5, 2)
        self.get(*range(3, 11))
        fault = self.fault("trim rooms", 14.0, 14.1, firstKept={"hall": (14000, 14)})
        self.connect(20.5, 20, lost=True)
        self.get(*range(21, 31))
        account = self.account()
        self.check(account, delivered=18, told=10)
        self.assertEqual(account.told, {"trim rooms": 10})
        fault.details["firstKept"] = {"hall": (10000, 10)}
        self.check(self.account(), delivered=18, told=10, falseAlarms=1)

    def test_a_room_explains_the_loss_of_a_client_that_was_away_for_longer_than_it_keeps(self):
        for limit, alarms in [(10, {}), (11, {"falseAlarms": 1})]:
            self.setUp()
            self.room.limit = limit
            self.connect(2.5, 2)
            self.get(*range(3, 11))
            self.connect(20.5, 20, lost=True)
            self.get(*range(21, 31))
            self.check(self.account(), delivered=18, told=10, **alarms)

    def test_what_redis_has_lost_is_excused_by_a_loss_that_is_told_soon(self):
        for told_at, counts in [(17.5, {"told": 2}), (28.5, {"silent": 2, "untold": 1, "falseAlarms": 1}),
                                (None, {"silent": 2, "untold": 1})]:
            self.setUp()
            self.lose("roll back redis", 15.0, 16.0, (13000, 13), 15)
            self.connect(2.5, 2)
            self.get(*range(3, 14), 16, 17)
            for second in range(18, 31):
                if told_at is not None and second - 0.5 == told_at:
                    self.hear(told_at, second - 1, epoch="epoch2aa")
                self.get(second)
            self.check(self.account(), delivered=26, **counts)

    def test_what_redis_has_lost_is_owed_only_to_those_that_came_before(self):
        for came_at, counts in [(15.5, {}), (13.5, {"silent": 2, "untold": 1})]:
            self.setUp()
            self.lose("roll back redis", 15.0, 16.0, (13000, 13), 15)
            self.faults.done[-1].lost_at = 15.4
            self.connect(came_at, 13)
            self.get(*range(16, 31))
            self.check(self.account(), delivered=15, **counts)

    def test_a_client_that_reads_late_hears_of_a_loss_on_its_next_connection(self):
        for reads_late, alarms in [(True, {}), (False, {"falseAlarms": 1})]:
            self.setUp()
            self.lose("empty redis", 5.0, 5.5, START, 5)
            self.connect(2.5, 2)
            self.stays[-1].reads_late = reads_late
            # What was sent to it before the fault.
            self.get(*range(3, 6), at=20)
            self.connect(21.5, 21, lost=True, epoch="epoch2aa")
            self.get(*range(22, 31))
            self.check(self.account(), delivered=12, told=16, **({} if reads_late else {"untold": 1}), **alarms)

    def test_a_restart_of_redis_explains_a_loss_only_if_its_disk_was_busy(self):
        for kind, alarms in [(Faults.busy_disk, {}), ("restart redis", {"falseAlarms": 1})]:
            self.setUp()
            self.lose(kind, 15.0, 16.0, (13000, 13), 15)
            self.connect(2.5, 2)
            self.get(*range(3, 14))
            self.hear(17.5, 17, epoch="epoch2aa")
            self.get(*range(18, 31))
            self.check(self.account(), delivered=24, told=4, **alarms)

    def test_what_was_passed_over_before_redis_lost_it_is_silent(self):
        self.lose("empty redis", 15.0, 15.0, START, 15)
        self.connect(2.5, 2)
        self.get(*range(3, 10), *range(11, 16))
        self.hear(16.0, 15, epoch="epoch2aa")
        self.get(*range(16, 31))
        self.check(self.account(), delivered=27, silent=1)

    def test_what_a_cluster_loses_before_anybody_has_it_nobody_can_tell(self):
        for kinds, given, counts in [
                (ClusterFaults, [], {"unseen": 2}), (ClusterFaults, [15], {"unseen": 1, "silent": 1}),
                (Faults, [], {"silent": 2})]:
            self.setUp()
            self.faults = kinds(None, None, None, None, None)
            self.lose("roll back master", 15.0, 16.0, (13000, 13), 15)
            for second in given:
                PlainStay("plain", [self.room], 2.0).take(self.frame(second), second)
            self.connect(2.5, 2)
            self.get(*range(3, 14), *range(16, 31))
            # It stayed in its place: promptness is another matter.
            self.faults.done[0].details["rooms"] = []
            self.check(self.account(), delivered=26, **counts)

    def test_another_position_than_the_one_that_was_asked_is_noticed(self):
        self.connect(2.5, 2)
        self.get(3, 4)
        self.connect(20.5, 4, epoch="epoch2aa")
        self.get(*range(5, 31))
        self.check(self.account(), delivered=28, wrongSince=1)

    def test_a_connection_begins_with_a_resume_of_its_rooms(self):
        stay = DurableStay("regular", ["hall"], self.journey, 2.0)
        stay.take(self.frame(3), 3.0)
        self.assertEqual(stay.disobediences, 1)
        self.journey.enter([self.room, self.other])
        self.stays = [DurableStay("regular", ["hall", "corner"], self.journey, 4.0)]
        self.hear(4.0, 3, lost=False)
        self.assertEqual(self.stays[0].disobediences, 1)
        self.hear(5.0, 3, lost=False)
        self.assertEqual(self.stays[0].disobediences, 2)

    def test_a_client_that_has_not_opted_in_gets_each_notice_at_most_once_and_in_order(self):
        for seconds, repeated, disordered in [
                ([3, 4, 9, 30], 0, 0), ([3, 4, 4, 5], 1, 0), ([3, 5, 4, 6], 0, 1), ([3, 4, 5, 3], 1, 1), ([], 0, 0)]:
            stay = PlainStay("plain", [self.room], 2.0)
            for second in seconds:
                self.assertTrue(stay.take(self.frame(second), second))
            self.assertTrue(stay.take(b'{"type":"gap","data":{"rooms":["hall"],"ms":9}}', 31.0))
            self.assertEqual((stay.delivered, stay.repeated, stay.disordered), (len(seconds), repeated, disordered))
            self.assertEqual((stay.misrouted, stay.altered), (0, 0))

    def test_what_a_client_that_has_not_opted_in_should_not_get_is_noticed(self):
        stay = PlainStay("plain", [self.room], 2.0)
        stay.take(self.frame(3).replace(b'x"}', b'y"}'), 3.0)
        stay.take(self.frame(3).replace(b'"hall",', b'"corner",', 1), 3.0)
        self.assertEqual((stay.misrouted, stay.altered, stay.delivered), (1, 1, 0))
        self.assertFalse(stay.take(b'{"type":"resume","data":{}}', 3.0))

    def test_rooms_that_are_left_begin_anew_and_others_go_on(self):
        self.journey.enter([self.room, self.other])
        self.connect(2.5, 2)
        self.get(3)
        self.journey.enter([self.room])
        self.assertEqual(self.journey.since(["hall"]), "epoch1aa.3000-3")
        self.journey.enter([self.other])
        self.journey.enter([self.room])
        self.assertEqual(self.journey.since(["hall"]), "")

    def test_a_notice_is_stored_once_unless_redis_has_lost_the_first(self):
        self.room.stored(4, b"31000-31", 31.0)
        self.assertEqual(self.room.repeated(), 1)
        self.lose("roll back redis", 6.0, 7.0, (4000, 4), 6)
        self.assertEqual(self.room.repeated(), 0)
        self.assertFalse(self.room.is_contradictory)
        self.room.index(b"31000-31", 5, 32.0)
        self.assertTrue(self.room.is_contradictory)


if __name__ == "__main__":
    unittest.main()
