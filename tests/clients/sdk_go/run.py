#!/usr/bin/env python3
"""Runs the tests of the Go SDK and of the Go client of the HTTP API against a server.

Usage: run.py [WORD]     only the tests whose name matches the regular expression WORD

Modules are those of go.sum, from Go's module cache or else its proxy. Exits with 1 if anything
fails.
"""

import json
import pathlib
import sys

FOLDER = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parent))

import managed  # noqa: E402


def main():
    if lack := managed.lack_of_go():
        return managed.skip(lack)
    command = ["go", "test", "-json", "-count=1", "-mod=readonly"]
    if len(sys.argv) > 1:
        command += ["-run", sys.argv[1]]
    go = managed.run([*command, "."], FOLDER)
    events = [json.loads(line) for line in go.stdout.splitlines() if line.startswith("{")]
    ends = {event["Test"]: event["Action"] for event in events if is_end(event)}
    # A test of both forms of the protocol counts as two.
    ends = {name: end for name, end in ends.items() if not any(f"{name}/" in each for each in ends)}
    go.stdout = "".join(event.get("Output", "") for event in events) or go.stdout
    verdicts = list(ends.values())
    return managed.conclude(go, verdicts.count("pass"), verdicts.count("fail"))


def is_end(event):
    return "Test" in event and event["Action"] in ("pass", "fail")


if __name__ == "__main__":
    sys.exit(main())
