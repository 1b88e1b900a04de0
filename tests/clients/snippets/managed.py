import asyncio
from centrifuge import Client, SubscriptionEventHandler

class News(SubscriptionEventHandler):
    async def on_publication(self, context):
        print(context.pub.data, flush=True)

async def main():
    client = Client("ws://127.0.0.1:8000/connection/websocket")
    await client.new_subscription("news", News()).subscribe()
    await client.connect()
    await asyncio.Future()

asyncio.run(main())
