"""What an application calls."""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence

from ._client import Client
from ._options import GetToken, OnError, OnGap, OnResume, OnStatus, Options, checked_url
from ._rules import STANDARD_HEARTBEAT, checked_rooms


def connect(
    url: str,
    *,
    rooms: Sequence[str],
    user_id: str | None = None,
    device_id: str | None = None,
    get_token: GetToken | None = None,
    durable: bool = False,
    positions: Mapping[str, str] | None = None,
    heartbeat_timeout: float = STANDARD_HEARTBEAT,
    maximum_message_bytes: int = 16 << 20,
    ssl_context: ssl.SSLContext | None = None,
    on_status: OnStatus | None = None,
    on_resume: OnResume | None = None,
    on_gap: OnGap | None = None,
    on_error: OnError | None = None,
) -> Client:
    """A client of a Roomcast gateway that stays connected inside `async with`.

        async with connect("https://push.example.com", rooms=["lobby"], user_id="42") as client:
            async for notice in client:
                print(notice.type, notice.data)

    Args:
        url: The gateway's address: http, https, ws or wss.
        rooms: One or two room ids: 1 to 128 bytes of UTF-8 without control characters and commas.
        user_id: The user for whom the client asks the gateway for a token.
        device_id: In place of `user_id`, a device.
        get_token: In place of asking the gateway: a coroutine function that returns a token, or None to end the
            client. After an exception the client asks again. It has 30 s.
        durable: Whether durable notices that the client missed are delivered after a reconnection.
        positions: With `durable`, where to begin: stored `positions` of an earlier client. Other rooms' are ignored.
        heartbeat_timeout: The gateway's `--heartbeat-timeout` in seconds, at least 1.
        maximum_message_bytes: The gateway's `--maximum-payload-bytes`. A larger frame ends the client.
        ssl_context: For TLS in place of `ssl.create_default_context()`.
        on_status: Called at each change of the status, by the client's own task.
        on_resume: Called by `async for` where a connection begins, with `durable`. May be a coroutine function.
        on_gap: Called by `async for` where notices may be missing. May be a coroutine function.
        on_error: Called with trouble that does not pass by itself, and with what `get_token` and `on_status` raise.
            Without it they are logged by the logger `roomcast`.

    Raises TypeError or ValueError for options that cannot work; nothing has been sent then.
    """
    return Client(
        Options(
            url=checked_url(url),
            rooms=checked_rooms(rooms),
            user_id=user_id,
            device_id=device_id,
            get_token=get_token,
            durable=durable,
            positions=positions,
            heartbeat_timeout=heartbeat_timeout,
            maximum_message_bytes=maximum_message_bytes,
            ssl_context=ssl_context,
            on_status=on_status,
            on_resume=on_resume,
            on_gap=on_gap,
            on_error=on_error,
        )
    )
