"""Whether the soak knows what a cluster's servers say, and excuses no more than their faults. Run by
Tests/EndToEndTests/ScriptTests.swift."""

import unittest
from types import SimpleNamespace

from cluster import Member, command_key, key_slot
from cluster_faults import ClusterFaults
from faults import TOKEN_GONE, Fault
from ledger import Room, Stay

MASTER = "07c37df 127.0.0.1:30004@31004,host-4 myself,master - 0 1426238317239 4 connected 0-5460 5462 [93->-292f8b3]"
REPLICA = "e7d1eec 127.0.0.1:30001@31001 slave,fail? 07c37df 0 1426238316232 2 disconnected"


class Servers(unittest.TestCase):
    def test_slots_of_keys(self):
        # Of the specification; the others were answered by CLUSTER KEYSLOT.
        self.assertEqual(key_slot("123456789"), 12739)
        self.assertEqual(key_slot("{user1000}.following"), key_slot("user1000"))
        self.assertEqual(key_slot("foo{}{bar}"), 8363)
        self.assertEqual(key_slot("foo{{bar}}zap"), key_slot("{bar"))

    def test_keys_of_commands(self):
        self.assertEqual(command_key(("HGET", "client:a", "node")), "client:a")
        self.assertEqual(command_key(("EVAL", "return 1", 1, "room:a")), "room:a")
        self.assertEqual(command_key(("FCALL", "roomcast_publish", 2, "room:a", "once:{room:a}:1")), "room:a")

    def test_a_master(self):
        member = Member.read(MASTER)
        self.assertEqual((member.id, member.port, member.slot_count), ("07c37df", 30004, 5462))
        self.assertTrue(member.is_master and member.is_self and member.is_well)
        self.assertTrue(member.has(5460) and member.has(5462))
        self.assertFalse(member.has(5461) or member.has(93 + 16384))

    def test_a_replica_that_is_missed(self):
        member = Member.read(REPLICA)
        self.assertEqual((member.port, member.master_id, member.ranges), (30001, "07c37df", []))
        self.assertFalse(member.is_master or member.is_self or member.is_well)


class Excuses(unittest.TestCase):
    def faults(self, *kinds):
        """Each from 10 to 20 s."""
        faults = ClusterFaults(SimpleNamespace(), None, None, None, None)
        for kind in kinds:
            faults.done.append(Fault(kind, 10.0, {"rooms": ["hall"]}, 20.0))
        return faults

    def test_every_kind_has_its_method(self):
        names = [*ClusterFaults.names, *ClusterFaults.durable_names]
        faults = ClusterFaults(SimpleNamespace(), None, None, None, None, names)
        self.assertEqual(list(faults.kinds), names)

    def test_the_token_of_a_client_that_is_connected_is_never_gone(self):
        faults = self.faults(*ClusterFaults.names, *ClusterFaults.durable_names)
        stay = Stay("regular", [], 5.0)
        stay.end("closed", 15.0, TOKEN_GONE)
        self.assertFalse(faults.explains_close(stay))
        self.assertFalse(faults.explains_refused_beat(5.0, 15.0))

    def test_gaps_belong_to_faults_that_part_nodes_from_their_server(self):
        for kind in ("fail over", "move slots", "kill node", "empty master"):
            self.assertFalse(self.faults(kind).explains_gap(10.0, 15.0))
        for kind in ("kill master", "kill replica", "remove server", "lose majority"):
            self.assertTrue(self.faults(kind).explains_gap(4.0, 27.0))
            self.assertFalse(self.faults(kind).explains_gap(3.0, 27.0))
            self.assertFalse(self.faults(kind).explains_gap(4.0, 29.0))

    def test_a_slot_that_moves_refuses_no_notice(self):
        self.assertFalse(self.faults("move slots", "fail over", "remove server").explains_refused_publish(10.0, 12.0))
        self.assertTrue(self.faults("kill master").explains_refused_publish(10.0, 12.0))

    def test_a_loss_concerns_the_rooms_that_have_lost_something(self):
        fault = self.faults("roll back master").done[0]
        self.assertTrue(fault.concerns(Room("hall", 1)))
        self.assertFalse(fault.concerns(Room("corner", 1)))


if __name__ == "__main__":
    unittest.main()
