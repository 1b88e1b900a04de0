#!/usr/bin/env python3
"""A flash sale from end to end, and the proof that it was fair.

Usage: run.py [--buyers COUNT] [--stock COUNT] [--seed NUMBER]

Buyers order over HTTP and wait; the shop finishes the orders one by one and tells each buyer
through the edge; the network cuts connections all the while. It ends with 0 if no more was sold
than there was, every device of every buyer showed the one right result, and no message came twice.
"""

import argparse
import asyncio
import os
import pathlib
import random
import sys
import time

import jwt

FOLDER = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parents[1] / "tests/clients"))

from buyer import Buyer, Managed, Raw  # noqa: E402
from edge import Edge  # noqa: E402
from network import Network  # noqa: E402
from shop import Shop  # noqa: E402

# Who has which devices: a third each.
KINDS = [[Managed], [Raw], [Managed, Raw]]

SALE_SECONDS = 5
PATIENCE_SECONDS = 60


async def sale(edge, secret, arguments):
    pace = SALE_SECONDS / arguments.buyers
    shop = Shop(arguments.stock, edge.zeromq["router"], pace)
    host, port = edge.websocket.removeprefix("ws://").rsplit(":", 1)
    async with Network(host, int(port)) as network:
        users = [f"buyer-{number}" for number in range(arguments.buyers)]
        buyers = [Buyer(user, KINDS[n % 3], shop.address) for n, user in enumerate(users)]
        for buyer in buyers:
            claims = {"sub": buyer.user, "exp": int(time.time()) + 600}
            await buyer.arrive(network.address, jwt.encode(claims, secret, "HS256"))
        await asyncio.gather(*[buyer.buy() for buyer in buyers])
        # Between order and result everybody loses the connection once, most more often.
        network.cut(1.0)
        shop.opening.set()
        cutting = asyncio.create_task(cut_again_and_again(network))
        devices = [device for buyer in buyers for device in buyer.devices]
        await asyncio.wait_for(asyncio.gather(*[at.result for at in devices]), PATIENCE_SECONDS)
        cutting.cancel()
        # A message too many would come now, with the next recovery.
        network.cut(1.0)
        await asyncio.sleep(2)
        for buyer in buyers:
            await buyer.leave()
    return judge(shop, buyers, network, arguments)


async def cut_again_and_again(network):
    while True:
        await asyncio.sleep(0.5)
        network.cut(0.3)


def judge(shop, buyers, network, arguments):
    """Prints what happened, and gives what was wrong with it."""
    wrong = []
    sold = sum(result == "you got it" for result in shop.results.values())
    if sold != min(arguments.stock, arguments.buyers):
        wrong.append(f"{sold} were sold of {arguments.stock}")
    devices = [device for buyer in buyers for device in buyer.devices]
    for device in devices:
        buyer = device.buyer
        if device.result.result() != shop.results[buyer.order]:
            wrong.append(f"{buyer.user} was told {device.result.result()}")
        # An SDK must have got the one message; a raw client may have missed it, and asked.
        allowed = (1,) if isinstance(device, Managed) else (0, 1)
        if device.messages not in allowed:
            wrong.append(f"{buyer.user} got {device.messages} messages")
    recovering = sum(isinstance(device, Managed) for device in devices)
    asked = sum(device.asked for device in devices)
    print(f"{len(buyers)} buyers with {len(devices)} devices, {arguments.stock} in stock")
    print(f"{sold} sold, {len(buyers) - sold} told that it is sold out")
    print(f"{network.cuts} connections cut, {shop.repeats} results sent again")
    print(f"{recovering} devices with an SDK, {len(devices) - recovering} plain WebSockets")
    print(f"{len(devices) - asked} heard it through the edge, {asked} asked over HTTP")
    return wrong


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--buyers", type=int, default=500)
    parser.add_argument("--stock", type=int, default=50)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    arguments = parser.parse_args()
    random.seed(arguments.seed)
    secret = random.randbytes(32).hex()
    os.environ["TIDEGATE_TOKEN__HMAC_SECRET"] = secret
    with Edge(endpoints=("router",), config=(FOLDER / "tidegate.toml").read_text()) as edge:
        wrong = asyncio.run(sale(edge, secret, arguments))
    for line in wrong[:10]:
        print(f"WRONG (seed {arguments.seed}): {line}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
