"""Who is compared: what each needs, how it is started, and how it is published to."""

import dataclasses
import importlib.metadata
import json
import pathlib
import re
import shutil
import subprocess
from collections.abc import Callable

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BUILT = ROOT / "target/versus"
TIDEGATE = ROOT / "target/release/tidegate"
PYTHON = BUILT / "python/bin/python"
NCHAN = pathlib.Path("/usr/lib/nginx/modules/ngx_nchan_module.so")
WS = HERE / "node/node_modules/ws/package.json"

# Debian packages, and the program or file that each is for.
DEBIAN = {
    "nginx": "nginx",
    "libnginx-mod-nchan": NCHAN,
    "pushpin": "pushpin",
    "condure": "condure",
    "nodejs": "node",
    "npm": "npm",
}


def is_there(need):
    """Whether a program or a file is there."""
    return bool(shutil.which(need)) or pathlib.Path(need).exists()


def installing():
    """The commands that install everything, in order. Debian starts nginx and Pushpin after it has
    installed them."""
    packages = [package for package, need in DEBIAN.items() if not is_there(need)]
    if packages:
        yield ["apt-get", "install", "-y", "--no-install-recommends", *packages]
    yield ["make", "-C", ROOT, "build"]
    build = ["cargo", "build", "--release", "--locked", "--target-dir", BUILT]
    yield [*build, "--manifest-path", HERE / "rust/Cargo.toml"]
    yield ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", HERE / "node"]
    yield ["python3", "-m", "venv", BUILT / "python"]
    yield [PYTHON, "-m", "pip", "install", "-q", "-r", HERE / "python/requirements.txt"]


@dataclasses.dataclass
class Peer:
    """A server. `command` is given a `Place`; so are the formats of `url` and `publish`."""

    needs: list
    version: Callable
    command: Callable
    url: str
    endpoint: str
    body: str | None = None
    # Seconds between two steps, for what a server has to do when connections close.
    rest: int = 1

    def missing(self):
        """What it needs and this machine lacks."""
        return [str(need) for need in self.needs if not is_there(need)]


@dataclasses.dataclass
class Place:
    """Where a server runs: a directory of its own, ports, and the limit of descriptors."""

    directory: pathlib.Path
    public: int
    publish: int
    internal: int
    descriptors: int

    def fill(self, folder, *names):
        """Copies configuration files into the directory, with what is @named@ filled in."""
        for name in names:
            text = (HERE / folder / name).read_text()
            for key, value in dataclasses.asdict(self).items():
                text = text.replace(f"@{key.upper()}@", str(value))
            (self.directory / name).write_text(text)
        return self.directory / names[0]


def said(*command):
    """The first version number in what a command says."""
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    return re.search(r"\d+(\.\d+)+", run.stdout + run.stderr)[0]


def debian(package):
    return said("dpkg-query", "-W", "-f", "${Version}", package)


def crate(name):
    lock = (HERE / "rust/Cargo.lock").read_text()
    return re.search(rf'name = "{name}"\nversion = "(.*)"', lock)[1]


def wheel(name):
    paths = [str(path) for path in (BUILT / "python/lib").glob("python*/site-packages")]
    return next(importlib.metadata.distributions(name=name, path=paths)).version


def tidegate(place):
    endpoint = f'[{{kind = "pull", endpoint = "tcp://127.0.0.1:{place.publish}"}}]'
    return [
        TIDEGATE, "serve", "--shards", "1", "--log-level", "warn",
        "--public-address", f"127.0.0.1:{place.public}",
        "--internal-address", f"127.0.0.1:{place.internal}",
        "--set", f"ingest.endpoints={endpoint}",
        # The limit of openings per second is what a bench of openings would measure.
        "--set", "handshake.rate=0",
    ]  # fmt: skip


def nchan(place):
    return ["nginx", "-p", place.directory, "-c", place.fill("nchan", "nginx.conf")]


def pushpin(place):
    for name in ("run", "log"):
        (place.directory / name).mkdir()
    return ["pushpin", f"--config={place.fill('pushpin', 'pushpin.conf', 'routes')}"]


def rust(name):
    def command(place):
        ports = (place.public, place.publish)
        return [BUILT / "release" / name, *[f"127.0.0.1:{port}" for port in ports]]

    return command


def python(name):
    def command(place):
        return [PYTHON, HERE / "python" / name, str(place.public), str(place.publish)]

    return command


POSTED = "http://127.0.0.1:{publish}/publish"
ITEM = {"channel": "test", "formats": {"ws-message": {"content-bin": "{base64}"}}}

PEERS = {
    "tidegate": Peer(
        needs=[TIDEGATE],
        version=lambda: said(TIDEGATE, "--version"),
        command=tidegate,
        url="ws://127.0.0.1:{public}/websocket?channels=bench",
        endpoint="tcp://127.0.0.1:{publish}",
    ),
    "nchan": Peer(
        needs=["nginx", NCHAN],
        version=lambda: f"{debian('libnginx-mod-nchan')}, nginx {said('nginx', '-v')}",
        command=nchan,
        url="ws://127.0.0.1:{public}/sub",
        endpoint="http://127.0.0.1:{publish}/pub",
    ),
    "pushpin": Peer(
        needs=["pushpin", "condure"],
        version=lambda: f"{said('pushpin', '--version')}, condure {said('condure', '--version')}",
        command=pushpin,
        url="ws://127.0.0.1:{public}/ws",
        endpoint="http://127.0.0.1:{publish}/publish/",
        body=json.dumps({"items": [ITEM]}),
        # Of 10,000 that close at once it keeps thousands subscribed until a minute has passed.
        rest=75,
    ),
    "tokio-tungstenite": Peer(
        needs=[BUILT / "release/tokio_tungstenite"],
        version=lambda: crate("tokio-tungstenite"),
        command=rust("tokio_tungstenite"),
        url="ws://127.0.0.1:{public}/",
        endpoint=POSTED,
    ),
    "fastwebsockets": Peer(
        needs=[BUILT / "release/fastwebsockets"],
        version=lambda: crate("fastwebsockets"),
        command=rust("fastwebsockets"),
        url="ws://127.0.0.1:{public}/",
        endpoint=POSTED,
    ),
    "ws": Peer(
        needs=["node", WS],
        version=lambda: f"{json.loads(WS.read_text())['version']}, Node {said('node', '-v')}",
        command=lambda place: [
            "node", HERE / "node/server.js", str(place.public), str(place.publish)
        ],
        url="ws://127.0.0.1:{public}/",
        endpoint=POSTED,
    ),
    "websockets": Peer(
        needs=[PYTHON],
        version=lambda: f"{wheel('websockets')}, Python {said(PYTHON, '--version')}",
        command=python("websockets_server.py"),
        url="ws://127.0.0.1:{public}/",
        endpoint=POSTED,
    ),
    "picows": Peer(
        needs=[PYTHON],
        version=lambda: f"{wheel('picows')}, Python {said(PYTHON, '--version')}",
        command=python("picows_server.py"),
        url="ws://127.0.0.1:{public}/",
        endpoint=POSTED,
    ),
}
