"""What both Python servers share: addresses, `POST /publish`, and uvloop."""

import asyncio
import sys

import uvloop
from aiohttp import web

HOST = "127.0.0.1"

# The default accept queue of 100 would be filled by many handshakes at once.
BACKLOG = 4096


async def take_publications(port, publish):
    """Calls `publish` with the body of each POST."""

    async def take(request):
        publish(await request.read())
        return web.Response(status=202)

    application = web.Application()
    application.router.add_post("/publish", take)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, HOST, port).start()


def run(serve):
    """Runs `serve(port, port for publications)`; the ports are the arguments."""
    uvloop.run(serve(*[int(argument) for argument in sys.argv[1:3]]))


async def forever():
    """Until the process ends."""
    await asyncio.get_running_loop().create_future()
