"""A broadcast server on websockets. Usage: websockets_server.py PORT PORT

Sources: websockets' topic guides on performance (uvloop, `broadcast()`) and on memory (compression
is what most of a connection's memory is for).
"""

from websockets.asyncio.server import broadcast, serve

from publications import BACKLOG, HOST, forever, run, take_publications


async def handle(connection):
    await connection.wait_closed()


async def main(port, publish_port):
    options = {"compression": None, "backlog": BACKLOG}
    # None of the servers here pings within a run, so the task that would wait to is spared.
    options["ping_interval"] = None
    async with serve(handle, HOST, port, **options) as server:
        await take_publications(
            publish_port, lambda payload: broadcast(server.connections, payload)
        )
        await forever()


run(main)
