#!/usr/bin/env python3
"""Uses the try page of a real server as a person would: try_page.py with a server around it.

Arguments are passed on, for example --screenshot page.png. Exits with 1 if the page is not as
promised, also when the browser is missing.
"""

import pathlib
import subprocess
import sys

FOLDER = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parent))

from edge import Edge  # noqa: E402

SECONDS = 120


def main():
    with Edge() as edge:
        command = [sys.executable, FOLDER / "try_page.py", edge.internal, edge.websocket]
        passed = not subprocess.run([*command, *sys.argv[1:]], timeout=SECONDS).returncode
    print("1 passed, 0 failed" if passed else "0 passed, 1 failed")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
