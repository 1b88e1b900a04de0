"""What the tests of the published SDKs share: their edges, and how a language's tests are run.

`edges` starts three and describes them to the tests as JSON in the variable EDGE:
{ websocket, internal, zeromq, key, secret, strict, leaving, leaving_pid }. `strict` is the public
address of one without --dev that lets a user have one session and few commands. `leaving` is that
of one that a test may drain.
"""

import contextlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

from edge import Edge

CLIENTS = pathlib.Path(__file__).resolve().parent
SECONDS = 240
SECRET = "a secret of the tests, long enough"
KEY = "the-API-key-of-the-tests"

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
SETTINGS = [
    f"token.hmac_secret={SECRET}",
    f"api.key={KEY}",
    "client.refresh_grace=1s",
    # What expires ends in time although no ping is due.
    "heartbeat.ping_interval=60s",
    "sessions.per_user_max=1000",
    "history.recovery_publications_max=5000",
    # The slow subscriber is to be caught soon, and to recover much at once.
    "slow.lag_bytes_max=64KiB",
    "client.reply_bytes_max=128MiB",
]
STRICT = f"ingest.endpoints = []\n[channels]\n{OPEN.format(100)}"
STRICT_SETTINGS = [
    f"token.hmac_secret={SECRET}",
    "sessions.per_user_max=1",
    "client.publishes_per_second=3",
]


@contextlib.contextmanager
def edges():
    """The variables of the environment in which tests find the edges that run meanwhile."""
    with (
        Edge(*SETTINGS, config=CONFIG, endpoints=("router",)) as edge,
        Edge(*STRICT_SETTINGS, config=STRICT, endpoints=(), dev=False) as strict,
        Edge(*SETTINGS, config=CONFIG, endpoints=("router",)) as leaving,
    ):
        description = {name: getattr(edge, name) for name in ("websocket", "internal", "zeromq")}
        description |= {"secret": SECRET, "key": KEY, "strict": strict.websocket}
        description |= {"leaving": leaving.websocket, "leaving_pid": leaving.process.pid}
        yield {**os.environ, "EDGE": json.dumps(description)}


def run(command, folder=None):
    """Runs the tests of a language while the edges do, and gives the result with its output."""
    words = [str(word) for word in command]
    with edges() as variables, tempfile.TemporaryFile("w+", errors="replace") as output:
        try:
            status = subprocess.run(
                words,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=SECONDS,
                env=variables,
            ).returncode
        except subprocess.TimeoutExpired:
            status = f"not over after {SECONDS} s"
        output.seek(0)
        return subprocess.CompletedProcess(words, status, output.read())


def conclude(result, passed, failed):
    """Prints what failed and the closing line, and gives the exit status of the whole."""
    if result.returncode or not passed or failed:
        print(result.stdout)
        failed = max(failed, 1)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


def skip(why):
    """What a step says whose language this machine lacks: nothing counts as passed."""
    print(f"skipped: {why}")
    print("0 passed, 0 failed, 1 skipped")
    return 0


def lack_of_go():
    """Why the Go programs here cannot be built, or None. From 1.21 on Go fetches a newer one."""
    wanted = re.search(r"^go (\S+)", (CLIENTS / "go.mod").read_text(), re.M)[1]
    try:
        asked = subprocess.run(
            ["go", "env", "GOVERSION"], cwd=CLIENTS, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError) as error:
        return f"Go {wanted} is missing: {getattr(error, 'stderr', None) or error}".strip()
    found = asked.stdout.strip().removeprefix("go")
    if as_numbers(found) < as_numbers(wanted):
        return f"Go {wanted} or newer is missing: this is {found}"
    return None


def as_numbers(version):
    return [int(part) for part in re.findall(r"\d+", version)]


def lack_of_java():
    """Why the Java programs here cannot be built, or None."""
    missing = [tool for tool in ("java", "javac", "mvn") if not shutil.which(tool)]
    if missing:
        return f"{' and '.join(missing)} missing: it takes a JDK, 17 or newer, and Maven"
    return None


def java_packages():
    """The class path of the packages in pom.xml, which are downloaded once."""
    path, pom = CLIENTS / "target/classpath", CLIENTS / "pom.xml"
    if not path.exists() or path.stat().st_mtime < pom.stat().st_mtime:
        command = ["mvn", "--batch-mode", "--quiet", "-Dstyle.color=never", "--file", pom]
        command += ["dependency:build-classpath", f"-Dmdep.outputFile={path}"]
        subprocess.run(command, check=True)
        path.touch()
    return path.read_text().strip()
