"""Client of the Roomcast gateway: notices over a WebSocket, with tokens, heartbeats, reconnection and resuming."""

from ._client import Client
from ._connect import connect
from ._rules import CloseRule, backoff, checked_rooms, close_rule, retry_after
from ._types import (
    ClosedError,
    Counts,
    Ending,
    Gap,
    Notice,
    Resume,
    RoomcastError,
    RoomResume,
    Status,
    StatusChange,
    TokenRequest,
    WaitReason,
)

__all__ = [
    "Client",
    "CloseRule",
    "ClosedError",
    "Counts",
    "Ending",
    "Gap",
    "Notice",
    "Resume",
    "RoomResume",
    "RoomcastError",
    "Status",
    "StatusChange",
    "TokenRequest",
    "WaitReason",
    "backoff",
    "checked_rooms",
    "close_rule",
    "connect",
    "retry_after",
]
