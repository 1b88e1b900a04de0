"""Buyers: what an app does on each of the two doors so that its user hears the result once.

Both kinds keep what they heard by the order's number and ignore what they know already.
"""

import asyncio
import contextlib
import json
import urllib.request

import centrifuge
import websockets


class Device:
    """One app of a buyer."""

    def __init__(self, buyer):
        self.buyer = buyer
        self.messages = 0  # results that came through the edge
        self.asked = 0  # results that only HTTP gave
        self.result = asyncio.get_running_loop().create_future()

    def heard(self, message):
        self.messages += 1
        self.show(message)

    def show(self, message):
        if message["order"] == self.buyer.order and not self.result.done():
            self.result.set_result(message["result"])

    async def ask(self):
        """What the shop says about the order: for those who may have missed the message."""
        if self.buyer.order is None or self.result.done():
            return
        message = await get(f"{self.buyer.shop}/{self.buyer.order}")
        if message["result"] is not None and not self.result.done():
            self.asked += 1
            self.show(message)


class Managed(Device, centrifuge.ClientEventHandler):
    """An SDK of the client protocol: it reconnects and recovers by itself."""

    async def run(self, edge, token):
        client = centrifuge.Client(
            f"{edge}/connection/websocket",
            events=self,
            token=token,
            max_reconnect_delay=1,
            proxy=None,
        )
        await client.connect()
        await client.ready()
        return client.disconnect

    async def on_publication(self, context):
        self.heard(context.pub.data)

    async def on_subscribed(self, context):
        # Only if the history did not reach back far enough is there a reason to ask.
        if context.was_recovering and not context.recovered:
            await self.ask()


class Raw(Device):
    """A plain WebSocket: what was published while it was away is lost, so it asks after each open."""

    async def run(self, edge, token):
        opened = asyncio.Event()
        url = f"{edge}/websocket/{self.buyer.user}?token={token}"
        task = asyncio.create_task(self.listen(url, opened))
        await opened.wait()

        async def stop():
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

        return stop

    async def listen(self, url, opened):
        while True:
            with contextlib.suppress(OSError, websockets.WebSocketException):
                async with websockets.connect(url, proxy=None) as socket:
                    opened.set()
                    # From here on nothing is missed, so asking now leaves no gap.
                    await self.ask()
                    async for message in socket:
                        self.heard(json.loads(message))
            await asyncio.sleep(0.1)


class Buyer:
    """Somebody with one device or two."""

    def __init__(self, user, kinds, shop):
        self.user = user
        self.shop = shop
        self.order = None
        self.devices = [kind(self) for kind in kinds]

    async def arrive(self, edge, token):
        self.stops = [await device.run(edge, token) for device in self.devices]

    async def buy(self):
        answer = await get(self.shop, {"user": self.user})
        self.order = answer["order"]

    async def leave(self):
        for stop in self.stops:
            await stop()


async def get(url, body=None):
    """One HTTP request: GET, or POST if there is a body."""
    data = None if body is None else json.dumps(body).encode()

    def request():
        with urllib.request.urlopen(url, data, timeout=30) as response:
            return json.load(response)

    return await asyncio.to_thread(request)
