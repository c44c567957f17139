"""What applications rely on, through nginx, against two nodes and a Redis: nodes and Redis that go and come back,
and the gaps that this makes."""

from __future__ import annotations

import signal

from edge import Application, Edge, eventually, expect_whole_gap, publishing, real
from roomcast import Gap


@real()
async def test_notices_come_in_order_and_go_on_after_the_node_is_killed(edge: Edge) -> None:
    async with Application(edge.url) as app:
        await app.opened()
        await edge.publish_numbers("lobby", 1000)
        await app.has(1000)
        assert app.numbers == list(range(1000))
        token, node = app.client._token, await edge.holder(app.client)
        await edge.nodes[node].end()
        await app.reconnected()
        assert app.client._token == token, "the token is as good as before"
        assert await edge.holder(app.client) != node
        await edge.publish_numbers("lobby", 100)
        await app.has(1100)
        assert app.numbers[1000:] == list(range(100))
        assert [(gap.source, gap.rooms) for gap in app.gaps] == [("reconnect", ("lobby",))]
        assert app.errors == []


@real()
async def test_a_drained_node_sends_its_client_to_another_and_the_gap_is_told_in_full(edge: Edge) -> None:
    async with Application(edge.url, rooms=["lobby", "ü +&%"]) as app:
        await app.opened()
        async with publishing(edge, "ü +&%") as published:
            await published.more(20)
            node = await edge.holder(app.client)
            assert await edge.nodes[node].end(signal.SIGTERM) == 0
            await app.reconnected()
            await published.more(20)
            last = await published.stop() - 1
        await eventually("the last notice", lambda: last in app.numbers)
        waiting = next(change for change in app.statuses if change.status == "waiting")
        assert waiting.code == 1001 and waiting.retry_in is not None and waiting.retry_in <= 2
        expect_whole_gap(app, published)


@real()
async def test_redis_that_comes_back_empty_is_no_reason_to_leave(edge: Edge) -> None:
    # It beats after 4.2 to 5 s; the nodes have more patience with a machine that is slow.
    async with Application(edge.url, heartbeat_timeout=6) as app:
        await app.opened()
        token = app.client._token
        await edge.store.end()
        await eventually("beats go on", lambda: 503 in app.beats)
        edge.store.start()
        await edge.redis_answers()
        for index in range(2):
            await edge.is_ready(index)
        await eventually("and on", lambda: 200 in app.beats)
        await edge.publish_numbers("lobby", 1)
        await app.has(1)
        assert (app.client.status, app.client.counts.reconnects, app.client._token) == ("open", 0, token)


@real("--gap-notice", "on", "--redis-silence-timeout", "2s")
async def test_a_node_that_was_cut_off_from_redis_tells_its_clients(edge: Edge) -> None:
    async with Application(edge.url) as app:
        await app.opened()
        await edge.store.end()
        edge.store.start()
        await edge.redis_answers()
        await eventually("the gap is told", lambda: len(app.gaps) == 1)
        assert app.gaps[0].source == "server" and app.gaps[0].rooms == ("lobby",)
        assert app.gaps[0].seconds > 0
        assert app.client.counts.reconnects == 0
        await edge.publish("lobby", '{"type":"gap","data":{"rooms":["lobby"],"ms":1500}}')
        await eventually("another", lambda: app.gaps[1:] == [Gap(("lobby",), 1.5, "server")])
