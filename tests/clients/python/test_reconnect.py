"""Many clients that lose their edge come back to the next one on the same address."""

import asyncio
import collections

from edge import Edge
from peers import ask, backend, clients, expect
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

COUNT = 400


async def faithful(url, heard, closes):
    """A client that connects again whenever it is closed."""
    while True:
        try:
            async with connect(url, open_timeout=10) as connection:
                async for message in connection:
                    heard.append(message)
                closes[connection.close_code] += 1
        except ConnectionClosed as closed:
            closes[closed.rcvd.code if closed.rcvd else 1006] += 1
        except (OSError, InvalidHandshake):
            await asyncio.sleep(0.05)


async def reach(edge, payload, count):
    """Publishes until all are there, and gives how often it took."""
    async with backend(edge, "router") as dealer:
        while (await ask(dealer, b"roll", b"call"))["sessions"] < count:
            await asyncio.sleep(0.05)
        expect((await ask(dealer, b"news", payload))["sessions"], count)


async def test_clients_come_back_after_a_restart():
    heard, closes = [], collections.Counter()

    async def everybody_heard(payload):
        while heard.count(payload) < COUNT:
            await asyncio.sleep(0.02)

    with Edge("drain.window=1s") as edge:
        url = edge.client_url("/websocket?channels=news,roll")
        tasks = [asyncio.create_task(faithful(url, heard, closes)) for _ in range(COUNT)]
        await reach(edge, b"before", COUNT)
        await everybody_heard("before")
        address = edge.websocket.removeprefix("ws://")
        # The server drains while its clients go on, so it is waited for elsewhere.
        await asyncio.to_thread(edge.stop)
    # Shards stop listening within a tick of each other, so somebody may be sent away twice.
    expect((set(closes), closes[1012] >= COUNT), ({1012}, True))
    with Edge(public=address) as edge:
        await reach(edge, b"after", COUNT)
        await everybody_heard("after")
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    expect([heard.count("before"), heard.count("after")], [COUNT, COUNT])


async def test_connections_that_break_are_forgotten():
    with Edge() as edge:
        async with backend(edge, "router") as dealer:
            for _ in range(3):
                async with clients(edge, *["/websocket?channels=news"] * 100) as opened:
                    expect((await ask(dealer, b"news", b"x"))["sessions"], 100)
                    for client in opened:
                        client.transport.abort()
                while (await ask(dealer, b"news", b"x"))["sessions"]:
                    await asyncio.sleep(0.02)
