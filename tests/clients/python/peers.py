"""The two ends of an edge: a backend with real ZeroMQ sockets, clients with real WebSockets."""

import asyncio
import contextlib
import json

import zmq
import zmq.asyncio
from websockets.asyncio.client import connect

# Which socket of a backend speaks to which endpoint of the edge.
PEER = {"sub": zmq.PUB, "pull": zmq.PUSH, "router": zmq.DEALER, "pub": zmq.SUB, "xpub": zmq.SUB}


@contextlib.asynccontextmanager
async def backend(edge, kind, socket_type=None, keys=None, watch=0):
    """A backend's socket, connected to the edge's endpoint of this kind.

    `keys` are the public key of the server, and the public and secret key of this backend. With
    the events of libzmq to `watch`, it comes with a second socket that says when they happen.
    """
    with zmq.asyncio.Context() as context:
        socket = context.socket(PEER[kind] if socket_type is None else socket_type)
        socket.linger = 0
        if keys:
            socket.curve_serverkey, socket.curve_publickey, socket.curve_secretkey = keys
        if socket.type == zmq.SUB:
            socket.subscribe(b"")
        monitor = socket.get_monitor_socket(watch) if watch else None
        socket.connect(edge.zeromq[kind])
        try:
            yield (socket, monitor) if watch else socket
        finally:
            if watch:
                socket.disable_monitor()
            socket.close()


@contextlib.asynccontextmanager
async def clients(edge, *paths):
    """WebSocket connections, one to each path. Once open, they miss nothing."""
    async with contextlib.AsyncExitStack() as stack:
        opened = []
        for path in paths:
            opened.append(await stack.enter_async_context(connect(edge.client_url(path))))
        yield opened


async def warm_up(publisher, client, channel=b"news"):
    """Publishes until the client hears it: PUB drops what it sends before it is connected."""
    number = 0
    while True:
        await publisher.send_multipart([channel, b"warm %d" % number])
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(client.recv(), 0.05)
            break
        number += 1
    # What was sent meanwhile is on its way, and nothing comes after this.
    await publisher.send_multipart([channel, b"warm"])
    while await client.recv() != "warm":
        pass


async def ask(dealer, *parts):
    """One request over DEALER, and the answer."""
    await dealer.send_multipart(list(parts))
    (answer,) = await dealer.recv_multipart()
    return json.loads(answer)


def expect(actual, expected):
    """Fails with both values: `assert` shows neither."""
    if actual != expected:
        raise AssertionError(f"expected {expected!r}, found {actual!r}")
