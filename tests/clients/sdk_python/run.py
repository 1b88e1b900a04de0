#!/usr/bin/env python3
"""Runs the Python SDK's own tests, in JSON and protobuf, against a running edge.

The source package is downloaded and unpacked into a temporary folder, where the address and the
secret of the server that the tests expect are replaced by the edge's; nothing else is changed.
Only `test_client.py` needs a server: the other files bring one of their own or need none.

Usage: run.py [WORD]     only the tests whose name contains WORD
"""

import os
import pathlib
import re
import subprocess
import sys
import tarfile
import tempfile

FOLDER = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parent))

from edge import Edge  # noqa: E402

SECONDS = 240
SECRET = "the secret of the tests is longer than theirs"

# As the tests' own server is configured, but for deltas, which there are none of.
RULES = """
history_size = {history_size}
history_ttl = "300s"
presence = true
join_leave = true
publish = "everybody"
"""
CONFIG = "ingest.endpoints = []\n" + "".join(
    f"[{table}]{RULES.format(history_size=size)}"
    for table, size in [("channels", 100), ("personal", 100), ("namespaces.smallhistory", 2)]
)

# Tests of test_client.py that are not run, and why.
EXCLUDED = {
    "TestProcessDisconnectReconnectFlag": "calls the SDK alone, no server",
    "TestChannelCompaction": "brings a server of its own",
}


def unpack(folder, edge):
    """The source package, made for this edge."""
    download = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    download += ["--no-deps", "--requirement", FOLDER / "sdist.txt", "--dest", folder]
    subprocess.run(download, check=True)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    (source,) = (path for path in folder.iterdir() if path.is_dir())
    for path in source.glob("tests/*.py"):
        text = path.read_text()
        text = text.replace("localhost:8000", edge.websocket.removeprefix("ws://"))
        path.write_text(text.replace('hmac_secret = "secret"', f'hmac_secret = "{SECRET}"'))
    return source


def names(source):
    """The test classes that are run, in their order."""
    text = (source / "tests/test_client.py").read_text()
    classes = re.findall(r"^class (Test\w+)\(", text, re.M)
    if missing := set(EXCLUDED) - set(classes):
        sys.exit(f"excluded but not there: {', '.join(missing)}")
    return [f"tests.test_client.{name}" for name in classes if name not in EXCLUDED]


def main():
    word = sys.argv[1] if len(sys.argv) > 1 else ""
    with (
        tempfile.TemporaryDirectory(prefix="tidegate-test-") as folder,
        Edge(f"token.hmac_secret={SECRET}", config=CONFIG, endpoints=()) as edge,
    ):
        source = unpack(pathlib.Path(folder), edge)
        chosen = [name for name in names(source) if word in name]
        tests = subprocess.run(
            [sys.executable, "-m", "unittest", "--verbose", *chosen],
            cwd=source,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
            stdout=subprocess.PIPE,
            text=True,
            timeout=SECONDS,
            env={**os.environ, "PYTHONPATH": str(source)},
        )
    ran = re.search(r"^Ran (\d+) tests? in", tests.stdout, re.M)
    found = re.search(r"^FAILED \((.*)\)$", tests.stdout, re.M)
    failed = sum(map(int, re.findall(r"(?:failures|errors)=(\d+)", found[1]))) if found else 0
    if tests.returncode or not ran or failed:
        print(tests.stdout)
        failed = max(failed, 1)
    print(f"{max(int(ran[1]) - failed, 0) if ran else 0} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
