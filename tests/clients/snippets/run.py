#!/usr/bin/env python3
"""Runs the README's examples as they stand, in a process of their own as a reader would.

Only the addresses are replaced by those of a server that was started for the test. The examples
in Go and Java are not run: the tests install neither language nor package. That the README shows
each example exactly as it lies here is a test too. Exits with 1 if anything fails.
"""

import asyncio
import contextlib
import json
import os
import pathlib
import sys
import tempfile

FOLDER = pathlib.Path(__file__).resolve().parent
CLIENTS = FOLDER.parent
sys.path[:0] = [str(CLIENTS), str(CLIENTS / "python")]

from edge import ROOT, Edge, binary  # noqa: E402
from peers import ask, backend, clients, expect  # noqa: E402

INTERPRETERS = {".py": sys.executable, ".mjs": "node"}
SECONDS = 20


@contextlib.asynccontextmanager
async def example(name, edge, cwd=None):
    """The running example, with the addresses of this server in it."""
    text = (FOLDER / name).read_text()
    for port, kind in [("5560", "pull"), ("5563", "router")]:
        text = text.replace(f"tcp://127.0.0.1:{port}", edge.zeromq.get(kind, ""))
    text = text.replace("ws://127.0.0.1:8000", edge.websocket or "")
    # Node looks for packages above the script, so the copy lies in a folder of this tree.
    with tempfile.NamedTemporaryFile("w", dir=FOLDER, prefix=".run-", suffix=name) as copy:
        copy.write(text)
        copy.flush()
        process = await asyncio.create_subprocess_exec(
            *[INTERPRETERS[pathlib.Path(name).suffix], copy.name],
            cwd=cwd,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


async def publishes(name):
    with Edge() as edge:
        async with clients(edge, "/websocket/42?channels=news") as (client,):
            async with example(name, edge) as process:
                expect(await client.recv(), "hello")
                expect(await process.wait(), 0)


async def listens(name):
    with Edge() as edge:
        async with example(name, edge) as process, backend(edge, "router") as dealer:
            while not (await ask(dealer, b"news", b"hello"))["sessions"]:
                await asyncio.sleep(0.05)
            expect(await process.stdout.readline(), b"hello\n")


async def asks(name):
    with Edge() as edge:
        async with clients(edge, "/websocket/42?channels=news") as (client,):
            async with example(name, edge) as process:
                for payload in ["hello", "hello", "you have mail", "maintenance at noon"]:
                    expect(await client.recv(), payload)
                await client.wait_closed()
                expect((client.close_code, client.close_reason), (4500, "signed out"))
                expect(await process.wait(), 0)


async def encrypts(name):
    config = (FOLDER / "curve.toml").read_text().replace("tcp://0.0.0.0:5563", "tcp://127.0.0.1:*")
    edge = Edge(endpoints=("router",), config=config)
    async with example("curve_keys.py", edge, cwd=edge.folder.name) as process:
        expect(await process.wait(), 0)
    with edge:
        async with example(name, edge, cwd=edge.folder.name) as process:
            line = await process.stdout.readline()
            expect(line, b"""b'{"ok":true,"sessions":0}'\n""")
            expect(await process.wait(), 0)


async def signs(name):
    os.environ["TIDEGATE_TOKEN__HMAC_SECRET"] = "a secret of at least thirty-two bytes"
    with Edge() as edge:
        async with example(name, edge) as process:
            token = await process.stdout.read()
    check = await asyncio.create_subprocess_exec(
        *[binary(), "checktoken", token.strip()], stdout=asyncio.subprocess.PIPE
    )
    output, _ = await check.communicate()
    expect(json.loads(output)["user"], "42")


async def are_shown(name):
    readme = (ROOT / name).read_text()
    examples = [path for path in sorted(FOLDER.glob("[!.]*.*")) if path.stem != "run"]
    hidden = [path.name for path in examples if f"\n{path.read_text()}" not in readme]
    expect(hidden, [])


CHECKS = [
    (publishes, "publish.py"),
    (publishes, "publish.mjs"),
    (listens, "listen.mjs"),
    (listens, "managed.mjs"),
    (listens, "managed.py"),
    (asks, "ask.py"),
    (encrypts, "curve_ask.py"),
    (signs, "sign.py"),
    (are_shown, "README.md"),
]


async def main():
    failed = 0
    for check, name in CHECKS:
        try:
            await asyncio.wait_for(check(name), SECONDS)
        except Exception as error:
            failed += 1
            print(f"FAILED: {name}: {error!r}")
        else:
            print(f"ok: {name}")
    print(f"{len(CHECKS) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
