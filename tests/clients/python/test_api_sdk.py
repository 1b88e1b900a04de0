"""What backends ask of subscriptions through `cent` arrives at clients of the Python SDK, in JSON and in
protobuf."""

import asyncio
import contextlib
import json
import time

import jwt
from cent import (
    DisconnectRequest,
    PresenceRequest,
    PublishRequest,
    StreamPosition,
    SubscribeRequest,
)
from centrifuge import Client, ClientEventHandler
from edge import Edge
from peers import expect
from test_api import KEY, backend

SECRET = "a secret of the tests, long enough"
SETTINGS = [
    f"api.key={KEY}",
    f"token.hmac_secret={SECRET}",
    "client.refresh_grace=1s",
    # What the clients have to say to a close frame they say when the edge has ended.
    "websocket.close_deadline=100ms",
    "channels.history_size=9",
    "channels.presence=true",
]
WAIT_SECONDS = 10


class Events(ClientEventHandler):
    """What a client is told beside its personal channel, in order."""

    def __init__(self, decode):
        self.decode = decode
        self.queue = asyncio.Queue()

    async def on_connected(self, ctx):
        self.queue.put_nowait(ctx.client)

    async def on_subscribed(self, ctx):
        if not ctx.channel.startswith("#"):
            position = ctx.stream_position
            self.queue.put_nowait((ctx.channel, self.decode(ctx.data), position.offset))

    async def on_publication(self, ctx):
        self.queue.put_nowait((self.decode(ctx.pub.data), ctx.pub.offset))

    async def on_unsubscribed(self, ctx):
        self.queue.put_nowait(ctx.channel)

    async def on_disconnected(self, ctx):
        self.queue.put_nowait(ctx.code)

    async def next(self):
        return await asyncio.wait_for(self.queue.get(), WAIT_SECONDS)


@contextlib.asynccontextmanager
async def sdk_client(edge, use_protobuf=False):
    """A connected client of user 42: what it is told, and its identity."""
    decode = (lambda data: data and json.loads(data)) if use_protobuf else (lambda data: data)
    events = Events(decode)
    client = Client(
        edge.client_url("/connection/websocket"),
        token=jwt.encode({"sub": "42"}, SECRET, "HS256"),
        use_protobuf=use_protobuf,
        events=events,
    )
    await client.connect()
    try:
        yield events, await events.next()
    finally:
        await client.disconnect()


async def test_subscriptions_have_data_and_info_and_recover():
    with Edge(*SETTINGS) as edge:
        for use_protobuf in (False, True):
            async with backend(edge) as api, sdk_client(edge, use_protobuf) as (events, client):
                channel = f"a{use_protobuf}"
                results = [
                    await api.publish(PublishRequest(channel=channel, data=number))
                    for number in range(3)
                ]
                since = StreamPosition(offset=1, epoch=results[0].epoch)
                request = SubscribeRequest(
                    user="42",
                    channel=channel,
                    info={"role": "host"},
                    data={"seat": 7},
                    recover_since=since,
                )
                expect((await api.subscribe(request)).model_extra, {"sessions": 1})
                expect(await events.next(), (channel, {"seat": 7}, 1))
                expect([await events.next() for _ in range(2)], [(1, 2), (2, 3)])
                await api.publish(PublishRequest(channel=channel, data="now", skip_history=True))
                await api.publish(PublishRequest(channel=channel, data="last"))
                expect([await events.next() for _ in range(2)], [("now", 0), ("last", 4)])
                presence = (await api.presence(PresenceRequest(channel=channel))).presence
                expect(presence[client].chan_info, {"role": "host"})


async def test_subscriptions_of_backends_expire():
    with Edge(*SETTINGS) as edge:
        async with backend(edge) as api, sdk_client(edge) as (events, _):
            soon = int(time.time()) + 2
            # The published client has no name for the key, and passes it on.
            await api.subscribe(SubscribeRequest(user="42", channel="a", expire_at=soon))
            expect(await events.next(), ("a", None, 0))
            expect(await events.next(), "a")
            result = await api.publish(PublishRequest(channel="a", data=1))
            expect(result.model_extra, {"sessions": 0})


async def test_every_device_but_one_is_disconnected():
    with Edge(*SETTINGS) as edge:
        async with (
            backend(edge) as api,
            sdk_client(edge) as (events, client),
            sdk_client(edge) as (others, _),
        ):
            await api.disconnect(DisconnectRequest(user="42", whitelist=[client]))
            expect(await others.next(), 3503)
            await api.publish(PublishRequest(channel="#42", data="still here"))
            expect((await events.next())[0], "still here")
