"""A bad network: a TCP relay whose connections can be cut in the middle of anything."""

import asyncio
import contextlib
import random


class Network:
    """Relays to `host:port`; `address` is where buyers connect."""

    def __init__(self, host, port):
        self.target = (host, port)
        self.pairs = set()
        self.cuts = 0

    async def __aenter__(self):
        self.server = await asyncio.start_server(self.relay, "127.0.0.1", 0, backlog=1024)
        self.address = "ws://127.0.0.1:%d" % self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self.server.close()
        self.cut(1.0)

    async def relay(self, reader, writer):
        far_reader, far_writer = await asyncio.open_connection(*self.target)
        pair = (writer, far_writer)
        self.pairs.add(pair)
        try:
            await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))
        finally:
            self.pairs.discard(pair)
            for end in pair:
                end.transport.abort()

    def cut(self, share):
        """Cuts this share of the connections, without a close frame or any other farewell."""
        for pair in list(self.pairs):
            if random.random() < share:
                self.cuts += 1
                for end in pair:
                    end.transport.abort()


async def pump(reader, writer):
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.transport.abort()
