#!/usr/bin/env python3
"""Runs the tests of this folder: every coroutine whose name begins with `test_`.

Usage: run.py [WORD]     only the tests whose name contains WORD

Each test starts its own servers and has a time limit, so that a message that never comes is a
failure and not a hang. Exits with 1 if any test fails.
"""

import asyncio
import importlib
import pathlib
import sys
import time
import traceback

FOLDER = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(FOLDER), str(FOLDER.parent)]

TEST_SECONDS = 60


def tests():
    """Name and coroutine function of every test, in the order of files and lines."""
    for path in sorted(FOLDER.glob("test_*.py")):
        module = importlib.import_module(path.stem)
        for name, function in vars(module).items():
            if name.startswith("test_"):
                yield f"{path.stem[5:]}: {name[5:].replace('_', ' ')}", function


def main():
    word = sys.argv[1] if len(sys.argv) > 1 else ""
    passed = failed = 0
    for name, function in tests():
        if word not in name:
            continue
        start = time.monotonic()
        try:
            asyncio.run(asyncio.wait_for(function(), TEST_SECONDS))
        except Exception:
            failed += 1
            traceback.print_exc()
            print(f"FAILED: {name}", flush=True)
        else:
            passed += 1
            print(f"ok: {name} ({time.monotonic() - start:.1f} s)", flush=True)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
