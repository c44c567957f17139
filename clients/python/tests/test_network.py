"""Heartbeats, and a network or an nginx that is gone, with two real nodes."""

from __future__ import annotations

import websockets

from edge import Application, Edge, Road, eventually, expect_whole_gap, publishing, real
from roomcast import WaitReason


@real("--heartbeat-timeout", "20s")
async def test_beats_keep_a_connection_that_would_end_without_them(edge: Edge) -> None:
    silent, app = Application(edge.url, heartbeat_timeout=600), Application(edge.url, heartbeat_timeout=5)
    async with silent, app:
        await silent.opened()
        await app.opened()
        await silent.reconnected()
        waiting = next(change for change in silent.statuses if change.status == "waiting")
        assert waiting.code == 4000
        assert waiting.retry_in is not None and waiting.retry_in <= 2
        assert 200 in app.beats and all(change.code != 4000 for change in app.statuses)


@real("--heartbeat", "pong", "--ping-interval", "1s", "--heartbeat-timeout", "20s")
async def test_where_pongs_count_one_beat_is_enough(edge: Edge) -> None:
    silent, app = Application(edge.url, heartbeat_timeout=600), Application(edge.url, heartbeat_timeout=5)
    async with silent, app:
        await silent.opened()
        await app.opened()
        # One that answers no Ping shows that the time is over.
        url = f"{edge.url.replace('http', 'ws')}/ws?token={await edge.token()}&roomIds=lobby"
        deaf = await websockets.connect(url)
        deaf.transport.pause_reading()

        async def is_closed() -> bool:
            return await edge.total('roomcast_closes_total{code="4000"}') == 1

        await eventually("the node closes it", is_closed)
        deaf.transport.abort()
        assert (app.beats, silent.beats) == ([200], [])
        assert (app.client.counts.reconnects, silent.client.counts.reconnects) == (0, 0)


@real()
async def test_a_network_that_is_gone_is_noticed_and_the_client_comes_back(edge: Edge) -> None:
    async with Road(edge.port) as road, Application(road.url, heartbeat_timeout=4) as app:
        await app.opened()
        token = app.client._token
        async with publishing(edge, "lobby") as published:
            await app.has(10)
            road.swallow()
            await eventually("it has noticed", lambda: app.client.status != "open")
            road.pass_on()
            await app.reconnected()
            await published.more(2)
            last = await published.stop() - 1
        await eventually("the last notice", lambda: last in app.numbers)
        expect_whole_gap(app, published)
        assert app.gaps[0].seconds > 5
        waiting = next(change for change in app.statuses if change.status == "waiting")
        assert isinstance(waiting.reason, WaitReason) and waiting.reason.kind in ("timeout", "network")
        assert app.client._token == token


@real()
async def test_an_edge_that_is_gone_is_waited_for(edge: Edge) -> None:
    async with Application(edge.url) as app:
        await app.opened()
        edge.nginx.kill_rest()
        await eventually("it tries", lambda: sum(change.status == "connecting" for change in app.statuses) >= 3)
        reasons = [change.reason for change in app.statuses if change.status == "waiting"]
        assert [reason.kind for reason in reasons if isinstance(reason, WaitReason)][1] == "network"
        edge.nginx.start()
        await app.reconnected()
        await edge.publish_numbers("lobby", 1)
        await app.has(1)
