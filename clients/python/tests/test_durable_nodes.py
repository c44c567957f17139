"""Durable notices, through nginx, against two nodes and a Redis that keeps its data: whatever fails, a client receives
each of them once and in order, or is told."""

from __future__ import annotations

import json
import signal

from edge import Application, Edge, Published, eventually, publishing, real
from roomcast._rules import MAXIMUM_WAITING


async def expect_all(app: Application, published: Published) -> None:
    await app.has(await published.more(10))


@real(keeps=True)
async def test_no_fault_costs_a_notice_or_its_order(edge: Edge) -> None:
    async with Application(edge.url, durable=True) as app:
        await eventually("where it begins", lambda: len(app.resumes) == 1)
        async with publishing(edge, "lobby", durably=True) as published:
            await expect_all(app, published)
            for count, number in enumerate((signal.SIGKILL, signal.SIGTERM, signal.SIGKILL), 1):
                node = await edge.holder(app.client)
                await edge.nodes[node].end(number)
                await app.reconnected(count)
                await edge.start_node(node)
                await expect_all(app, published)

            await edge.store.end()
            edge.store.start()
            await edge.redis_answers()
            await expect_all(app, published)

            edge.nginx.kill_rest()
            await published.more(20)
            edge.nginx.start()
            await app.reconnected(4)
            await expect_all(app, published)
            count = await published.stop()
        await app.has(count)
        assert app.numbers == list(range(count))
        assert app.gaps == [] and app.errors == []
        counts = app.client.counts
        assert counts.lost == 0 and counts.resumed >= 4 and counts.repeated == 0


@real()
async def test_stored_positions_survive_every_restart_of_the_application(edge: Edge) -> None:
    stored, numbers = "null", []
    async with publishing(edge, "lobby", durably=True) as published:
        for run in range(4):
            app = Application(edge.url, durable=True, positions=json.loads(stored), reads=False)
            async with app:
                if run == 0:
                    # The first one begins with what is new.
                    await app.opened()
                # Notices are on their way whenever it goes.
                async for notice in app.client:
                    numbers.append(notice.data["n"])
                    stored = json.dumps(app.client.positions)
                    if len(numbers) >= 20 * (run + 1):
                        break
            assert app.gaps == []
            # The next one goes in the middle of what it missed.
            await published.more(40)
    assert numbers == list(range(numbers[0], numbers[0] + 80))


@real("--maximum-queue-bytes", "64KiB", "--socket-send-buffer", "16KiB")
async def test_a_client_that_was_too_slow_goes_on_where_it_was(edge: Edge) -> None:
    async with Application(edge.url, durable=True, reads=False) as app:
        await app.opened()
        count = 0

        async def is_closed() -> bool:
            nonlocal count
            # nginx and the sockets take some, too.
            for _ in range(20):
                assert await edge.publish_durably("lobby", count, padding=20_000)
                count += 1
            return await edge.total('roomcast_closes_total{code="1013"}') >= 1

        await eventually("the node gave it up", is_closed)
        assert len(app.client._channel._items) <= MAXIMUM_WAITING
        app.read()
        await app.has(count)
        assert app.numbers == list(range(count))
        assert app.gaps == [] and app.client.counts.reconnects >= 1


@real()
async def test_a_loss_is_told_and_the_client_goes_on_behind_it(edge: Edge) -> None:
    async with Application(edge.url, durable=True, positions={"lobby": "k3f9x2ab.1000-7"}) as app:
        await eventually("a loss", lambda: len(app.gaps) == 1)
        assert (app.gaps[0].source, app.gaps[0].rooms) == ("resume", ("lobby",))
        assert app.resumes[0].rooms[0].lost
        assert await edge.publish_durably("lobby", 1)
        await app.has(1)
        position = app.client.positions["lobby"]
        await edge.redis.flushall()
        await eventually("told", lambda: len(app.gaps) == 2)
        assert app.client.positions["lobby"] != position

        async def is_published() -> bool:
            return await edge.publish_durably("lobby", 2)

        await eventually("what follows", is_published)
        await app.has(2)
        assert app.numbers == [1, 2]
        assert app.client.counts.lost == 2
