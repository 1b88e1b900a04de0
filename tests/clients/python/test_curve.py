"""CURVE with real key pairs: listed backends come in on every kind of socket, others do not."""

import asyncio

import zmq
from edge import Edge
from peers import ask, backend, clients, expect, warm_up
from test_events import joined, next_event

# What a peer's socket says that is not let in.
REFUSED = (
    zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_DISCONNECTED
)


def guarded():
    """An edge that admits one backend, that backend's keys, and those of a stranger."""
    server_public, server_secret = zmq.curve_keypair()
    listed, stranger = zmq.curve_keypair(), zmq.curve_keypair()
    curve = "\n".join(
        [
            'role = "server"',
            # A literal string: Z85 has no quotes, but TOML's other strings have escapes.
            f"secret_key = '{server_secret.decode()}'",
            f"authorized_keys = ['{listed[0].decode()}']",
        ]
    )
    return Edge(curve=curve), (server_public, *listed), (server_public, *stranger)


async def test_listed_backends_come_in_on_every_socket():
    edge, keys, _ = guarded()
    with edge:
        async with (
            backend(edge, "sub", keys=keys) as publisher,
            backend(edge, "pull", keys=keys) as push,
            backend(edge, "router", keys=keys) as dealer,
            backend(edge, "pub", keys=keys) as events,
        ):
            await joined(edge, events)
            async with clients(edge, "/websocket/42?channels=news") as (client,):
                # The one comes from the shard of the user, the other from that of the connection.
                topics = sorted([(await next_event(events))[0] for _ in range(2)])
                expect(topics, ["$event.connected", "$event.user_online"])
                await warm_up(publisher, client)
                await publisher.send_multipart([b"news", b"over SUB"])
                expect(await client.recv(), "over SUB")
                await push.send_multipart([b"news", b"over PULL"])
                expect(await client.recv(), "over PULL")
                answer = await ask(dealer, b"news", b"over ROUTER")
                expect(answer, {"ok": True, "sessions": 1})
                expect(await client.recv(), "over ROUTER")


async def stay_outside(keys_of):
    edge, listed, stranger = guarded()
    with edge:
        keys = keys_of(listed, stranger)
        outside = {"keys": keys, "watch": REFUSED}
        async with (
            backend(edge, "sub", **outside) as (publisher, no_publisher),
            backend(edge, "pull", **outside) as (push, no_push),
            backend(edge, "router", **outside) as (dealer, no_dealer),
            backend(edge, "pub", **outside) as (events, no_events),
            backend(edge, "router", keys=listed) as friend,
            clients(edge, "/websocket/42?channels=news") as (client,),
        ):
            # Without a connection these two wait for one, for ever.
            sends = [
                asyncio.ensure_future(socket.send_multipart([b"news", b"x"]))
                for socket in (push, dealer)
            ]
            for monitor in (no_publisher, no_push, no_dealer, no_events):
                await publisher.send_multipart([b"news", b"over SUB"])
                await monitor.recv_multipart()
            # Whatever came in would have come before this.
            expect((await ask(friend, b"news", b"of a friend"))["sessions"], 1)
            expect(await client.recv(), "of a friend")
            expect([await events.poll(0), await dealer.poll(0)], [0, 0])
            for send in sends:
                send.cancel()


async def test_strangers_stay_outside():
    await stay_outside(lambda _listed, stranger: stranger)


async def test_plaintext_stays_outside():
    await stay_outside(lambda _listed, _stranger: None)


async def test_a_wrong_server_key_stays_outside():
    await stay_outside(lambda listed, _: (zmq.curve_keypair()[0], *listed[1:]))
