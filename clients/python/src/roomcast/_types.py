"""What an application sees of a client: notices, gaps, where a connection begins, status, errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Status = Literal["connecting", "open", "waiting", "closed"]
"""`connecting`: getting a token or shaking hands. `waiting`: until the next attempt. `closed`: for good."""

Ending = Literal["closed", "replaced", "revoked", "protocol", "refused", "no token"]
"""Why a client has ended.

- `closed`: `close()` was called, or the `async with` block left
- `replaced`: 4001, another connection uses the token
- `revoked`: 4003, the token was revoked, and there is no `get_token` to ask for another one
- `protocol`: 1002, 1007, 1008, 1009, or a frame that is larger than `maximum_message_bytes`
- `refused`: the gateway refuses a token or a handshake to this client (400, 401, 403, …)
- `no token`: `get_token` returned None
"""

HeartbeatMode = Literal["request", "pong"]
"""How the gateway knows that a client is alive (its `--heartbeat`)."""


@dataclass(frozen=True, slots=True)
class Notice:
    """What a publisher sent: mostly `{"type": …, "data": …}`; a durable notice also has `id` and `room`."""

    value: Any
    """The parsed JSON, whatever it is."""

    @property
    def type(self) -> str | None:
        return self._text("type")

    @property
    def data(self) -> Any:
        return self.value.get("data") if isinstance(self.value, dict) else None

    @property
    def id(self) -> str | None:
        return self._text("id")

    @property
    def room(self) -> str | None:
        """The room of a durable notice; an ordinary one does not say it."""
        return self._text("room")

    def _text(self, name: str) -> str | None:
        member = self.value.get(name) if isinstance(self.value, dict) else None
        return member if isinstance(member, str) else None


@dataclass(frozen=True, slots=True)
class Gap:
    """Notices may be missing. Ask your backend for what is new, at a random moment within a few seconds: all clients
    of a node have the same gap."""

    rooms: tuple[str, ...]
    seconds: float
    """Never too short. After a reconnection it counts from the last moment at which the client certainly heard its
    gateway; after a loss in a durable room also from the last durable notice before it, by this machine's clock, if
    that is longer."""
    source: Literal["server", "reconnect", "resume"]
    """`server`: the node was cut off from Redis. `reconnect`: this client was cut off from the node. `resume`, only
    with `durable`: a node has lost durable notices, no longer keeps them, or is too old to keep any."""


@dataclass(frozen=True, slots=True)
class RoomResume:
    """Each durable notice of `room` behind the position `since` follows, once and in order. `lost`: notices may be
    missing before it, and `on_gap` says so, too."""

    room: str
    since: str
    lost: bool


@dataclass(frozen=True, slots=True)
class Resume:
    """Where a connection begins; it comes again if a node finds a loss later."""

    rooms: tuple[RoomResume, ...]


@dataclass(frozen=True, slots=True)
class WaitReason:
    """Why a client waits. `detail` is for people: its words may change.

    - `close`: the connection was closed, with `code` (1006: it was cut)
    - `status`: an unexpected HTTP answer with `status`, from the gateway or from something in front of it
    - `network`: no answer
    - `timeout`: no answer in time
    - `handshake`: the answer to the handshake is not that of a WebSocket
    - `get_token`: it failed; `on_error` received its error
    """

    kind: Literal["close", "status", "network", "timeout", "handshake", "get_token"]
    detail: str = ""
    code: int | None = None
    status: int | None = None

    def __str__(self) -> str:
        what = {"close": self.code, "status": self.status}.get(self.kind, self.kind)
        return f"{what}, {self.detail}" if self.detail else str(what)


@dataclass(frozen=True, slots=True)
class StatusChange:
    status: Status
    previous: Status
    reason: WaitReason | Ending | None = None
    """Why it waits, or why it has ended."""
    code: int | None = None
    """The close code of the connection that has ended."""
    retry_in: float | None = None
    """Seconds until the next attempt."""


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """What `get_token` receives."""

    reason: Literal["first", "token error", "revoked"]
    """`token error`: the gateway does not know the previous token, mostly because it has expired."""
    rooms: tuple[str, ...]
    user_id: str | None
    device_id: str | None


@dataclass(frozen=True, slots=True)
class Counts:
    notices: int = 0
    """Notices that the application has taken."""
    reconnects: int = 0
    """Connections after the first one."""
    gaps: int = 0
    """Calls of `on_gap`, whether there is such a callback or not."""
    unreadable: int = 0
    """Frames that are not JSON."""
    resumed: int = 0
    """Connections that went on where an earlier one had ended, and missed no durable notice."""
    lost: int = 0
    """Losses in durable rooms: gaps with the source `resume`."""
    repeated: int = 0
    """Durable notices that the client had before and that it dropped."""


class RoomcastError(Exception):
    """Trouble that does not pass by itself; `reason` is there if an answer, a close or silence led to it."""

    def __init__(self, message: str, reason: WaitReason | None = None) -> None:
        super().__init__(message)
        self.reason = reason


class ClosedError(RoomcastError):
    """The client has ended for good, and not because the application wished it."""

    def __init__(self, message: str, ending: Ending, code: int | None, reason: WaitReason | None) -> None:
        super().__init__(message, reason)
        self.ending = ending
        self.code = code
