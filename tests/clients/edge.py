"""Starts a real `tidegate serve` for a test and ends it again.

Every address is a free one that the system chooses, so tests run beside each other and beside an
edge that is in use; the addresses are those that the server prints. The binary is the one that
TIDEGATE names, else target/debug/tidegate, whose assertions are on. Standard library only, because
the test of the try page needs nothing else.
"""

import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import threading

ROOT = pathlib.Path(__file__).resolve().parents[2]
START_SECONDS = 20
STOP_SECONDS = 20
LOG_LINES_SHOWN = 60

# A test that is told to end leaves its `with` statements, and so ends its server too.
signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))


# What --dev switches on and most tests are not about. A test with a configuration decides itself.
PLAIN = [
    f"{section}.{option}"
    for section in ("channels", "personal")
    for option in ("history_size=0", "presence=false")
]


class Edge:
    """One running server, to be used in a `with` statement.

    `endpoints` are the kinds of ZeroMQ sockets; `curve` is the text of the TOML table that goes
    with each of them. `config` is a whole configuration file instead, for these endpoints.
    `settings` are further options, as in `--set SECTION.KEY=VALUE`; `public` is the address for
    clients where a test needs a certain one. The file lies in `folder`, which is there before the
    server starts. Without `dev` it is as strict as in production.
    """

    def __init__(
        self,
        *settings,
        endpoints=("sub", "pull", "router", "pub"),
        curve="",
        config=None,
        public="127.0.0.1:0",
        dev=True,
    ):
        self.settings = settings
        self.public = public
        self.dev = dev
        self.kinds = endpoints
        self.curve = curve
        self.config = config
        self.folder = tempfile.TemporaryDirectory(prefix="tidegate-test-")
        self.process = None
        self.websocket = None
        self.internal = None
        self.zeromq = {}

    def __enter__(self):
        folder = pathlib.Path(self.folder.name)
        config, self.log = folder / "tidegate.toml", folder / "log"
        config.write_text(self.config or "".join(map(self._endpoint, self.kinds)))
        command = [binary(), "serve", "--config", config] + ["--dev"] * self.dev
        command += ["--public-address", self.public, "--internal-address", "127.0.0.1:0"]
        plain = [] if self.config else PLAIN
        for setting in ("drain.delay=0s", "drain.window=0s", *plain, *self.settings):
            command += ["--set", setting]
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True
            )
        try:
            self._read_addresses()
        except BaseException:
            self.stop()
            self.show_log()
            self.folder.cleanup()
            raise
        return self

    def __exit__(self, kind, _error, _trace):
        status = self.stop()
        if kind is not None or status != 0:
            self.show_log()
        self.folder.cleanup()
        if kind is None and status != 0:
            raise RuntimeError(f"the edge ended with status {status}")

    def client_url(self, path):
        """The address of a door for clients, for example `/websocket/42?channels=news`."""
        return self.websocket + path

    def stop(self):
        """Ends this process and no other, first politely, then by force, and gives its status."""
        self.process.terminate()
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()
        finally:
            self.process.stdout.close()

    def show_log(self):
        """The end of the server's log, where a failed test can be understood."""
        lines = self.log.read_text(errors="replace").splitlines()
        print("--- log of the edge", *lines[-LOG_LINES_SHOWN:], "---", sep="\n", file=sys.stderr)

    def _endpoint(self, kind):
        curve = f"[ingest.endpoints.curve]\n{self.curve}\n" if self.curve else ""
        address = 'endpoint = "tcp://127.0.0.1:*"'
        return f'[[ingest.endpoints]]\nkind = "{kind}"\n{address}\n{curve}'

    def _read_addresses(self):
        # A server that hangs instead of starting is killed, which ends the loop below.
        watch = threading.Timer(START_SECONDS, self.process.kill)
        watch.start()
        endpoints = []
        for line in self.process.stdout:
            if found := re.search(r"ws://[^/\s]+", line):
                self.websocket = found[0]
            elif found := re.match(r"\s+ZeroMQ\s+(\S+)", line):
                endpoints.append(found[1])
            elif found := re.match(r"\s+operators\s+(http://[^/\s]+)", line):
                self.internal = found[1]
                break
        watch.cancel()
        if self.internal is None:
            raise RuntimeError(f"the edge did not start within {START_SECONDS} s")
        self.zeromq = dict(zip(self.kinds, endpoints, strict=True))


def binary():
    """The program under test."""
    path = pathlib.Path(os.environ.get("TIDEGATE", ROOT / "target/debug/tidegate")).resolve()
    if not path.exists():
        sys.exit(f"{path} does not exist: `make build` builds it")
    return path
