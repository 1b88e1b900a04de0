#!/usr/bin/env python3
"""Runs managed.mjs, the tests of the npm SDK, against a server.

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
    command = ["node", "--test-reporter=tap", FOLDER / "managed.mjs"]
    if len(sys.argv) > 1:
        command[1:1] = [f"--test-name-pattern={sys.argv[1]}"]
    node = managed.run(command)
    counts = [re.search(rf"^# {word} (\d+)$", node.stdout, re.M) for word in ("pass", "fail")]
    return managed.conclude(node, *(int(count[1]) if count else 0 for count in counts))


if __name__ == "__main__":
    sys.exit(main())
