"""libcurl's own WebSocket, which sends its pong with what it does about the next frame, stays as long as
it likes, although it is pinged again and again."""

import asyncio
import json
import urllib.request

import pycurl
from edge import Edge
from peers import expect

HEARTBEAT = ("heartbeat.ping_interval=1s", "heartbeat.pong_deadline=1s")
KEY = "a-key-for-these-tests"
# One that never answers hears two and is closed.
PINGS = 4


def metric(edge, name):
    """The sum of a metric over its lines."""
    with urllib.request.urlopen(f"{edge.internal}/metrics", timeout=20) as response:
        lines = response.read().decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(name))


def call(edge, method, **parameters):
    body = json.dumps(parameters).encode()
    headers = {"X-API-Key": KEY, "Content-Type": "application/json"}
    request = urllib.request.Request(f"{edge.internal}/api/{method}", body, headers)
    with urllib.request.urlopen(request, timeout=20) as response:
        expect("error" in json.load(response), False)


def listen(url, hear):
    """Reads to the end of the connection, as `curl --no-buffer` does."""
    curl = pycurl.Curl()
    curl.setopt(pycurl.URL, url)
    curl.setopt(pycurl.WRITEFUNCTION, hear)
    curl.perform()
    curl.close()


async def test_libcurl_answers_pings():
    with Edge(f"api.key={KEY}", *HEARTBEAT) as edge:
        heard = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def hear(data):
            loop.call_soon_threadsafe(heard.put_nowait, data)

        url = edge.client_url("/websocket/42?channels=news")
        listening = asyncio.create_task(asyncio.to_thread(listen, url, hear))
        while await asyncio.to_thread(metric, edge, "tidegate_pings_sent_total") < PINGS:
            expect(listening.done(), False)
            await asyncio.sleep(0.05)
        await asyncio.to_thread(call, edge, "publish", channel="news", data="still here")
        expect(await heard.get(), b'"still here"')
        expect(await asyncio.to_thread(metric, edge, "tidegate_connections"), 1)
        await asyncio.to_thread(call, edge, "disconnect", user="42")
        await asyncio.gather(listening, return_exceptions=True)
