"""The rules that need no gateway: times, close codes, backoff, Retry-After, names. docs/CLIENTS.md has the reasons."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Literal

from ._types import Ending, WaitReason

STANDARD_HEARTBEAT = 30.0
"""How long the gateway waits for a heartbeat by default (its `--heartbeat-timeout`), in seconds as all times here."""
EARLIEST_BEAT, LATEST_BEAT = 0.71, 0.83
"""A heartbeat follows after this share of it: 21 to 25 s, which leaves time for a second attempt."""
VERDICT_SLACK = 5.0
"""The gateway closes up to 2 s late; the rest is for the network."""
UNANSWERED, UNTAKEN = 1 / 30, 1 / 10
"""Shares of it again: an unanswered heartbeat is repeated after 1 to 3 s, a refused one after 3 to 9 s."""
BACKOFF_BASE, BACKOFF_CAP = 1.0, 30.0
MOVED_SPREAD = 2.0
"""A node that goes away sends all of its clients to the others at about the same time."""
STABLE = 10.0
"""After a connection that lived this long the next failure counts as the first."""
CROWDED_ATTEMPT = 3
"""A client that was too slow begins its backoff here: 0 to 8 s."""
REQUEST, OPENING, GET_TOKEN, CLOSING = 10.0, 15.0, 30.0, 1.0
"""How long an answer, a handshake, `get_token` and a goodbye may take."""
MAXIMUM_RETRY_AFTER = 300.0
MAXIMUM_REFUSALS = 5
"""If the gateway has served this client before, a deployment may be half done: so many refusals are tried again."""
TELLING_ATTEMPT = 5
"""From this attempt on (about 15 s) the application hears of trouble that may never pass."""
PROOF, PROOF_SLACK = 1.0, 0.25
"""A message counts as heard if a timer that is set with it fires at most this slack too late."""
MAXIMUM_DETAIL = 200
MAXIMUM_ROOMS, MAXIMUM_ROOM_BYTES, MAXIMUM_IDENTITY_BYTES = 2, 128, 256
MAXIMUM_ANSWER_BYTES = 64 << 10
MAXIMUM_WAITING = 16
"""Notices that wait in the client; beyond that it stops reading from its socket."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True)
class CloseRule:
    action: Literal["retry", "retry soon", "back off", "new token", "stop"]
    ending: Ending | None = None


def close_rule(code: int, can_ask: bool) -> CloseRule:
    """What a client does after its connection was closed with `code`; `can_ask`: there is a `get_token`."""
    match code:
        case 1001 | 4000:
            return CloseRule("retry soon")
        case 1013:
            return CloseRule("back off")
        # Another attempt would break the same rule again.
        case 1002 | 1007 | 1008 | 1009:
            return CloseRule("stop", "protocol")
        # If both clients insisted, their connections would close each other for ever.
        case 4001:
            return CloseRule("stop", "replaced")
        # A revoked client must not take a new token itself; the caller's backend knows whether it may return.
        case 4003:
            return CloseRule("new token") if can_ask else CloseRule("stop", "revoked")
        case _:
            return CloseRule("retry")


def backoff(attempt: int, uniform: Callable[[], float] = random.random) -> float:
    """Exponential backoff with full jitter: seconds to wait after `attempt` failed attempts."""
    return uniform() * min(BACKOFF_CAP, BACKOFF_BASE * 2.0 ** min(attempt, 16))


def retry_after(text: str | None, now: float | None = None) -> float:
    """Seconds that a `Retry-After` asks for, as a number or as a date (RFC 9110 section 10.2.3), at most five minutes;
    0 if it asks for nothing."""
    value = (text or "").strip()
    if re.fullmatch(r"[0-9]+", value):
        # A longer number is larger than the maximum, whatever it is.
        return min(float(value[:20]), MAXIMUM_RETRY_AFTER)
    if not value.endswith(" GMT"):
        return 0.0
    try:
        seconds = parsedate_to_datetime(value).timestamp() - (time.time() if now is None else now)
    except (ValueError, OverflowError):
        return 0.0
    return min(max(seconds, 0.0), MAXIMUM_RETRY_AFTER)


def may_stay(reason: WaitReason, was_served: bool) -> bool:
    """Whether lasting trouble is of a kind that may never pass; an outage passes."""
    match reason.kind:
        case "handshake":
            return True
        case "status":
            return reason.status is not None and reason.status < 500 and reason.status != 429
        case "network" | "timeout":
            return not was_served
        case _:
            return False


def checked_rooms(rooms: Sequence[str]) -> tuple[str, ...]:
    """The different rooms of `rooms`.

    Raises TypeError or ValueError if a gateway would refuse them.
    """
    if isinstance(rooms, str) or not isinstance(rooms, Sequence):
        raise TypeError("rooms must be a list of one or two room ids")
    for room in rooms:
        check_name(room, "a room id", MAXIMUM_ROOM_BYTES)
        if "," in room:
            raise ValueError("a room id must not contain a comma: commas separate rooms")
    different = tuple(dict.fromkeys(rooms))
    if not 1 <= len(different) <= MAXIMUM_ROOMS:
        raise ValueError(f"rooms must name one or two rooms, not {len(different)}")
    return different


def check_name(name: object, what: str, maximum_bytes: int) -> None:
    """Raises TypeError or ValueError if a gateway would refuse this room, user or device."""
    if not isinstance(name, str):
        raise TypeError(f"{what} must be a string")
    try:
        count = len(name.encode())
    except UnicodeEncodeError:
        raise ValueError(f"{what} must not contain half of a surrogate pair") from None
    if not 1 <= count <= maximum_bytes:
        raise ValueError(f"{what} must be 1 to {maximum_bytes} bytes of UTF-8, not {count}")
    if _CONTROL.search(name):
        raise ValueError(f"{what} must not contain control characters")


def is_token(token: object) -> bool:
    return isinstance(token, str) and re.fullmatch(r"[A-Za-z0-9_-]{1,512}", token) is not None


def shortened(text: str) -> str:
    return text[:MAXIMUM_DETAIL]
