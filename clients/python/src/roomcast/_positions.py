"""Where a client of durable rooms stands: what the frames of a connection say about it. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeGuard

from ._types import RoomResume

Positions = dict[str, str | None]
"""For each room, the position behind which the next connection goes on. None: there is none, and notices may be
missing. No entry: there is none yet, and nothing to miss."""

_POSITION: Final = re.compile(r"([a-z0-9]{8})\.(0|[1-9][0-9]{0,15})-(0|[1-9][0-9]{0,15})")
"""`<epoch>.<ms>-<n>`: behind the dot is the id of a notice, before it what a node compares."""
_DURABLE_HEAD: Final = re.compile(r'\{"id":"([0-9]{1,16}-[0-9]{1,16})","room":"((?:[^"\\]|\\["\\])*)",')
"""How a durable notice begins: its id and its room, of which `"` and `\\` are escaped."""


def is_position(value: object) -> bool:
    return isinstance(value, str) and _POSITION.fullmatch(value) is not None


def read_positions(stored: Mapping[str, object] | None, rooms: Sequence[str]) -> Positions:
    """The stored positions of `rooms`. A damaged one counts as lost, because a gateway would refuse it again and
    again."""
    found: Positions = {}
    for room in rooms:
        if stored is not None and room in stored:
            position = stored[room]
            found[room] = position if isinstance(position, str) and is_position(position) else None
    return found


def since(positions: Positions, rooms: Sequence[str]) -> str:
    """The parameter `since` of a handshake."""
    return ",".join(positions.get(room) or "" for room in rooms)


def position_time(position: str | None) -> float:
    """Seconds since 1970 at which a position's notice was stored; 0 without a position."""
    match = _POSITION.fullmatch(position or "")
    return int(match[2]) / 1000 if match else 0.0


def moved(text: str, positions: Positions) -> tuple[str, str] | None:
    """The room and the new position of a durable notice; None if the frame is none, or its room has no position."""
    head = _DURABLE_HEAD.match(text)
    if head is None:
        return None
    room = re.sub(r'\\(["\\])', r"\1", head[2])
    before = positions.get(room)
    if before is None:
        return None
    position = f"{before.partition('.')[0]}.{head[1]}"
    # Another publisher's frame may look like this, and a gateway would refuse its position for ever.
    return (room, position) if is_position(position) else None


def is_behind(position: str, other: str | None) -> bool:
    """Whether the notice of `position` comes after that of `other` in the room's history."""
    return other is None or _order(position) > _order(other)


def _order(position: str) -> tuple[int, int]:
    match = _POSITION.fullmatch(position)
    assert match is not None
    return int(match[2]), int(match[3])


def read_gap(value: Any) -> tuple[tuple[str, ...], float] | None:
    """Rooms and seconds of the gateway's own frame, `{"type":"gap","data":{"rooms":["a"],"ms":1234}}`."""
    if not isinstance(value, dict) or value.get("type") != "gap":
        return None
    data = value.get("data")
    if not _has_only(data, "rooms", "ms") or not isinstance(data["rooms"], list):
        return None
    ms = data["ms"]
    if isinstance(ms, bool) or not isinstance(ms, int | float):
        return None
    return tuple(map(str, data["rooms"])), ms / 1000


def read_resume(value: Any) -> tuple[RoomResume, ...] | None:
    """The entries of the node's own frame, and nothing else:
    `{"type":"resume","data":{"rooms":[{"room":"a","since":"k3f9x2ab.1795969278590-57","lost":false}]}}`"""
    if not _has_only(value, "type", "data") or value["type"] != "resume" or not _has_only(value["data"], "rooms"):
        return None
    rooms = value["data"]["rooms"]
    if not isinstance(rooms, list) or not rooms or not all(map(_is_entry, rooms)):
        return None
    return tuple(RoomResume(entry["room"], entry["since"], entry["lost"]) for entry in rooms)


def _is_entry(entry: Any) -> bool:
    return (
        _has_only(entry, "room", "since", "lost")
        and isinstance(entry["room"], str)
        and is_position(entry["since"])
        and isinstance(entry["lost"], bool)
    )


def _has_only(value: Any, *names: str) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict) and value.keys() == set(names)
