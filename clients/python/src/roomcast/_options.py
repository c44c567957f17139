"""The options of `connect`, checked before anything is sent."""

from __future__ import annotations

import inspect
import math
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from ._rules import MAXIMUM_IDENTITY_BYTES, check_name
from ._types import Gap, Resume, StatusChange, TokenRequest

GetToken = Callable[[TokenRequest], Awaitable[str | None]]
OnStatus = Callable[[StatusChange], None]
OnError = Callable[[Exception], None]
OnResume = Callable[[Resume], Awaitable[None] | None]
OnGap = Callable[[Gap], Awaitable[None] | None]


@dataclass(frozen=True, slots=True)
class Options:
    url: str
    rooms: tuple[str, ...]
    user_id: str | None
    device_id: str | None
    get_token: GetToken | None
    durable: bool
    positions: Mapping[str, str] | None
    heartbeat_timeout: float
    maximum_message_bytes: int
    ssl_context: ssl.SSLContext | None
    on_status: OnStatus | None
    on_resume: OnResume | None
    on_gap: OnGap | None
    on_error: OnError | None

    def __post_init__(self) -> None:
        """Raises TypeError or ValueError for options that cannot work."""
        for what, name in (("user_id", self.user_id), ("device_id", self.device_id)):
            if name is not None:
                check_name(name, what, MAXIMUM_IDENTITY_BYTES)
        identities = [self.user_id, self.device_id].count(None)
        if identities == 0 or (identities == 2 and self.get_token is None):
            raise ValueError("give one of user_id and device_id, or get_token")
        if self.positions is not None:
            if not isinstance(self.positions, Mapping):
                raise TypeError("positions must be a mapping, as the client's attribute of that name")
            if not self.durable:
                raise ValueError("positions are for clients with durable=True")
        if not (math.isfinite(self.heartbeat_timeout) and self.heartbeat_timeout >= 1):
            raise ValueError("heartbeat_timeout must be a number of seconds, at least 1")
        if self.maximum_message_bytes < 1:
            raise ValueError("maximum_message_bytes must be positive")
        for name in ("get_token", "on_status", "on_resume", "on_gap", "on_error"):
            callback = getattr(self, name)
            if callback is not None and not callable(callback):
                raise TypeError(f"{name} must be callable")
            if name in ("on_status", "on_error") and inspect.iscoroutinefunction(callback):
                raise TypeError(f"{name} must be a plain function: nothing waits for it")


def checked_url(text: str) -> str:
    """The gateway's http or https address, without slashes at its end."""
    # Not quoted in the message: it may have a password.
    wrong = ValueError("url must be the gateway's http or https address, without query, fragment or password")
    if not isinstance(text, str):
        raise TypeError("url must be a string")
    try:
        url = urlsplit(text)
        _ = url.port
    except ValueError:
        raise wrong from None
    scheme = {"ws": "http", "wss": "https"}.get(url.scheme, url.scheme)
    if scheme not in ("http", "https") or not url.hostname or "@" in url.netloc or url.query or url.fragment:
        raise wrong
    return f"{scheme}://{url.netloc}{url.path.rstrip('/')}"
