"""Tokens, through nginx, against real nodes: expired, replaced, revoked, refused, bound to rooms."""

from __future__ import annotations

import asyncio

from edge import BINARIES, Application, Edge, eventually, real
from roomcast import ClosedError, TokenRequest

KEY = "sixteen-characters-at-least"


@real()
async def test_a_token_that_expired_meanwhile_is_taken_anew(edge: Edge) -> None:
    async with Application(edge.url) as app:
        await app.opened()
        token, node = app.client._token, await edge.holder(app.client)
        await edge.nodes[node].end()
        await edge.redis.delete(f"client:{token}")
        await app.reconnected()
        assert app.client._token not in (None, token)
        await edge.publish_numbers("lobby", 1)
        await app.has(1)
        assert len(app.gaps) == 1 and app.errors == []


@real()
async def test_a_replaced_client_stays_away(edge: Edge) -> None:
    token = await edge.token()

    async def get_token(_: TokenRequest) -> str:
        return token

    async with Application(edge.url, get_token=get_token) as older:
        await older.opened()
        async with Application(edge.url, get_token=get_token, heartbeat_timeout=4) as newer:
            await newer.opened()
            error = await older.ended()
            assert isinstance(error, ClosedError)
            assert (error.ending, error.code) == ("replaced", 4001)
            assert str(error).startswith("the connection was closed for good, replaced: 4001")
            # In this time one that fights would have come back.
            await eventually("the newer one has beaten", lambda: 200 in newer.beats)
            assert newer.client.counts.reconnects == 0
            assert await edge.total("roomcast_handshakes_total") == 2


@real()
async def test_a_revoked_client_ends_unless_its_backend_gives_another_token(edge: Edge) -> None:
    tokens = [await edge.token(), await edge.token()]
    asked: list[str] = []

    async def get_token(request: TokenRequest) -> str:
        asked.append(request.reason)
        return tokens[len(asked) - 1]

    async with Application(edge.url) as own, Application(edge.url, get_token=get_token) as asking:
        await own.opened()
        await asking.opened()
        for token in (own.client._token or "", tokens[0]):
            address = f"redis://127.0.0.1:{edge.redis_port}"
            revoking = await asyncio.create_subprocess_exec(
                BINARIES / "publisher", "revoke", "--redis", address, "--token", token
            )
            assert await revoking.wait() == 0
        await asking.reconnected()
        assert asked == ["first", "revoked"]
        error = await own.ended()
        assert isinstance(error, ClosedError)
        assert (error.ending, error.code) == ("revoked", 4003)


@real("--issue-key", KEY, nodes=1)
async def test_where_tokens_need_a_key_a_backend_hands_them_out_and_binds_them_to_rooms(edge: Edge) -> None:
    async with Application(edge.url) as app:
        error = await app.ended()
        assert isinstance(error, ClosedError)
        assert error.ending == "refused"
        assert str(error) == "no token for this client: 401 Issue key required"
    token = await edge.token(query="isLogin=true&userId=ada&rooms=lobby", key=KEY)

    async def get_token(_: TokenRequest) -> str:
        return token

    async with Application(edge.url, get_token=get_token) as app:
        await app.opened()
        await edge.publish_numbers("lobby", 1)
        await app.has(1)
    async with Application(edge.url, get_token=get_token, rooms=["elsewhere"]) as app:
        error = await app.ended()
        assert isinstance(error, ClosedError)
        assert str(error) == "the gateway refuses the handshake: 403 Room not allowed"
