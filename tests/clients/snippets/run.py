#!/usr/bin/env python3
"""Runs the README's first examples as they stand, in a process of their own as a reader would.

Only the addresses are replaced by those of a server that was started for the test. The examples
in Go and Java are not run: their ZeroMQ packages come from registries that the tests do not use.
Exits with 1 if a message does not arrive.
"""

import asyncio
import pathlib
import sys
import tempfile

FOLDER = pathlib.Path(__file__).resolve().parent
CLIENTS = FOLDER.parent
sys.path[:0] = [str(CLIENTS), str(CLIENTS / "python")]

from edge import Edge  # noqa: E402
from peers import ask, backend, clients, expect  # noqa: E402

PUBLISHERS = {"publish.py": [sys.executable], "publish.mjs": ["node"]}
LISTENERS = {"listen.mjs": ["node"]}
SECONDS = 20


def addressed(edge, name):
    """The example with the addresses of this server, beside the packages of Node."""
    text = (FOLDER / name).read_text()
    text = text.replace("tcp://127.0.0.1:5560", edge.zeromq["pull"])
    return text.replace("ws://127.0.0.1:8000", edge.websocket)


async def start(edge, name, command):
    # Node looks for packages above the script, so the copy lies in a folder of this tree.
    copy = tempfile.NamedTemporaryFile("w", dir=FOLDER, prefix=".run-", suffix=name)
    copy.write(addressed(edge, name))
    copy.flush()
    process = await asyncio.create_subprocess_exec(
        *command, copy.name, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE
    )
    return copy, process


async def publishes(name, command):
    with Edge() as edge:
        async with clients(edge, "/websocket/42?channels=news") as (client,):
            copy, process = await start(edge, name, command)
            with copy:
                expect(await client.recv(), "hello")
                expect(await process.wait(), 0)


async def listens(name, command):
    with Edge() as edge:
        copy, process = await start(edge, name, command)
        with copy:
            try:
                async with backend(edge, "router") as dealer:
                    while not (await ask(dealer, b"news", b"hello"))["sessions"]:
                        await asyncio.sleep(0.05)
                expect(await process.stdout.readline(), b"hello\n")
            finally:
                process.kill()
                await process.wait()


async def main():
    passed = failed = 0
    kinds = [(publishes, PUBLISHERS), (listens, LISTENERS)]
    for check, examples in kinds:
        for name, command in examples.items():
            try:
                await asyncio.wait_for(check(name, command), SECONDS)
            except Exception as error:
                failed += 1
                print(f"FAILED: {name}: {error!r}")
            else:
                passed += 1
                print(f"ok: {name}")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
