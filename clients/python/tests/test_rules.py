"""The rules that need no gateway: close codes, backoff, Retry-After, which options are refused."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from roomcast import backoff, checked_rooms, close_rule, connect, retry_after
from roomcast._clock import Clock


@pytest.mark.parametrize(
    ("code", "action"),
    [
        (1001, "retry soon"), (1002, "stop"), (1007, "stop"), (1008, "stop"), (1009, "stop"), (1013, "back off"),
        (4000, "retry soon"), (4001, "stop"), (4003, "stop"),
        *((code, "retry") for code in (1000, 1005, 1006, 1011, 1012, 1014, 4002, 4999)),
    ],
)
def test_every_close_code_has_its_rule(code: int, action: str) -> None:
    assert close_rule(code, can_ask=False).action == action


def test_endings_of_close_codes() -> None:
    assert close_rule(4001, can_ask=True).ending == "replaced"
    assert close_rule(4003, can_ask=False).ending == "revoked"
    assert close_rule(4003, can_ask=True).action == "new token"
    assert close_rule(1009, can_ask=True).ending == "protocol"


def test_backoff_doubles_up_to_its_cap_and_is_spread_over_all_of_it() -> None:
    assert [backoff(n, lambda: 1.0) for n in (0, 1, 2, 3, 4, 5, 6, 1000)] == [1, 2, 4, 8, 16, 30, 30, 30]
    assert backoff(5, lambda: 0.0) == 0
    assert backoff(5, lambda: 0.5) == 15


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0), ("1", 1), (" 30 ", 30), ("86400", 300), ("9" * 400, 300), ("Thu, 01 Jan 2026 00:00:30 GMT", 30),
        ("Thu, 01 Jan 2026 12:00:00 GMT", 300), ("Wed, 31 Dec 2025 23:59:59 GMT", 0), ("soon GMT", 0), ("-5", 0),
        ("1.5", 0), ("2030", 300), ("", 0), (None, 0), ("1e9", 0), ("Infinity", 0), ("\u0663", 0),
        ("Thu, 01 Jan 99999 00:00:30 GMT", 0),
    ],
)
def test_retry_after_is_a_number_or_a_date_and_at_most_five_minutes(text: str | None, seconds: float) -> None:
    assert retry_after(text, datetime(2026, 1, 1, tzinfo=UTC).timestamp()) == seconds


def test_rooms_keep_their_order_and_lose_their_repeats() -> None:
    assert checked_rooms(["b", "a", "b"]) == ("b", "a")
    assert checked_rooms(["é" * 64, "😀"]) == ("é" * 64, "😀")


@pytest.mark.parametrize(
    ("rooms", "error", "words"),
    [
        ("lobby", TypeError, "list"), (None, TypeError, "list"), ([], ValueError, "one or two rooms, not 0"),
        (["a", "b", "c"], ValueError, "not 3"), (["a,b"], ValueError, "comma"), ([7], TypeError, "must be a string"),
        (["a\n"], ValueError, "control"), (["\x7f"], ValueError, "control"), (["\x85"], ValueError, "control"),
        (["\ud800"], ValueError, "surrogate"), ([""], ValueError, "not 0"),
        (["é" * 64 + "a"], ValueError, "1 to 128 bytes of UTF-8, not 129"),
    ],
)
def test_rooms_that_no_gateway_takes_are_refused(rooms: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        checked_rooms(rooms)


def test_the_clock_hides_neither_a_sleep_nor_time_behind_a_wall_clock_that_is_set() -> None:
    wall, steady = [5000.0], [100.0]
    clock = Clock(lambda: wall[0], lambda: steady[0])
    passed = [clock.now()]
    for by_wall, by_steady in ((3.0, 3.0), (3600.0, 0.0), (-7200.0, 4.0), (2.0, 2.0), (-1.0, 0.0), (20.0, 20.0)):
        wall[0] += by_wall
        steady[0] += by_steady
        passed.append(clock.now())
    assert passed == [0, 3, 3603, 3607, 3609, 3609, 3629]


async def _coroutine(_: object) -> None: ...


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"url": "ftp://a"}, "url"), ({"url": "nowhere"}, "url"), ({"url": "http://a/?b=c"}, "url"),
        ({"url": "http://user:secret@a/"}, "url"), ({"url": None}, "url"), ({"url": "http://a:x/"}, "url"),
        ({"url": "http://a/#b"}, "url"), ({"device_id": "d"}, "one of user_id and device_id"),
        ({"user_id": None}, "or get_token"), ({"user_id": 42}, "user_id must be a string"),
        ({"user_id": "u" * 257}, "256 bytes"), ({"get_token": "t"}, "get_token must be callable"),
        ({"heartbeat_timeout": 0.5}, "heartbeat_timeout"), ({"heartbeat_timeout": float("inf")}, "heartbeat_timeout"),
        ({"heartbeat_timeout": float("nan")}, "heartbeat_timeout"), ({"maximum_message_bytes": 0}, "maximum_message"),
        ({"on_gap": "x"}, "on_gap must be callable"), ({"on_status": _coroutine}, "on_status must be a plain function"),
        ({"durable": True, "positions": "a"}, "positions must be a mapping"), ({"positions": {}}, "durable=True"),
    ],
)
def test_options_that_cannot_work_are_refused_before_anything_is_sent(change: dict[str, Any], words: str) -> None:
    good: dict[str, Any] = {"url": "http://127.0.0.1:1", "rooms": ["a"], "user_id": "u"}
    call: Callable[..., object] = connect
    with pytest.raises((TypeError, ValueError), match=words) as caught:
        call(**(good | change))
    assert "secret" not in str(caught.value)
