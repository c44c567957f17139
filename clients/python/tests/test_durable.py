"""What a client with `durable` does with positions, frame by frame, with the same behaviours as
clients/js/tests/durable.test.js. test_durable_nodes.py has the tests with real nodes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from roomcast import Gap, Notice, Resume, RoomResume, TokenRequest
from surroundings import BEGAN, World, passes, settle, virtual

EPOCH = "k3f9x2ab"
MS = round(BEGAN * 1000)


def position(number: int, epoch: str = EPOCH) -> str:
    return f"{epoch}.{MS}-{number}"


def resume(*entries: tuple[Any, ...]) -> str:
    rooms = [{"room": entry[0], "since": entry[1], "lost": len(entry) > 2} for entry in entries]
    return json.dumps({"type": "resume", "data": {"rooms": rooms}})


def notice(room: str, number: int) -> str:
    escaped = room.replace("\\", "\\\\").replace('"', '\\"')
    return f'{{"id":"{MS}-{number}","room":"{escaped}","type":"notice","data":{{"n":{number}}}}}'


def numbers(world: World) -> list[int]:
    return [value["data"]["n"] for value in world.notices]


async def standing(world: World, *entries: tuple[Any, ...], **options: Any) -> None:
    """Open, with these positions from the node."""
    await world.start(durable=True, **options)
    world.socket.send(resume(*entries))
    await settle()


async def send(world: World, *frames: str) -> None:
    world.socket.send(*frames)
    await settle()


async def reconnect(world: World, code: int = 1006) -> None:
    world.socket.end(code)
    await settle()
    await passes(world.last.retry_in or 0)


@virtual
async def test_the_handshake_has_the_positions_in_the_order_of_the_rooms(world: World) -> None:
    await world.start(rooms=["a", "b"])
    assert world.socket.since is None, "not opted in"
    assert world.client.positions == {}
    await world.start(rooms=["a", "b"], durable=True)
    assert world.socket.since == ","
    await world.start(durable=True)
    assert world.socket.since == "", "opted in, without a position"
    await world.start(rooms=["a", "b"], durable=True, positions={"c": position(1), "b": position(2)})
    assert world.socket.since == f",{position(2)}"
    assert world.client.positions == {"b": position(2)}


@virtual
async def test_a_position_moves_with_each_notice_before_the_application_has_it(world: World) -> None:
    rooms = ["a", 'b"\\ü']
    found: list[Any] = []

    def keep(it: Notice) -> None:
        found.append((it.id, it.room, it.data["n"], world.client.positions[str(it.room)]))

    world.on_notice = keep
    await standing(world, ("a", position(0)), (rooms[1], position(7, "00000000")), rooms=rooms)
    assert world.resumes == [
        Resume((RoomResume("a", position(0), False), RoomResume(rooms[1], position(7, "00000000"), False)))
    ]
    await send(world, notice("a", 1), notice(rooms[1], 8), notice("a", 2))
    assert found == [
        (f"{MS}-1", "a", 1, position(1)), (f"{MS}-8", rooms[1], 8, position(8, "00000000")),
        (f"{MS}-2", "a", 2, position(2)),
    ]
    end = {"a": position(2), rooms[1]: position(8, "00000000")}
    assert json.loads(json.dumps(world.client.positions)) == end
    world.client.positions["a"] = "changed"
    assert world.client.positions["a"] == position(2), "it was a copy"
    assert world.gaps == []


@virtual
async def test_positions_are_those_of_the_application_not_of_what_waits(world: World) -> None:
    await standing(world, ("a", position(0)), reads=False)
    await send(world, notice("a", 1), notice("a", 2))
    assert world.client.positions == {}
    assert (await anext(world.client)).data == {"n": 1}
    assert world.client.positions == {"a": position(1)}
    await reconnect(world)
    assert world.socket.since == position(2), "what waits need not come again"
    await send(world, resume(("a", position(2))), notice("a", 3))
    world.read()
    await settle()
    assert numbers(world) == [2, 3]
    assert world.gaps == []


@virtual
async def test_a_notice_that_could_not_be_taken_before_the_connection_died_comes_again(world: World) -> None:
    await standing(world, ("a", position(0)), reads=False)
    await send(world, *(notice("a", number) for number in range(1, 101)))
    world.beat_answer = world.silence()
    for _ in range(120):
        await passes(1)
    assert world.sockets[0].is_closed
    world.beat_answer = None
    world.read()
    await settle()
    came = len(world.notices)
    assert world.socket.since == position(came)
    await send(world, resume(("a", position(came))), *(notice("a", number) for number in range(came + 1, 101)))
    assert numbers(world) == list(range(1, 101))
    assert world.gaps == []


@virtual
async def test_ids_of_16_digits_stay_as_they_are(world: World) -> None:
    await standing(world, ("a", position(0)))
    await send(world, '{"id":"9007199254740993-9007199254740995","room":"a","type":"notice","data":null}')
    assert world.client.positions["a"] == f"{EPOCH}.9007199254740993-9007199254740995"


@pytest.mark.parametrize("code", [1001, 1006, 1013, 4000])
@virtual
async def test_it_goes_on_behind_its_last_notice_and_no_gap_is_told_after(world: World, code: int) -> None:
    await standing(world, ("a", position(0)))
    await send(world, notice("a", 1))
    await passes(10)
    await reconnect(world, code)
    assert world.socket.since == position(1)
    await send(world, resume(("a", position(1))), notice("a", 2))
    assert numbers(world) == [1, 2]
    assert world.gaps == []
    counts = world.client.counts
    assert (counts.notices, counts.reconnects, counts.gaps, counts.resumed, counts.lost) == (2, 1, 0, 1, 0)


@virtual
async def test_a_notice_that_comes_again_is_dropped(world: World) -> None:
    await standing(world, ("a", position(0)), ("b", position(0)), rooms=["a", "b"])
    await send(world, notice("a", 1), notice("a", 2), notice("a", 1), notice("b", 1), notice("a", 2), notice("a", 3))
    assert numbers(world) == [1, 2, 1, 3]
    assert world.client.counts.repeated == 2
    assert world.client.positions == {"a": position(3), "b": position(1)}


@virtual
async def test_a_history_that_began_anew_may_have_the_numbers_of_the_old_one(world: World) -> None:
    await standing(world, ("a", position(7)))
    await send(world, resume(("a", "newepoch.5-0", "lost")), '{"id":"5-1","room":"a","type":"notice","data":{"n":1}}')
    assert numbers(world) == [1]
    assert world.client.positions == {"a": "newepoch.5-1"}


@virtual
async def test_stored_positions_are_as_good_as_a_connections(world: World) -> None:
    await standing(world, ("a", position(5)), positions={"a": position(5)})
    await send(world, notice("a", 6))
    assert world.gaps == []
    assert (world.client.counts.resumed, world.client.counts.reconnects) == (1, 0)


@virtual
async def test_a_loss_is_told_before_what_follows_it(world: World) -> None:
    order: list[Any] = []
    world.on_notice = lambda it: order.append(it.data["n"])
    await standing(
        world, ("a", position(1)), ("b", position(1)), rooms=["a", "b"],
        on_resume=lambda it: order.append([entry.lost for entry in it.rooms]), on_gap=order.append,
    )
    await send(world, notice("a", 2))
    await passes(7)
    world.sleep(5)
    await reconnect(world)
    await send(world, resume(("a", position(9), "lost"), ("b", position(1))), notice("a", 10))
    assert order[:3] == [[False, False], 2, [True, False]]
    gap = order[3]
    assert isinstance(gap, Gap) and gap.rooms == ("a",) and gap.source == "resume"
    assert gap.seconds == pytest.approx(12.5, abs=0.01)
    assert order[4:] == [10]
    assert world.client.positions == {"a": position(10), "b": position(1)}
    counts = world.client.counts
    assert (counts.resumed, counts.lost, counts.gaps) == (0, 1, 1)


@virtual
async def test_a_loss_within_a_connection_is_told_and_begins_no_later_than_the_last_notice(world: World) -> None:
    await standing(world, ("a", position(1)), ("b", position(1)), rooms=["a", "b"])
    await passes(60)
    new = f"newepoch.{MS + 60000}-0"
    await send(world, resume(("b", new, "lost")))
    assert [(gap.rooms, gap.source) for gap in world.gaps] == [(("b",), "resume")]
    assert world.gaps[0].seconds == pytest.approx(60, abs=0.01)
    assert world.client.positions == {"a": position(1), "b": new}
    assert world.client.counts.lost == 1
    await send(world, resume(("a", new)))
    assert len(world.gaps) == 1, "moved, and nothing lost"
    await send(world, resume(("c", position(1))))
    assert list(world.client.positions) == ["a", "b"], "its own rooms only"
    await reconnect(world)
    assert world.socket.since == f"{new},{new}"


@virtual
async def test_a_loss_within_a_connection_does_not_begin_before_it(world: World) -> None:
    await standing(world, ("a", position(1)))
    world.sleep(3600)
    await reconnect(world)
    await send(world, resume(("a", f"{EPOCH}.{round((BEGAN + 3600.5) * 1000)}-0", "lost")))
    await passes(1)
    await send(world, resume(("a", position(9), "lost")))
    assert [round(gap.seconds, 1) for gap in world.gaps] == [3600.5, 1.0]


@virtual
async def test_a_node_that_was_cut_off_from_redis_before_it_died_makes_no_gap_too_short(world: World) -> None:
    await standing(world, ("a", position(1)))
    await passes(90)
    await reconnect(world)
    await send(world, resume(("a", position(9), "lost")))
    assert world.gaps[0].seconds == pytest.approx(90.5, abs=0.01), "heartbeats were answered meanwhile"


@virtual
async def test_a_wall_clock_that_was_set_back_makes_no_gap_shorter_than_the_absence(world: World) -> None:
    await standing(world, ("a", position(1)))
    world.set_back(3600)
    world.sleep(5)
    await reconnect(world)
    await send(world, resume(("a", position(9), "lost")))
    assert world.gaps[0].seconds >= 0.5


@virtual
async def test_an_old_node_is_known_by_its_first_frame_a_loss_told_before_that_frame(world: World) -> None:
    order: list[Any] = []
    world.on_notice = lambda it: order.append(it.data["n"])
    await standing(
        world, ("a", position(1)), on_resume=lambda _: order.append("resume"), on_gap=lambda it: order.append(it.source)
    )
    await passes(2)
    await reconnect(world)
    assert world.socket.since == position(1)
    await send(world, notice("a", 5), notice("a", 6))
    assert order == ["resume", "resume", 5, 6] and world.client.counts.gaps == 1
    assert world.client.positions == {}

    await passes(10)
    await reconnect(world)
    assert world.socket.since == "", "dropped"
    await send(world, resume(("a", position(8))))
    assert order[4:] == ["resume", "resume"], "what came in between is lost, though the node cannot know"
    assert world.client.counts.gaps == 2
    assert world.client.positions == {"a": position(8)}
    await reconnect(world)
    await send(world, resume(("a", position(8))))
    counts = world.client.counts
    assert (counts.resumed, counts.lost, counts.reconnects) == (1, 2, 3)


@virtual
async def test_a_loss_that_the_node_cannot_know_of_is_a_loss_in_on_resume_too(world: World) -> None:
    await standing(
        world, ("a", position(1)), ("b", position(1)), rooms=["a", "b"], positions={"a": "damaged"}
    )
    assert [entry.lost for entry in world.resumes[0].rooms] == [True, False]


@virtual
async def test_a_first_connection_to_an_old_node_has_missed_nothing_the_second_has(world: World) -> None:
    await world.start(durable=True)
    await send(world, notice("a", 1))
    assert (world.gaps, world.client.positions) == ([], {})
    await passes(3)
    await reconnect(world)
    await send(world, notice("a", 2))
    assert [gap.source for gap in world.gaps] == ["resume"]


@virtual
async def test_an_old_node_that_is_silent_is_known_by_its_first_pong(world: World) -> None:
    await standing(world, ("a", position(1)))
    await reconnect(world)
    world.answers_pings = False
    await passes(24)
    assert world.gaps == []
    world.socket.pong()
    await settle()
    assert len(world.gaps) == 1
    assert world.client.positions == {}
    world.answers_pings = True
    await send(world, notice("a", 2))
    await passes(60)
    assert len(world.gaps) == 1, "once"
    await send(world, resume(("a", position(2))))
    assert (len(world.gaps), world.client.positions) == (1, {"a": position(2)}), "it was only late"


@virtual
async def test_a_connection_that_ends_before_its_first_frame_moves_nothing(world: World) -> None:
    await standing(world, ("a", position(1)))
    for _ in range(3):
        await reconnect(world)
    assert world.socket.since == position(1)
    world.open_answer = world.answer(500, "WebSocket upgrade failed")
    await reconnect(world)
    world.open_answer = None
    await passes(world.last.retry_in or 0)
    assert world.socket.since == position(1), "nor does a refused handshake"
    await send(world, resume(("a", position(1))))
    assert world.gaps == []


@virtual
async def test_a_first_connection_that_ended_before_its_first_frame_leaves_something_to_miss(world: World) -> None:
    await world.start(durable=True)
    await reconnect(world)
    await send(world, resume(("a", position(1))))
    assert [gap.source for gap in world.gaps] == ["resume"]


@virtual
async def test_a_revoked_client_drops_its_positions_whoever_comes_back(world: World) -> None:
    await standing(world, ("a", position(1)))
    world.socket.end(4003)
    await settle()
    assert (world.client.status, world.client.positions) == ("closed", {})

    async def get_token(_: TokenRequest) -> str:
        return "token"

    await standing(world, ("a", position(1)), get_token=get_token)
    await reconnect(world, 4003)
    assert world.socket.since == ""
    await send(world, resume(("a", position(9))))
    assert [(gap.rooms, gap.source) for gap in world.gaps] == [(("a",), "resume")]


@virtual
async def test_a_replaced_client_still_has_the_positions_of_its_end(world: World) -> None:
    await standing(world, ("a", position(1)))
    await send(world, notice("a", 2))
    world.socket.end(4001)
    await settle()
    assert (world.client.status, world.client.positions) == ("closed", {"a": position(2)})


@pytest.mark.parametrize(
    "damaged",
    [
        "", "garbage", 7, None, {}, f"{EPOCH}.1-01", f"{EPOCH}.12345678901234567-1", f"{EPOCH}.1-1 ", f"{EPOCH}.1-1\n",
        "K3F9X2AB.1-1", f"{EPOCH}.1", "k3f9x2a.1-1", f"{EPOCH}.1-1,{EPOCH}.1-1", [position(1)], f"{EPOCH}.1-\u0661",
    ],
)
@virtual
async def test_a_damaged_position_is_not_sent_and_counts_as_lost(world: World, damaged: object) -> None:
    await world.start(durable=True, positions={"a": damaged})
    assert world.socket.since == ""
    await send(world, resume(("a", position(3))))
    assert [(gap.rooms, gap.source) for gap in world.gaps] == [(("a",), "resume")]
    assert world.gaps[0].seconds >= BEGAN, "since when is unknown"
    assert world.client.positions == {"a": position(3)}


@virtual
async def test_a_position_of_long_ago_is_sent_and_its_loss_told_with_its_age(world: World) -> None:
    await standing(world, ("a", position(3), "lost"), positions={"a": f"{EPOCH}.0-0"})
    assert len(world.gaps) == 1 and world.gaps[0].seconds == pytest.approx(BEGAN, abs=0.01)


@virtual
async def test_what_is_not_exactly_a_resume_is_none(world: World) -> None:
    good = {"room": "a", "since": position(1), "lost": False}
    frames: list[Any] = [
        {"type": "resume"}, {"type": "resume", "data": None}, {"type": "resume", "data": {"rooms": []}},
        {"type": "resume", "data": {"rooms": [good], "more": 1}},
        {"type": "resume", "data": {"rooms": [good]}, "more": 1}, {"type": "resume", "data": {"rooms": {"0": good}}},
        {"type": "resume", "data": {"rooms": [None]}}, {"type": "resumed", "data": {"rooms": [good]}},
        {"type": "resume", "data": [good]}, ["resume", {"rooms": [good]}],
        *(
            {"type": "resume", "data": {"rooms": [good, entry]}}
            for entry in (
                {"room": "a", "since": position(1)}, {**good, "more": 1}, {**good, "lost": 1}, {**good, "since": "1-1"},
                {**good, "room": 7}, {**good, "since": None},
            )
        ),
    ]
    await standing(world, ("a", position(0)))
    await send(world, *map(json.dumps, frames))
    assert world.notices == frames
    assert len(world.resumes) == 1
    assert world.client.positions == {"a": position(0)}


@virtual
async def test_what_is_not_exactly_the_head_of_a_durable_notice_moves_nothing(world: World) -> None:
    frames = [
        '{"room":"a","id":"5-5","type":"notice","data":1}', '{ "id":"5-5","room":"a","type":"notice","data":1}',
        '{"id":"5-5","room":"b","type":"notice","data":1}', '{"id":"5","room":"a","type":"notice","data":1}',
        '{"id":"05-5","room":"a","type":"notice","data":1}', '{"id":"5-05","room":"a","type":"notice","data":1}',
        '{"id":"12345678901234567-1","room":"a","type":"notice","data":1}', '{"id":"5-5","room":"\\u0061","data":1}',
        '{"id":5,"room":"a","type":"notice","data":1}', '{"type":"notice","data":{"id":"5-5","room":"a","n":1}}', "7",
        "null",
    ]
    await standing(world, ("a", position(1)))
    for frame in frames:
        await send(world, frame)
        assert world.client.positions == {"a": position(1)}, frame
    assert len(world.notices) == len(frames), "the application has each of them"


@virtual
async def test_a_client_without_durable_takes_a_resume_for_a_notice_and_a_reconnection_for_a_gap(world: World) -> None:
    await world.start()
    await send(world, resume(("a", position(1))), notice("a", 2), notice("a", 2))
    await reconnect(world)
    assert world.socket.since is None
    assert (len(world.notices), world.resumes, world.client.positions) == (3, [], {})
    assert [gap.source for gap in world.gaps] == ["reconnect"]
