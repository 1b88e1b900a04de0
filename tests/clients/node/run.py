#!/usr/bin/env python3
"""Runs clients.mjs against a server in the clear and against one that is guarded by CURVE.

Exits with 1 if anything fails.
"""

import json
import os
import pathlib
import re
import subprocess
import sys

import zmq

FOLDER = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parent))

from edge import Edge  # noqa: E402

SECONDS = 90


def run(edge, **more):
    """Gives how many tests passed and how many failed."""
    addresses = {"websocket": edge.websocket, "zeromq": edge.zeromq, **more}
    node = subprocess.run(
        # No `--test`: its runner would hide behind another process and its own summary.
        ["node", "--test-reporter=tap", FOLDER / "clients.mjs"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        timeout=SECONDS,
        env={**os.environ, "EDGE": json.dumps(addresses)},
    )
    counts = [re.search(rf"^# {word} (\d+)$", node.stdout, re.M) for word in ("pass", "fail")]
    if node.returncode != 0 or None in counts:
        print(node.stdout)
    if None in counts:
        return 0, 1
    passed, failed = (int(count[1]) for count in counts)
    return passed, max(failed, 1 if node.returncode else 0)


def main():
    results = []
    with Edge() as edge:
        results.append(run(edge))
        print("ok" if not results[-1][1] else "FAILED", "in the clear", sep=": ")
    server, node = zmq.curve_keypair(), zmq.curve_keypair()
    curve = [
        'role = "server"',
        f"secret_key = '{server[1].decode()}'",
        f"authorized_keys = ['{node[0].decode()}']",
    ]
    with Edge(curve="\n".join(curve)) as edge:
        keys = {"server": server[0], "public": node[0], "secret": node[1]}
        results.append(run(edge, curve={name: key.decode() for name, key in keys.items()}))
        print("ok" if not results[-1][1] else "FAILED", "with CURVE", sep=": ")
    passed, failed = (sum(column) for column in zip(*results))
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
