"""Backends over HTTP, through the published client `cent`: what it sends is understood, and what
the edge answers is what it expects. And the description of the API is valid OpenAPI."""

import contextlib
import json
import urllib.request

from cent import (
    AsyncClient,
    BatchRequest,
    BroadcastRequest,
    CentApiResponseError,
    CentTransportError,
    CentUnauthorizedError,
    Disconnect,
    DisconnectRequest,
    InfoRequest,
    PublishRequest,
    SubscribeRequest,
    UnsubscribeRequest,
)
from edge import Edge
from openapi_spec_validator import validate
from peers import clients, expect
from websockets.exceptions import ConnectionClosed

KEY = "a-key-for-these-tests"


def backend(edge, key=KEY):
    """A client of the API, to be used in an `async with` statement."""
    return AsyncClient(f"{edge.internal}/api", key)


async def error_of(call):
    """The code of the error that a call ends with."""
    try:
        await call
    except CentApiResponseError as error:
        return error.code
    raise AssertionError("the call succeeded")


async def test_publish_and_broadcast():
    with Edge(f"api.key={KEY}") as edge:
        async with backend(edge) as api, clients(edge, "/websocket/42?channels=a,b") as (client,):
            result = await api.publish(PublishRequest(channel="a", data={"text": "wörld"}))
            expect(result.model_extra, {"sessions": 1})
            expect(json.loads(await client.recv()), {"text": "wörld"})
            await api.publish(PublishRequest(channel="a", data=None, b64data="/wA="))
            expect(await client.recv(), b"\xff\x00")
            channels = ["a", "nobody", "b"]
            result = await api.broadcast(BroadcastRequest(channels=channels, data=[1]))
            expect([response.error for response in result.responses], [None] * 3)
            expect([json.loads(await client.recv()) for _ in range(2)], [[1], [1]])
            channels = ["a", "nowhere:x", "b"]
            result = await api.broadcast(BroadcastRequest(channels=channels, data=[2]))
            codes = [response.error and response.error.code for response in result.responses]
            expect(codes, [None, 102, None])
            expect([json.loads(await client.recv()) for _ in range(2)], [[2], [2]])


async def test_subscribe_unsubscribe_disconnect():
    with Edge(f"api.key={KEY}") as edge:
        async with backend(edge) as api, clients(edge, "/websocket/42") as (client,):
            await api.subscribe(SubscribeRequest(user="42", channel="news"))
            await api.publish(PublishRequest(channel="news", data="heard"))
            expect(await client.recv(), '"heard"')
            await api.unsubscribe(UnsubscribeRequest(user="42", channel="news"))
            await api.publish(PublishRequest(channel="news", data="late"))
            goodbye = Disconnect(code=4001, reason="go away")
            await api.disconnect(DisconnectRequest(user="42", disconnect=goodbye))
            heard = []
            with contextlib.suppress(ConnectionClosed):
                while True:
                    heard.append(await client.recv())
            expect(heard, [])
            expect((client.close_code, client.close_reason), (4001, "go away"))


async def test_info_and_batch():
    with Edge(f"api.key={KEY}") as edge:
        async with backend(edge) as api, clients(edge, "/websocket/42?channels=a") as (client,):
            (node,) = (await api.info(InfoRequest())).nodes
            expect((node.num_clients, node.num_users, node.num_subs), (1, 1, 2))
            expect(node.process.rss > 100_000, True)
            expect(bool(node.uid and node.name and node.version), True)
            publish = PublishRequest(channel="a", data=1)
            for parallel in (False, True):
                requests = [publish, InfoRequest(), publish]
                batch = BatchRequest(requests=requests, parallel=parallel)
                replies = (await api.batch(batch)).replies
                expect(replies[0].model_extra, {"sessions": 1})
                expect(replies[1].nodes[0].uid, node.uid)
                expect([await client.recv() for _ in range(2)], ["1", "1"])


async def test_errors():
    with Edge(f"api.key={KEY}") as edge:
        async with backend(edge) as api, backend(edge, "another") as stranger:
            for request in (
                PublishRequest(channel="$cmd", data=1),
                PublishRequest(channel="a", data=1, delta=True),
            ):
                expect(await error_of(api.publish(request)), 107)
            try:
                await stranger.info(InfoRequest())
            except CentUnauthorizedError:
                pass
            else:
                raise AssertionError("a wrong key was let in")
            try:
                await api.batch(BatchRequest(requests=[]))
            except CentTransportError as error:
                expect(error.status_code, 400)
            else:
                raise AssertionError("an empty batch was taken")


async def test_the_description_is_valid():
    with Edge() as edge:
        with urllib.request.urlopen(f"{edge.internal}/api/openapi.json") as response:
            validate(json.load(response))
