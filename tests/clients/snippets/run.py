#!/usr/bin/env python3
"""Runs the examples of README and docs as they stand, in a process of their own as a reader would.

Only the addresses are replaced by those of a server that was started for the test, or by one where
nobody is: then a publisher ends with a sentence. That a page shows each example exactly as it
lies here is a test too. An example whose language this machine lacks is skipped. Exits with 1 if
anything fails.

Usage: run.py [WORD]     only the examples whose file name contains WORD
"""

import asyncio
import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import types

FOLDER = pathlib.Path(__file__).resolve().parent
CLIENTS = FOLDER.parent
sys.path[:0] = [str(CLIENTS), str(CLIENTS / "python")]

import managed  # noqa: E402
from edge import ROOT, Edge, binary  # noqa: E402
from peers import ask, backend, clients, expect  # noqa: E402

INTERPRETERS = {".py": sys.executable, ".mjs": "node", ".php": "php", ".sh": "sh"}
SECONDS = 60
# An edge that is not there.
NOBODY = types.SimpleNamespace(
    zeromq={"pull": "tcp://127.0.0.1:1", "router": "tcp://127.0.0.1:1"},
    websocket="ws://127.0.0.1:1",
    internal="http://127.0.0.1:1",
)


def lack(name):
    """Why this machine cannot run an example, or None."""
    kind = pathlib.Path(name).suffix
    if kind == ".go":
        return managed.lack_of_go()
    if kind == ".java":
        return managed.lack_of_java()
    tool = {".php": "php", ".sh": "curl", ".cs": "mcs"}.get(kind)
    return f"{tool} is missing" if tool and not shutil.which(tool) else None


def command(path, folder):
    """What runs a program, which is compiled into the folder if need be."""
    kind, made = pathlib.Path(path).suffix, pathlib.Path(folder) / "example"
    if kind == ".go":
        # Go passes over hidden files.
        visible = shutil.copy(path, made.with_suffix(kind))
        subprocess.run(["go", "build", "-o", made, visible], cwd=FOLDER, check=True)
        return [made]
    if kind == ".java":
        return ["java", "-cp", managed.java_packages(), path]
    if kind == ".cs":
        subprocess.run(["mcs", "-r:System.Net.Http", f"-out:{made}", path], check=True)
        return ["mono", made]
    return [INTERPRETERS[kind], path]


@contextlib.asynccontextmanager
async def example(name, edge, cwd=None):
    """The running example, with the addresses of this server in it."""
    text = (FOLDER / name).read_text()
    for port, kind in [("5560", "pull"), ("5563", "router"), ("5564", "pub")]:
        text = text.replace(f"tcp://127.0.0.1:{port}", edge.zeromq.get(kind, ""))
    text = text.replace("ws://127.0.0.1:8000", edge.websocket or "")
    text = text.replace("http://127.0.0.1:9000", edge.internal or "")
    # Node looks for packages above the script, so the copy lies in a folder of this tree.
    with (
        tempfile.NamedTemporaryFile("w", dir=FOLDER, prefix=".run-", suffix=name) as copy,
        tempfile.TemporaryDirectory(prefix="tidegate-test-") as folder,
    ):
        copy.write(text)
        copy.flush()
        process = await asyncio.create_subprocess_exec(
            *await asyncio.to_thread(command, copy.name, folder),
            cwd=cwd,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=subprocess.STDOUT if edge is NOBODY else None,
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


async def publishes_over_http(name):
    with Edge() as edge:
        async with clients(edge, "/websocket/42?channels=news") as (client,):
            async with example(name, edge) as process:
                expect(await client.recv(), '"hello"')
                answer = json.loads(await process.stdout.read())
                expect(answer["result"]["sessions"], 1)


async def finds_nobody(name):
    async with example(name, NOBODY) as process:
        said = (await process.stdout.read()).decode()
        expect("nobody is at 127.0.0.1" in said.replace("tcp://", ""), True)
        await process.wait()


async def listens(name):
    with Edge() as edge:
        async with example(name, edge) as process, backend(edge, "router") as dealer:
            while not (await ask(dealer, b"news", b"hello"))["sessions"]:
                await asyncio.sleep(0.05)
            expect(await process.stdout.readline(), b"hello\n")


async def hears(name):
    with Edge() as edge:
        async with example(name, edge) as process, clients(edge, "/websocket/42") as (client,):
            said = asyncio.create_task(process.stdout.readuntil(b"42 b'hi'\n"))
            # Until its subscription has arrived it hears nothing.
            while not said.done():
                await client.send("hi")
                await asyncio.sleep(0.05)
            expect((await said).endswith(b"$event.message 42 b'hi'\n"), True)


async def asks(name):
    with Edge() as edge:
        async with clients(edge, "/websocket/42?channels=news") as (client,):
            async with example(name, edge) as process:
                for payload in ["hello", "hello", "you have mail", "maintenance at noon"]:
                    expect(await client.recv(), payload)
                await client.wait_closed()
                expect((client.close_code, client.close_reason), (4500, "signed out"))
                answers = (await process.stdout.read()).splitlines()
                expect(answers[0].startswith(b'{"rid":1,"ok":true,"sessions":1'), True)
                expect((len(answers), await process.wait()), (8, 0))


async def encrypts(name):
    config = (FOLDER / "curve.toml").read_text().replace("tcp://0.0.0.0:5563", "tcp://127.0.0.1:*")
    edge = Edge(endpoints=("router",), config=config)
    async with example("curve_keys.py", edge, cwd=edge.folder.name) as process:
        expect(await process.wait(), 0)
    with edge:
        async with example(name, edge, cwd=edge.folder.name) as process:
            line = await process.stdout.readline()
            expect(line.startswith(b"""b'{"ok":true,"sessions":0"""), True)
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
    pages = [ROOT / "README.md", *(ROOT / name).rglob("*.md")]
    shown = "".join(page.read_text() for page in pages)
    examples = [path for path in sorted(FOLDER.glob("[!.]*.*")) if path.stem != "run"]
    hidden = [path.name for path in examples if f"\n{path.read_text()}" not in shown]
    expect(hidden, [])


CHECKS = [
    (publishes, "publish.py"),
    (publishes, "publish.mjs"),
    (publishes, "publish.go"),
    (publishes, "Publish.java"),
    (publishes_over_http, "publish.sh"),
    (publishes_over_http, "publish.php"),
    (publishes_over_http, "Publish.cs"),
    (finds_nobody, "publish.py"),
    (finds_nobody, "publish.mjs"),
    (finds_nobody, "publish.go"),
    (finds_nobody, "Publish.java"),
    (finds_nobody, "publish.php"),
    (finds_nobody, "Publish.cs"),
    (listens, "listen.mjs"),
    (listens, "managed.mjs"),
    (listens, "managed.py"),
    (listens, "managed.go"),
    (listens, "Listen.java"),
    (hears, "events.py"),
    (asks, "ask.py"),
    (encrypts, "curve_ask.py"),
    (signs, "sign.py"),
    (are_shown, "docs"),
]


async def main():
    failed = skipped = 0
    word = sys.argv[1] if len(sys.argv) > 1 else ""
    chosen = [(check, name) for check, name in CHECKS if word in name]
    for check, name in chosen:
        if why := lack(name):
            skipped += 1
            print(f"skipped: {name}: {why}")
            continue
        try:
            await asyncio.wait_for(check(name), SECONDS)
        except Exception as error:
            failed += 1
            print(f"FAILED: {name} {check.__name__}: {error!r}")
        else:
            print(f"ok: {name} {check.__name__}")
    passed = len(chosen) - failed - skipped
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
