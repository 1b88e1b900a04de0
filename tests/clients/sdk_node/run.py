#!/usr/bin/env python3
"""Runs the tests of the npm SDK (managed.mjs) and of the npm client of the HTTP API (api.mjs).

Usage: run.py [WORD]     only the tests whose name contains WORD

Exits with 1 if anything fails.
"""

import pathlib
import re
import sys

FOLDER = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parent))

import managed  # noqa: E402


def main():
    # Each has its own edges, whose metrics it counts.
    return max(run(name) for name in ("managed.mjs", "api.mjs"))


def run(name):
    command = ["node", "--test-reporter=tap", FOLDER / name]
    if len(sys.argv) > 1:
        command[1:1] = [f"--test-name-pattern={sys.argv[1]}"]
    node = managed.run(command)
    counts = [re.search(rf"^# {word} (\d+)$", node.stdout, re.M) for word in ("pass", "fail")]
    return managed.conclude(node, *(int(count[1]) if count else 0 for count in counts))


if __name__ == "__main__":
    sys.exit(main())
