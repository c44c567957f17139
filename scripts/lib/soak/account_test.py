"""Whether the account of durable rooms notices what it is there for. Run by Tests/EndToEndTests/ScriptTests.swift."""

import unittest

from account import Account
from cluster_faults import ClusterFaults
from faults import Fault, Faults
from histories import START, DurableRoom, DurableStay, Journey, PlainStay


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
        for stay in self.stays:
            stay.end("over", 60.0)
        account = Account(self.faults, self.stays)
        for track in [*self.journey.ended, *self.journey.tracks.values()]:
            account.judge(self, track, is_connected and track in self.journey.tracks.values())
        for stay in self.stays:
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

    def test_what_a_cluster_loses_and_no_node_has_had_nobody_can_tell(self):
        for kinds, given, counts in [
                (ClusterFaults, [], {"unwitnessed": 2}), (ClusterFaults, [15], {"unwitnessed": 1, "silent": 1}),
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

    def test_a_node_that_has_left_the_room_cannot_tell_what_the_cluster_has_lost(self):
        # The others that get it: when each comes and goes, and its node. The master is replaced at 20.
        for others, name in [
                ([(14, 17, "a"), (18.9, 20, "a")], "silent"), ([(14, 17, "a"), (19.1, 23, "a")], "unwitnessed"),
                ([(14, 17, "a"), (18.9, 20, "b")], "unwitnessed"), ([(14, 17, "a"), (18.9, 20, None)], "silent"),
                ([(14, 19.9, "a")], "unwitnessed"), ([(14, 20.1, "a")], "silent"), ([(15.5, 23, "a")], "unwitnessed"),
                ([(14, 15.5, "a"), (10, 20.1, "a")], "silent")]:
            with self.subTest(others):
                self.setUp()
                self.faults = ClusterFaults(None, None, None, None, None)
                self.lose("roll back master", 15.5, 16.0, (14000, 14), 15)
                self.faults.done[0].details |= {"rooms": [], "replacedAt": 20.0}
                for opened_at, ended_at, node in others:
                    other = DurableStay("regular", ["hall"], Journey([self.room]), opened_at)
                    other.node = node
                    other.take(self.frame(15), 15.01)
                    other.end("left", ended_at)
                    self.stays.append(other)
                self.connect(2.5, 2)
                self.get(3)
                self.stays[-1].end("left", 3.5)
                self.connect(24.0, 3)
                self.get(*range(4, 15), *range(16, 31))
                self.check(self.account(), delivered=27, **{name: 1})

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
