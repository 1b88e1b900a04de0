#!/usr/bin/env python3
"""Runs try_page.py and offline.py, each with a real server.

Arguments are passed on to the first, for example --screenshot page.png. Exits with 1 if a page is
not as promised, also when the browser is missing.
"""

import pathlib
import subprocess
import sys

FOLDER = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parent))

from edge import Edge  # noqa: E402

SECONDS = 120
REMEMBERED = ["channels.history_size=1000", "history.recovery_publications_max=1000"]


def passes(script, *arguments):
    command = [sys.executable, FOLDER / script, *arguments]
    return not subprocess.run(command, timeout=SECONDS).returncode


def main():
    with Edge("channels.history_size=100", "channels.presence=true") as edge:
        results = [passes("try_page.py", edge.internal, edge.websocket, *sys.argv[1:])]
    with Edge(*REMEMBERED, endpoints=("router",)) as edge:
        results.append(passes("offline.py", edge.websocket, edge.zeromq["router"]))
    print(f"{results.count(True)} passed, {results.count(False)} failed")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
