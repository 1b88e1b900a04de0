"""A broadcast server on picows. Usage: picows_server.py PORT PORT

Sources: picows' README (uvloop) and the documentation of `ws_create_server`.
"""

from picows import WSListener, WSMsgType, ws_create_server

from publications import BACKLOG, HOST, forever, run, take_publications

# Bytes that each connection allocates for reading; the default is 16 KiB, and the documentation
# says to choose what frames need. These clients send next to nothing.
READ_BUFFER = 1024

transports = set()


class Listener(WSListener):
    def on_ws_connected(self, transport):
        transports.add(transport)

    def on_ws_frame(self, transport, frame):
        if frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code(), frame.get_close_message())
            transport.disconnect()

    def on_ws_disconnected(self, transport):
        transports.discard(transport)


def publish(payload):
    for transport in transports:
        transport.send(WSMsgType.BINARY, payload)


async def main(port, publish_port):
    await ws_create_server(
        lambda request: Listener(),
        HOST,
        port,
        backlog=BACKLOG,
        read_buffer_init_size=READ_BUFFER,
    )
    await take_publications(publish_port, publish)
    await forever()


run(main)
