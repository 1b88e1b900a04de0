"""Backends over HTTP, through the published client `cent`: who is there, what channels remember,
and when connections expire."""

import asyncio

from cent import (
    BroadcastRequest,
    ChannelsRequest,
    HistoryRemoveRequest,
    HistoryRequest,
    PresenceRequest,
    PresenceStatsRequest,
    PublishRequest,
    RefreshRequest,
)
from edge import Edge
from peers import clients, expect
from test_api import KEY, backend, error_of


async def test_channels_are_listed_with_their_subscribers():
    with Edge(f"api.key={KEY}") as edge:
        paths = ["/websocket/42?channels=a,b", "/websocket/43?channels=a"]
        async with backend(edge) as api, clients(edge, *paths):
            channels = (await api.channels(ChannelsRequest())).channels
            counts = {name: info.num_clients for name, info in channels.items()}
            expect(counts, {"a": 2, "b": 1, "#42": 1, "#43": 1})
            channels = (await api.channels(ChannelsRequest(pattern="#*"))).channels
            expect(sorted(channels), ["#42", "#43"])
            channels = (await api.channels(ChannelsRequest(pattern="{[!b],#?3}"))).channels
            expect(sorted(channels), ["#43", "a"])


async def test_history_is_read_and_forgotten():
    with Edge(f"api.key={KEY}", "channels.history_size=2") as edge:
        async with backend(edge) as api:
            for number in range(3):
                result = await api.publish(PublishRequest(channel="a", data=number))
                expect(result.offset, number + 1)
            history = await api.history(HistoryRequest(channel="a", limit=-1))
            expect([(one.offset, one.data) for one in history.publications], [(2, 1), (3, 2)])
            expect((history.offset, history.epoch), (3, result.epoch))
            await api.history_remove(HistoryRemoveRequest(channel="a"))
            history = await api.history(HistoryRequest(channel="a", limit=-1))
            expect(history.publications, [])


async def test_what_skips_history_or_is_outdated():
    with Edge(f"api.key={KEY}", "channels.history_size=9") as edge:
        async with backend(edge) as api, clients(edge, "/websocket?channels=a,b") as (client,):
            result = await api.publish(PublishRequest(channel="a", data=1, skip_history=True))
            expect((result.offset, result.epoch), (0, ""))
            request = BroadcastRequest(channels=["a", "b"], data=2, skip_history=True)
            responses = (await api.broadcast(request)).responses
            expect([response.result.offset for response in responses], [0, 0])
            for version, offset in ((7, 1), (6, 1), (8, 2)):
                request = PublishRequest(channel="a", data=version, version=version)
                expect((await api.publish(request)).offset, offset)
            request = PublishRequest(channel="a", data=3, version=3, version_epoch="new")
            expect((await api.publish(request)).offset, 3)
            expect([await client.recv() for _ in range(6)], list("122783"))
            history = await api.history(HistoryRequest(channel="a", limit=-1))
            expect([one.data for one in history.publications], [7, 8, 3])


async def test_expired_connections_are_closed():
    with Edge(f"api.key={KEY}") as edge:
        async with backend(edge) as api, clients(edge, "/websocket/42") as (client,):
            await api.refresh(RefreshRequest(user="42", expired=True))
            await asyncio.wait_for(client.wait_closed(), 10)
            expect(client.close_code, 3005)


async def test_what_is_switched_off_or_unknown_is_said():
    with Edge(f"api.key={KEY}") as edge:
        async with backend(edge) as api:
            expect(await error_of(api.presence(PresenceRequest(channel="a"))), 108)
            expect(await error_of(api.presence_stats(PresenceStatsRequest(channel="a"))), 108)
            expect(await error_of(api.history(HistoryRequest(channel="a", limit=1))), 108)
            expect(await error_of(api.publish(PublishRequest(channel="no:a", data=1))), 102)
