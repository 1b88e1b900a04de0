"""What backends send reaches the right clients, over every entrance, as it was sent."""

import asyncio
import json

import msgpack
import zmq
from edge import Edge
from peers import ask, backend, clients, expect, warm_up


async def test_push_publishes():
    with Edge() as edge:
        async with backend(edge, "pull") as push:
            async with clients(edge, "/websocket/42?channels=news") as (client,):
                await push.send_multipart([b"news", b"hello"])
                expect(await client.recv(), "hello")


async def test_pub_publishes_in_order():
    with Edge() as edge:
        async with backend(edge, "sub") as publisher:
            async with clients(edge, "/websocket/42?channels=news") as (client,):
                await warm_up(publisher, client)
                # All of it fits into PUB's queue, which drops what does not.
                for number in range(400):
                    await publisher.send_multipart([b"newsletter", b"of another channel"])
                    await publisher.send_multipart([b"news", b"%d" % number])
                for number in range(400):
                    expect(await client.recv(), str(number))


async def test_payloads_stay_text_or_binary():
    long = "\U0001f30a wörld " * 5000
    payloads = [b"text", b"", b"\xff\x00binary", long.encode(), b"\xc3", b"\0" * 70_000]
    with Edge() as edge:
        async with backend(edge, "pull") as push:
            async with clients(edge, "/websocket?channels=news") as (client,):
                for payload in payloads:
                    await push.send_multipart([b"news", payload])
                received = [await client.recv() for _ in payloads]
                expect(received, ["text", "", payloads[2], long, b"\xc3", "\0" * 70_000])
                meta = json.dumps({"ct": "binary"}).encode()
                await push.send_multipart([b"news", b"as binary", meta])
                expect(await client.recv(), b"as binary")


async def test_router_answers_dealer_and_req():
    with Edge() as edge:
        async with (
            backend(edge, "router") as dealer,
            backend(edge, "router", zmq.REQ) as req,
            clients(edge, *["/websocket?channels=news"] * 3) as listeners,
        ):
            answer = await ask(dealer, b"news", b"a", b'{"rid": "r1"}')
            expect(answer, {"rid": "r1", "ok": True, "sessions": 3})
            expect(await ask(req, b"news", b"b"), {"ok": True, "sessions": 3})
            expect(await ask(dealer, b"elsewhere", b"c"), {"ok": True, "sessions": 0})
            for listener in listeners:
                expect([await listener.recv() for _ in range(2)], ["a", "b"])


async def test_router_says_what_is_wrong():
    requests = [
        ([b"news"], "missing_payload"),
        ([b"$cmd", b"x"], "needs_channel_topic"),
        ([b"news", b"x", b"{"], "meta_syntax"),
        ([b"news", b"x", b'{"nonsense": 1}'], "unknown_key"),
        ([b"news", b"\xff", b'{"ct": "text"}'], "payload_not_utf8"),
    ]
    with Edge() as edge:
        async with backend(edge, "router") as dealer:
            for request, code in requests:
                answer = await ask(dealer, *request)
                expect((answer["ok"], answer["error"]["code"]), (False, code))


async def test_every_device_of_a_user():
    with Edge() as edge:
        paths = ["/websocket/42?device=phone", "/websocket/42?device=laptop", "/websocket/43"]
        async with backend(edge, "router") as dealer:
            async with clients(edge, *paths) as (phone, laptop, other):
                meta = {"op": "user", "user": "42"}
                answer = await ask(dealer, b"$cmd", b"both", json.dumps(meta).encode())
                expect(answer["sessions"], 2)
                expect([await phone.recv(), await laptop.recv()], ["both", "both"])
                meta["device"] = "phone"
                await ask(dealer, b"$cmd", b"one", json.dumps(meta).encode())
                expect(await phone.recv(), "one")
                # Whatever they were to hear would have come before this.
                await ask(dealer, b"$cmd", b"end", b'{"op": "all"}')
                expect([await laptop.recv(), await other.recv()], ["end", "end"])


async def test_meta_as_message_pack():
    with Edge() as edge:
        async with backend(edge, "router") as dealer:
            async with clients(edge, "/websocket/42", "/websocket?channels=a,b") as both:
                user = msgpack.packb({"op": "user", "user": "42", "ct": "binary", "rid": 7})
                expect(
                    await ask(dealer, b"$cmd", b"packed", user),
                    {"rid": 7, "ok": True, "sessions": 1},
                )
                expect(await both[0].recv(), b"packed")
                channels = msgpack.packb({"op": "broadcast", "channels": ["a", "b", "c"]})
                await ask(dealer, b"$cmd", b"twice", channels)
                expect([await both[1].recv() for _ in range(2)], ["twice", "twice"])


async def test_messages_of_300_parts():
    with Edge() as edge:
        async with (
            backend(edge, "pull") as push,
            backend(edge, "router") as dealer,
            backend(edge, "sub") as publisher,
            clients(edge, "/websocket?channels=news") as (client,),
        ):
            await warm_up(publisher, client)
            parts = [b"news", b"many", b"{}", *[b"reserved"] * 297]
            for socket in (push, publisher):
                await socket.send_multipart(parts)
                expect(await client.recv(), "many")
            expect((await ask(dealer, *parts))["sessions"], 1)
            expect(await client.recv(), "many")
            await push.send_multipart([b"news", b"still alive"])
            expect(await client.recv(), "still alive")


async def test_subscribe_unsubscribe_disconnect():
    with Edge() as edge:
        async with backend(edge, "router") as dealer, clients(edge, "/websocket/42") as (client,):

            async def command(payload=b"", **meta):
                topic = b"$cmd" if "op" in meta else b"news"
                answer = await ask(dealer, topic, payload, json.dumps(meta).encode())
                expect(answer["ok"], True)
                return answer["sessions"]

            expect(await command(b"early"), 0)
            expect(await command(op="subscribe", user="42", channels=["news"]), 1)
            expect(await command(b"heard"), 1)
            expect(await client.recv(), "heard")
            expect(await command(op="unsubscribe", user="42", channels=["news"]), 1)
            expect(await command(b"late"), 0)
            await command(op="disconnect", user="42", code=4001, reason="go away")
            await asyncio.wait_for(client.wait_closed(), 5)
            expect((client.close_code, client.close_reason), (4001, "go away"))
