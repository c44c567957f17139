"""What a client does if its surroundings misbehave in ways that a real gateway cannot be made to show on demand, with
the same behaviours as clients/js/tests/client.test.js. The other files have the tests with real nodes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from roomcast import ClosedError, Gap, Notice, RoomcastError, StatusChange, TokenRequest, WaitReason
from roomcast._gateway import Answer
from roomcast._rules import MAXIMUM_WAITING
from surroundings import SECRET, World, passes, settle, virtual


async def beaten(world: World, seconds: int) -> None:
    for _ in range(seconds):
        await passes(1)


@virtual
async def test_beats_come_in_time_with_something_on_the_socket_for_the_proxies(world: World) -> None:
    await world.start()
    await passes(21)
    assert world.beats == []
    await passes(4)
    assert world.beats == [SECRET]
    assert world.socket.pings == 1
    await passes(25)
    assert len(world.beats) == 2


@virtual
async def test_a_frame_that_is_no_json_costs_nothing_but_a_report(world: World) -> None:
    await world.start()
    world.socket.send("{", "", b"{}", "[" * 100_000, '{"type":"notice","data":1}')
    await settle()
    assert world.client.status == "open"
    assert world.notices == [{"type": "notice", "data": 1}]
    assert (world.client.counts.notices, world.client.counts.unreadable) == (1, 4)
    assert [str(error) for error in world.errors] == ["a frame is not JSON"] * 4


@virtual
async def test_any_json_is_a_notice_but_the_gateways_own_gap(world: World) -> None:
    await world.start()
    world.socket.send(
        "null", "7", '"x"', "[]", "{}", '{"type":"gap"}', '{"type":"gap","data":{"rooms":["a"],"ms":"1"}}',
        '{"type":"gap","data":{"rooms":["a"],"ms":true}}', '{"type":"gap","data":{"rooms":["a"],"ms":1234}}',
        '{"type":"gap","data":{"rooms":["a"],"ms":1,"n":1}}',
    )
    await settle()
    assert len(world.notices) == 9
    assert world.gaps == [Gap(("a",), 1.234, "server")]


def test_a_notice_says_what_it_has() -> None:
    notice = Notice({"id": "1-1", "room": "a", "type": "notice", "data": [1]})
    assert (notice.id, notice.room, notice.type, notice.data) == ("1-1", "a", "notice", [1])
    values: list[object] = [None, 7, [], {"type": 7}]
    for value in values:
        notice = Notice(value)
        assert (notice.id, notice.room, notice.type, notice.data) == (None, None, None, None)


@pytest.mark.parametrize(("code", "delay"), [(1001, 1.0), (4000, 1.0), (1006, 0.5), (1013, 4.0), (4999, 0.5)])
@virtual
async def test_it_comes_back_with_the_same_token_after(world: World, code: int, delay: float) -> None:
    await world.start()
    world.socket.end(code, "words")
    await settle()
    reason = WaitReason("close", "words", code=code)
    assert world.last == StatusChange("waiting", "open", reason, code, delay)
    await passes(delay - 0.01)
    assert len(world.sockets) == 1
    await passes(0.02)
    assert world.sockets[1].token == SECRET
    assert len(world.gaps) == 1 and world.gaps[0].source == "reconnect" and world.gaps[0].rooms == ("a",)
    assert world.gaps[0].seconds == pytest.approx(delay, abs=1e-3)
    assert world.client.counts.reconnects == 1


@pytest.mark.parametrize(
    ("code", "ending"),
    [
        (1002, "protocol"), (1007, "protocol"), (1008, "protocol"), (1009, "protocol"), (4001, "replaced"),
        (4003, "revoked"),
    ],
)
@virtual
async def test_it_ends_after(world: World, code: int, ending: str) -> None:
    await world.start()
    world.socket.send("1")
    world.socket.end(code)
    await passes(3600)
    assert world.last == StatusChange("closed", "open", ending, code)  # type: ignore[arg-type]
    assert (len(world.sockets), len(world.tokens)) == (1, 1)
    assert world.notices == [1], "what came before the end is taken"
    assert isinstance(world.ending, ClosedError)
    assert (world.ending.ending, world.ending.code) == (ending, code)
    assert str(world.ending).endswith(f"{ending}: {code}")
    with pytest.raises(ClosedError):
        await anext(aiter(world.client))
    with pytest.raises(ClosedError):
        await world.client.opened()


@virtual
async def test_attempts_that_fail_come_less_and_less_often_and_a_good_connection_forgets_them(world: World) -> None:
    await world.start()
    world.open_answer = world.silence()
    world.socket.end(1006)
    await settle()
    for delay in (0.5, 1, 2, 4, 8, 15, 15):
        assert world.last.status == "waiting" and world.last.retry_in == delay
        if delay == 15:
            break
        await passes(delay)
    world.open_answer = None
    await passes(15)
    await passes(9.9)
    world.socket.end(1006)
    await settle()
    assert world.last.retry_in == 15, "too short to be good"
    await passes(15)
    await passes(10)
    world.socket.end(1006)
    await settle()
    assert world.last.retry_in == 0.5


@virtual
async def test_the_handshake_says_whether_it_was_the_token(world: World) -> None:
    world.open_answer = world.answer(500, "Token error")
    await world.start()
    assert (world.last.status, world.last.retry_in) == ("waiting", 0.5)
    await passes(0.5)
    assert len(world.tokens) == 2
    world.open_answer = world.answer(500, "WebSocket upgrade failed")
    await passes(1)
    assert len(world.tokens) == 3
    await passes(2)
    assert len(world.tokens) == 3, "this is not the token's fault"
    world.open_answer = world.answer(503, "service unavailable", wait=20)
    await passes(4)
    assert world.last.retry_in == 28


@virtual
async def test_a_token_error_has_to_be_the_gateways_own(world: World) -> None:
    await world.start()
    world.socket.end(1006)
    world.open_answer = world.page(500)
    await passes(1)
    world.open_answer = None
    await passes(5)
    assert len(world.tokens) == 1 and world.client.status == "open"


@virtual
async def test_redis_away_is_no_reason_to_leave(world: World) -> None:
    await world.start()
    world.beat_answer = world.answer(503, "service unavailable")
    await beaten(world, 300)
    assert world.client.status == "open"
    assert len(world.sockets) == 1
    assert 30 < len(world.beats) < 100
    world.beat_answer = None
    await beaten(world, 60)
    assert len(world.sockets) == 1


@virtual
async def test_a_token_that_its_node_writes_again_after_a_loss_of_redis_is_kept(world: World) -> None:
    await world.start()
    await passes(24)
    world.beat_answer = world.answer(500, "token error")
    await beaten(world, 45)
    assert len(world.beats) > 3
    world.beat_answer = None
    await beaten(world, 60)
    assert (len(world.sockets), world.client.status) == (1, "open")


@virtual
async def test_a_token_that_stays_unknown_is_replaced_should_its_node_say_nothing(world: World) -> None:
    await world.start()
    world.beat_answer = world.answer(500, "token error")
    await beaten(world, 65)
    assert (len(world.sockets), len(world.tokens)) == (2, 2)
    assert world.sockets[0].is_closed


@virtual
async def test_a_way_that_is_dead_is_found_by_the_beats_and_the_gap_begins_where_they_ended(world: World) -> None:
    await world.start()
    await passes(24)
    world.beat_answer = world.silence()
    world.open_answer = world.silence()
    world.answers_pings = False
    await beaten(world, 70)
    assert world.sockets[0].is_closed
    assert world.client.status != "open"
    world.beat_answer = world.open_answer = None
    await beaten(world, 40)
    assert len(world.gaps) == 1
    assert world.gaps[0].seconds > 60


@virtual
async def test_a_websocket_whose_path_alone_died_is_found_by_its_pings(world: World) -> None:
    await world.start()
    await passes(24)
    world.answers_pings = False
    await beaten(world, 90)
    assert len(world.sockets) == 2
    assert len(world.beats) >= 3, "beats were answered all the time"
    waiting = next(change for change in world.statuses if change.status == "waiting")
    assert isinstance(waiting.reason, WaitReason) and waiting.reason.kind == "timeout"
    # The last Pong answered the Ping of the first beat.
    assert world.gaps[0].seconds > 45


@virtual
async def test_a_node_that_counts_pongs_hears_no_beats(world: World) -> None:
    world.mode = "pong"
    await world.start()
    await beaten(world, 300)
    assert len(world.beats) == 1, "the one whose answer said so"
    assert world.socket.pings > 10
    assert (world.client.status, len(world.sockets)) == ("open", 1)


@virtual
async def test_each_connection_learns_its_mode(world: World) -> None:
    world.mode = "pong"
    await world.start()
    await passes(60)
    world.mode = None
    world.socket.end(1001)
    await passes(1)
    await beaten(world, 100)
    assert len(world.beats) >= 4


@virtual
async def test_after_4000_a_client_beats_whatever_it_is_told(world: World) -> None:
    world.mode = "pong"
    await world.start()
    await passes(60)
    world.socket.end(4000)
    await passes(1)
    await beaten(world, 100)
    assert len(world.beats) >= 4
    world.socket.end(1001)
    await passes(1)
    beats = len(world.beats)
    await beaten(world, 100)
    assert len(world.beats) == beats + 1, "it was one connection"


@virtual
async def test_a_dead_way_is_found_by_the_pongs(world: World) -> None:
    world.mode = "pong"
    await world.start()
    await passes(48)
    world.answers_pings = False
    # 35 s after the last Pong.
    await beaten(world, 34)
    assert world.sockets[0].is_closed
    assert len(world.sockets) == 2
    assert world.gaps[0].seconds > 30


@virtual
async def test_an_application_that_does_not_read_is_kept_alive_by_beats(world: World) -> None:
    world.mode = "pong"
    await world.start(reads=False)
    world.socket.send(*map(str, range(100)))
    world.answers_pings = False
    await beaten(world, 200)
    assert len(world.beats) >= 6, "its Pongs lie behind notices"
    assert (world.client.status, len(world.sockets)) == ("open", 1)
    world.answers_pings = True
    world.socket.pong()
    world.read()
    await settle()
    assert world.notices == list(range(100))
    beats = len(world.beats)
    await beaten(world, 100)
    assert len(world.beats) - beats <= 1, "the mode holds again"
    assert (world.client.status, len(world.sockets)) == ("open", 1)


@virtual
async def test_an_application_that_does_not_read_makes_nothing_grow_and_no_storm(world: World) -> None:
    await world.start(reads=False)
    world.socket.send(*map(str, range(1000)))
    await settle()
    # What is not taken stays in the socket.
    assert len(world.client._channel._items) == MAXIMUM_WAITING
    world.beat_answer = world.silence()
    await beaten(world, 3600)
    assert world.sockets[0].is_closed
    assert len(world.sockets) == 1, "it comes back when something can be taken"
    assert len(world.client._channel._items) == MAXIMUM_WAITING
    world.beat_answer = None
    world.read()
    await settle()
    assert world.notices == list(range(MAXIMUM_WAITING))
    assert len(world.sockets) == 2
    assert len(world.gaps) == 1 and world.gaps[0].seconds >= 3600, "Pongs are no news of what was not taken"
    world.socket.send("7")
    await settle()
    assert world.notices[-1] == 7


@virtual
async def test_a_gap_counts_from_what_was_heard_not_from_when_a_busy_loop_found_the_end(world: World) -> None:
    await world.start()
    await passes(24)
    assert len(world.beats) == 1, "its Pong is the last thing that was heard, after 23.1 s"
    await passes(8)
    world.socket.end(1006)
    await passes(0.5)
    assert world.gaps[0].seconds == pytest.approx(32.5 - 23.1, abs=0.01)


@virtual
async def test_a_message_was_heard_when_it_came_if_nothing_was_late_in_the_second_after_it(world: World) -> None:
    await world.start()
    await passes(10)
    world.socket.send("{}")
    await passes(3)
    world.socket.end(1006)
    await passes(0.5)
    assert world.gaps[0].seconds == pytest.approx(3.5, abs=0.01)


@virtual
async def test_a_message_that_lay_there_with_the_end_of_its_connection_behind_it_shortens_no_gap(world: World) -> None:
    await world.start()
    await passes(5)
    world.sleep(8)
    world.socket.send("{}")
    world.socket.end(1006)
    await passes(0.6)
    assert world.gaps[0].seconds == pytest.approx(13.5, abs=0.01)
    world.sleep(8)
    world.socket.send("{}")
    await settle()
    world.sleep(7)
    await passes(1)
    world.socket.end(1006)
    await passes(1.1)
    assert world.gaps[1].seconds == pytest.approx(16.6, abs=0.01), "the proof came late"


@virtual
async def test_a_connection_that_opened_during_a_pause_was_heard_before_it(world: World) -> None:
    world.hold_open = 1
    await world.start()
    world.sleep(8)
    await passes(1)
    world.socket.end(1006)
    await passes(1.6)
    assert world.gaps[0].seconds == pytest.approx(10.5, abs=0.1)


@virtual
async def test_a_wall_clock_that_is_set_back_hides_neither_a_dead_connection_nor_a_gap(world: World) -> None:
    await world.start()
    await passes(24)
    world.beat_answer = world.silence()
    world.answers_pings = False
    world.set_back(3600)
    await beaten(world, 70)
    assert world.sockets[0].is_closed
    assert world.gaps[0].seconds > 30


@virtual
async def test_setting_the_clock_back_does_not_hide_a_sleep(world: World) -> None:
    await world.start()
    world.socket.end(1006)
    world.set_back(7200)
    await passes(0.2)
    world.sleep(3600)
    await passes(0.4)
    assert world.gaps[0].seconds >= 3600


@virtual
async def test_after_a_sleep_the_first_beat_decides_and_the_sleep_is_part_of_the_gap(world: World) -> None:
    await world.start()
    world.sleep(3600)
    world.answers_pings = False
    await passes(25)
    assert len(world.sockets) == 2
    assert world.sockets[0].is_closed
    assert world.gaps[0].seconds >= 3600


@virtual
async def test_a_close_that_lay_there_during_the_sleep_does_not_shorten_the_gap(world: World) -> None:
    await world.start()
    world.sleep(3600)
    world.socket.end(4000)
    await passes(1)
    assert world.gaps[0].seconds >= 3600


@virtual
async def test_get_token_says_why_it_is_asked_and_none_ends_the_client(world: World) -> None:
    asked: list[tuple[object, ...]] = []
    tokens = ["first-token", "second-token", None]

    async def get_token(request: TokenRequest) -> str | None:
        asked.append((request.reason, *request.rooms))
        return tokens.pop(0)

    await world.start(get_token=get_token)
    world.socket.end(4003)
    await passes(0.5)
    assert world.socket.token == "second-token"
    world.socket.end(4003)
    await passes(1)
    assert asked == [("first", "a"), ("revoked", "a"), ("revoked", "a")]
    assert (world.last.status, world.last.reason) == ("closed", "no token")
    assert world.ending is None and world.readers[0].done(), "the application wished it"


@virtual
async def test_a_get_token_that_fails_is_reported_and_asked_again(world: World) -> None:
    async def fails() -> str | None:
        raise ValueError("thrown")

    async def late() -> str | None:
        raise TimeoutError("its own")

    async def token(value: Any) -> str | None:
        return value  # type: ignore[no-any-return]

    async def never() -> str | None:
        await asyncio.sleep(3600)
        return "late"

    answers: list[Callable[[], Awaitable[str | None]]] = [
        fails, late, lambda: token(7), lambda: token("no token at all!"), never, lambda: token("good"),
    ]

    async def get_token(_: TokenRequest) -> str | None:
        return await answers.pop(0)()

    await world.start(get_token=get_token)
    await beaten(world, 120)
    assert world.socket.token == "good"
    must = "get_token must return a token (letters, digits, - and _) or None"
    assert [str(error) for error in world.errors] == [
        "thrown", "its own", must, must, "get_token did not answer within 30 s",
    ]
    assert {change.reason.kind for change in world.statuses if isinstance(change.reason, WaitReason)} == {"get_token"}


@virtual
async def test_a_client_that_may_have_no_token_ends_and_says_what_the_gateway_said(world: World) -> None:
    world.token_answer = world.answer(401, "Issue key required")
    await world.start()
    assert (world.last.status, world.last.reason) == ("closed", "refused")
    assert isinstance(world.ending, ClosedError)
    assert str(world.ending) == "no token for this client: 401 Issue key required"


@virtual
async def test_a_client_that_may_not_enter_its_room_ends_and_says_so(world: World) -> None:
    async def get_token(_: TokenRequest) -> str:
        return SECRET

    world.open_answer = world.answer(403, "Room not allowed")
    await world.start(get_token=get_token)
    assert isinstance(world.ending, ClosedError)
    assert str(world.ending) == "the gateway refuses the handshake: 403 Room not allowed"


@pytest.mark.parametrize("status", [200, 400, 401, 403, 404])
@virtual
async def test_a_page_of_somebody_elses_is_no_refusal(world: World, status: int) -> None:
    world.token_answer = world.page(status)
    await world.start()
    assert world.last.reason == WaitReason("status", "not the gateway's answer", status=status)
    await beaten(world, 120)
    assert len(world.errors) == 1, "told once, when it stays"
    assert isinstance(world.errors[0], RoomcastError) and world.errors[0].reason == world.last.reason
    world.token_answer = None
    await passes(30)
    assert world.last.status == "open"
    world.socket.end(1006)
    world.open_answer = world.page(status)
    await beaten(world, 300)
    assert world.client.status == "waiting"


@virtual
async def test_a_handshake_that_something_changed_on_its_way_is_tried_again(world: World) -> None:
    await world.start()
    world.socket.end(1006)
    world.open_answer = world.answer(400, "Invalid WebSocket handshake")
    await beaten(world, 300)
    assert world.client.status == "waiting"
    assert len(world.errors) == 1


@virtual
async def test_refusals_end_a_client_that_was_served_before_only_when_they_last(world: World) -> None:
    await world.start()
    world.open_answer = world.answer(500, "Token error")
    world.token_answer = world.answer(401, "Issue key required")
    world.socket.end(1006)
    await beaten(world, 300)
    assert len(world.tokens) == 1 + 6
    assert isinstance(world.ending, ClosedError) and world.ending.ending == "refused"


@virtual
async def test_a_refusal_that_goes_away_is_forgotten(world: World) -> None:
    await world.start()
    for _ in range(3):
        world.open_answer = world.answer(500, "Token error")
        world.token_answer = world.answer(404, "Not found")
        asked = len(world.tokens)
        world.socket.end(1006)
        while len(world.tokens) < asked + 5:
            await passes(0.1)
        world.open_answer = world.token_answer = None
        await passes(31)
        await passes(10)
        assert world.client.status == "open"


@virtual
async def test_pages_in_place_of_beats_are_no_answers_and_no_reason_to_leave_but_the_last(world: World) -> None:
    await world.start()
    world.beat_answer = world.page(404)
    await passes(24)
    assert world.client.status == "open"
    await beaten(world, 30)
    assert world.sockets[0].is_closed
    assert len(world.tokens) == 1, "the token is not in doubt"
    waiting = next(change for change in world.statuses if change.status == "waiting")
    assert isinstance(waiting.reason, WaitReason) and waiting.reason.status == 404


@virtual
async def test_whoever_asks_for_patience_gets_it(world: World) -> None:
    world.token_answer = world.answer(429, "Too many requests", wait=7)
    await world.start()
    assert world.last.retry_in == 7.5
    await passes(7.4)
    assert len(world.tokens) == 1
    world.token_answer = None
    await passes(0.2)
    assert len(world.tokens) == 2
    world.beat_answer = world.answer(429, "Too many requests", wait=20)
    await passes(24)
    assert len(world.beats) == 1
    await passes(19)
    assert len(world.beats) == 1
    await passes(2)
    assert len(world.beats) == 2


@virtual
async def test_what_may_stay_for_ever_is_told_once_and_what_heals_is_not(world: World) -> None:
    world.token_answer = world.silence()
    await world.start()
    await beaten(world, 200)
    kinds = [error.reason.kind for error in world.errors if isinstance(error, RoomcastError) and error.reason]
    assert kinds == ["network"]
    world.token_answer = None
    await beaten(world, 40)
    assert world.client.status == "open"
    world.open_answer = world.silence()
    world.socket.end(1006)
    await beaten(world, 200)
    assert len(world.errors) == 1, "it was served before: an outage"
    world.open_answer = None
    await beaten(world, 45)
    assert world.client.status == "open"
    world.open_answer = Answer(0, False, WaitReason("handshake", "no WebSocket"))
    world.socket.end(1006)
    await beaten(world, 200)
    assert len(world.errors) == 2


Moment = Callable[[World], Awaitable[object]]


async def _ended(world: World) -> None:
    await world.start()
    world.socket.end(1001)
    await settle()


async def _beating(world: World) -> None:
    await world.start()
    await passes(24)


async def _shaking(world: World) -> None:
    world.hold_open = 10
    await world.start()


async def _asking(world: World) -> None:
    async def get_token(_: TokenRequest) -> str | None:
        await asyncio.sleep(3600)
        return None

    await world.start(get_token=get_token)


async def _held(world: World) -> None:
    await world.start(reads=False)
    world.socket.send(*map(str, range(100)))
    await settle()


@pytest.mark.parametrize("moment", [World.start, _ended, _beating, _shaking, _asking, _held])
@virtual
async def test_close_is_final_at_every_moment(world: World, moment: Moment) -> None:
    await moment(world)
    await world.client.close()
    await world.client.close()
    assert (world.last.status, world.last.reason) == ("closed", "closed")
    before = (len(world.statuses), len(world.sockets), len(world.tokens), len(world.beats))
    assert all(socket.is_closed for socket in world.sockets)
    tasks = asyncio.all_tasks() - {asyncio.current_task(), *world.readers}
    assert tasks == set()
    with pytest.raises(StopAsyncIteration):
        await anext(aiter(world.client)) if not world.readers else await _stop(world)
    await passes(3600)
    assert (len(world.statuses), len(world.sockets), len(world.tokens), len(world.beats)) == before


@virtual
async def test_what_waits_to_be_put_is_not_given_after_close(world: World) -> None:
    await _held(world)
    closing = asyncio.create_task(world.client.close())
    await asyncio.sleep(0)
    with pytest.raises(StopAsyncIteration):
        await anext(world.client)
    await closing
    with pytest.raises(StopAsyncIteration):
        await anext(world.client)


async def _stop(world: World) -> None:
    await world.readers[0]
    assert world.ending is None
    raise StopAsyncIteration


@virtual
async def test_leaving_the_block_ends_the_client_whatever_happens_in_it(world: World) -> None:
    client = await world.start(reads=False)

    async def application() -> None:
        try:
            async for _ in client:
                raise LookupError
        finally:
            await client.close()

    world.socket.send("1")
    with pytest.raises(LookupError):
        await application()
    assert client.status == "closed"


@virtual
async def test_a_cancelled_application_ends_its_client(world: World) -> None:
    client = await world.start(reads=False)

    async def application() -> None:
        try:
            async for _ in client:
                pass
        finally:
            await client.__aexit__(None, None, None)

    task = asyncio.create_task(application())
    await settle()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert client.status == "closed"
    assert world.socket.is_closed


@virtual
async def test_a_taker_with_a_time_limit_loses_nothing(world: World) -> None:
    client = await world.start(reads=False)
    taken = []
    for number in range(5):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(client), 1)
        world.socket.send(str(number))
        taken.append((await asyncio.wait_for(anext(client), 1)).value)
    assert taken == [0, 1, 2, 3, 4]


@virtual
async def test_only_one_task_takes_notices(world: World) -> None:
    await world.start()
    with pytest.raises(RuntimeError, match="another task"):
        await anext(world.client)


@virtual
async def test_callbacks_that_raise_harm_the_one_who_raises_only(world: World) -> None:
    def on_status(change: StatusChange) -> None:
        raise ValueError(change.status)

    def on_error(error: Exception) -> None:
        world.errors.append(error)
        raise KeyError

    def on_gap(gap: Gap) -> None:
        raise LookupError(gap.source)

    await world.start(on_status=on_status, on_error=on_error, on_gap=on_gap)
    assert world.client.status == "open"
    assert [str(error) for error in world.errors] == ["connecting", "open"]
    world.socket.send('{"type":"gap","data":{"rooms":["a"],"ms":1}}')
    await settle()
    assert isinstance(world.ending, LookupError), "it is the application's own loop that runs it"
    assert world.client.status == "open"


@virtual
async def test_a_coroutine_is_awaited_before_the_notice_that_follows(world: World) -> None:
    order: list[object] = []

    async def on_gap(gap: Gap) -> None:
        order.append("gap")
        await asyncio.sleep(3)
        order.append("fetched")

    world.on_notice = lambda notice: order.append(notice.value)
    await world.start(on_gap=on_gap)
    world.socket.send("1", '{"type":"gap","data":{"rooms":["a"],"ms":1}}', "2")
    await passes(4)
    assert order == [1, "gap", "fetched", 2]


@virtual
async def test_opened_waits_for_the_first_connection(world: World) -> None:
    world.token_answer = world.silence()
    client = await world.start()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(client.opened(), 10)
    world.token_answer = None
    await client.opened()
    assert client.status == "open"


@virtual
async def test_errors_go_to_the_log_if_nothing_else_takes_them(world: World, caplog: pytest.LogCaptureFixture) -> None:
    await world.start(on_error=None)
    world.socket.send("{")
    await settle()
    assert caplog.messages == ["a frame is not JSON"]


@virtual
async def test_a_fault_of_the_client_itself_reaches_the_application(world: World) -> None:
    world.token_answer = 7  # type: ignore[assignment]
    await world.start()
    assert isinstance(world.ending, AttributeError)
    assert world.client.status == "closed"
