#!/usr/bin/env python3
"""Runs managed.mjs, the tests of the npm SDK, against a server.

Usage: run.py [WORD]     only the tests whose name contains WORD

Exits with 1 if anything fails.
"""

import json
import os
import pathlib
import re
import subprocess
import sys

FOLDER = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parent))

from edge import Edge  # noqa: E402

SECONDS = 240
SECRET = "a secret of the tests, long enough"
OPEN = 'history_size = {}\npresence = true\njoin_leave = true\npublish = "everybody"\n'
CONFIG = f"""
[[ingest.endpoints]]
kind = "router"
endpoint = "tcp://127.0.0.1:*"

[channels]
{OPEN.format(5000)}
[personal]
history_size = 100

[namespaces.small]
{OPEN.format(2)}
[namespaces.private]
subscribe = "token"
history_size = 100

[namespaces.crowd]
history_size = 1000

[namespaces.silent]
"""
# Of the edge that is as strict as in production.
STRICT = "ingest.endpoints = []\n"
SETTINGS = [
    f"token.hmac_secret={SECRET}",
    "client.refresh_grace=1s",
    # What expires ends in time although no ping is due.
    "heartbeat.ping_interval=60s",
    "sessions.per_user_max=1000",
    "history.recovery_publications_max=5000",
    # The slow subscriber is to be caught soon, and to recover much at once.
    "slow.lag_bytes_max=64KiB",
    "client.reply_bytes_max=128MiB",
]


def main():
    with (
        Edge(*SETTINGS, config=CONFIG, endpoints=("router",)) as edge,
        Edge(f"token.hmac_secret={SECRET}", config=STRICT, endpoints=(), dev=False) as strict,
    ):
        addresses = {name: getattr(edge, name) for name in ("websocket", "internal", "zeromq")}
        addresses["strict"] = strict.websocket
        command = ["node", "--test-reporter=tap", FOLDER / "managed.mjs"]
        if len(sys.argv) > 1:
            command[1:1] = [f"--test-name-pattern={sys.argv[1]}"]
        node = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            timeout=SECONDS,
            env={**os.environ, "EDGE": json.dumps({**addresses, "secret": SECRET})},
        )
    counts = [re.search(rf"^# {word} (\d+)$", node.stdout, re.M) for word in ("pass", "fail")]
    passed, failed = (int(count[1]) if count else 0 for count in counts)
    if node.returncode or not passed or failed:
        print(node.stdout)
        failed = max(failed, 1)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
