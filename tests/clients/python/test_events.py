"""Backends hear of connections that come and go, and of what clients send."""

import json

import zmq
from edge import Edge
from peers import ask, backend, clients, expect


# Whose connections only show that a subscription has reached the edge.
PROBE = "probe"


async def joined(edge, events):
    """Waits until the subscription has reached the edge: connects clients until one is heard."""
    while not await events.poll(200):
        async with clients(edge, f"/websocket/{PROBE}"):
            pass


async def next_event(events):
    """The next event that is of no probe."""
    while True:
        topic, payload, meta = await events.recv_multipart()
        meta = json.loads(meta)
        if meta["user"] != PROBE:
            return topic.decode(), payload, meta


async def life_of_a_client(kind):
    with Edge("shards.count=1", endpoints=("router", kind)) as edge:
        async with backend(edge, kind) as events, backend(edge, "router") as dealer:
            await joined(edge, events)
            async with clients(edge, "/websocket/42?device=phone&channels=chat") as (client,):
                topic, payload, meta = await next_event(events)
                expect((topic, payload, meta["user"]), ("$event.user_online", b"", "42"))
                topic, payload, meta = await next_event(events)
                expect((topic, payload), ("$event.connected", b""))
                expect((meta["user"], meta["device"], meta["shard"]), ("42", "phone", 0))
                first = meta["seq"]
                identity = meta["client"]
                await client.send("to you")
                await client.send(b"\xff\x00")
                topic, payload, meta = await next_event(events)
                expect((topic, payload, meta["ct"]), ("$event.message", b"to you", "text"))
                topic, payload, meta = await next_event(events)
                expect((topic, payload, meta["ct"]), ("$event.message", b"\xff\x00", "binary"))
                expect((meta["client"], meta["seq"]), (identity, first + 2))
                # The sender can be left out, by the identity that the event named.
                left_out = json.dumps({"except": identity}).encode()
                expect((await ask(dealer, b"chat", b"x", left_out))["ok"], True)
                await client.close(4000, "bye")
            topic, _, meta = await next_event(events)
            expect((topic, meta["code"], meta["client"]), ("$event.disconnected", 4000, identity))
            topic, _, meta = await next_event(events)
            expect((topic, meta["user"]), ("$event.user_offline", "42"))


async def test_life_of_a_client_over_pub():
    await life_of_a_client("pub")


async def test_life_of_a_client_over_xpub():
    await life_of_a_client("xpub")


async def test_topics_choose_events():
    with Edge() as edge:
        async with backend(edge, "pub") as all_events, backend(edge, "pub", zmq.SUB) as chosen:
            chosen.unsubscribe(b"")
            chosen.subscribe(b"$event.message")
            await joined(edge, all_events)
            async with clients(edge, "/websocket/42") as (client,):
                # The second subscription may come later than the first: send until it is heard.
                while not await chosen.poll(50):
                    await client.send("hello")
            topic, payload, meta = await next_event(chosen)
            expect((topic, payload, meta["user"]), ("$event.message", b"hello", "42"))
