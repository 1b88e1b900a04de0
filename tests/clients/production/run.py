#!/usr/bin/env python3
"""Runs every block of docs/guide/production.md: configuration, three proxies with TLS, four backends, page.

Only addresses, paths and the name of the host are replaced by those of the test. Everything goes as
in production: a backend signs a token and publishes with the key, the client shows the token through
a proxy over TLS. Closes with `N passed, N failed`; what a machine lacks counts as failed.
"""

import asyncio
import contextlib
import http.server
import json
import os
import pathlib
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

FOLDER = pathlib.Path(__file__).resolve().parent
CLIENTS = FOLDER.parent
sys.path[:0] = [str(CLIENTS), str(CLIENTS / "browser")]

import try_page  # noqa: E402
import websockets  # noqa: E402
from edge import ROOT, Edge  # noqa: E402

os.environ["PATH"] += ":/usr/sbin"
GUIDE = (ROOT / "docs/guide/production.md").read_text()
BLOCKS = dict(re.findall(r"^```(\w+)\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL))
SECRET, KEY = "f" * 64, "0123456789abcdef0123456789abcdef"
SECONDS = 60
LANGUAGES = {
    "python": ("py", [sys.executable]),
    "js": ("mjs", ["node"]),
    "go": ("go", ["go", "run"]),
    "php": ("php", ["php"]),
}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def replaced(text, changes):
    """The text with all changes, each of which must find something."""
    for old, new in changes.items():
        if old not in text:
            raise AssertionError(f"{old!r} is not in the block")
        text = text.replace(old, str(new))
    return text


def wait_for(port):
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise AssertionError(f"nobody listens on port {port}")


class Place:
    """What all checks share: a folder with certificate and secrets, and the edge of the guide."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="tidegate-guide-")
        self.path = pathlib.Path(self.folder.name)
        (self.path / "hmac.secret").write_text(SECRET)
        (self.path / "api.key").write_text(KEY)
        names = "subjectAltName=IP:127.0.0.1,DNS:localhost"
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
        command += ["-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext", names]
        command += ["-keyout", self.path / "key", "-out", self.path / "pem"]
        subprocess.run(command, check=True, capture_output=True)
        (self.path / "both").write_text((self.path / "pem").read_text() + (self.path / "key").read_text())
        self.app = free_port()
        os.environ["CREDENTIALS_DIRECTORY"] = str(self.path)
        config = replaced(BLOCKS["toml"], {"https://app.example.com": f"http://127.0.0.1:{self.app}"})
        self.edge = Edge(endpoints=(), config=f"{config}\n[ingest]\nendpoints = []\n", dev=False)

    def __enter__(self):
        self.edge.__enter__()
        self.public = self.edge.websocket.removeprefix("ws://")
        return self

    def __exit__(self, *error):
        self.edge.__exit__(*error)
        self.folder.cleanup()

    @contextlib.contextmanager
    def proxy(self, kind, port=None):
        """The proxy of the guide in front of the edge; gives its port."""
        port = port or free_port()
        text = BLOCKS[kind].replace("127.0.0.1:8000", self.public)
        command, variables = getattr(self, kind)(text, port)
        if shutil.which(command[0]) is None:
            raise AssertionError(f"{command[0]} is missing")
        process = subprocess.Popen(
            command, env={**os.environ, **variables}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            wait_for(port)
            yield port
        finally:
            process.terminate()
            process.wait(SECONDS)

    def nginx(self, text, port):
        changes = {"listen 443 ssl": f"listen 127.0.0.1:{port} ssl"}
        changes |= {f"/etc/ssl/push.example.com.{part}": self.path / part for part in ("pem", "key")}
        folder = self.path / "nginx"
        folder.mkdir()
        paths = "".join(
            f"{kind}_temp_path {folder}/{kind};\n"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        (folder / "conf").write_text(
            f"daemon off;\npid {folder}/pid;\nerror_log {folder}/errors;\nevents {{}}\n"
            f"http {{\naccess_log off;\n{paths}{replaced(text, changes)}}}\n"
        )
        return ["nginx", "-c", str(folder / "conf"), "-e", str(folder / "errors")], {}

    def haproxy(self, text, port):
        changes = {"bind :443": f"bind 127.0.0.1:{port}"}
        changes["/etc/haproxy/push.example.com.pem"] = self.path / "both"
        config = self.path / "haproxy.cfg"
        config.write_text(replaced(text, changes))
        return ["haproxy", "-db", "-f", str(config)], {}

    def caddy(self, text, port):
        # A name of this machine gets a certificate of Caddy's own authority.
        config = self.path / "Caddyfile"
        options = "{\n    admin off\n    auto_https disable_redirects\n    skip_install_trust\n}\n"
        config.write_text(options + replaced(text, {"push.example.com": f"https://127.0.0.1:{port}"}))
        folders = {name: str(self.path) for name in ("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME")}
        return ["caddy", "run", "--adapter", "caddyfile", "--config", str(config)], folders

    def backend(self, language):
        """Runs the backend of the guide and gives the token that it prints."""
        ending, command = LANGUAGES[language]
        if shutil.which(command[0]) is None:
            raise AssertionError(f"{command[0]} is missing")
        path = self.path / f"backend.{ending}"
        path.write_text(replaced(BLOCKS[language], {"http://127.0.0.1:9000": self.edge.internal}))
        variables = {**os.environ, "HMAC_SECRET": SECRET, "API_KEY": KEY}
        done = subprocess.run(
            [*command, path], env=variables, capture_output=True, text=True, timeout=SECONDS
        )
        if done.returncode:
            raise AssertionError(done.stderr)
        return done.stdout.strip()


async def hears(place, port, token, language):
    """A raw client that shows the token through the proxy hears what the backend publishes."""
    unchecked = ssl.create_default_context()
    unchecked.check_hostname, unchecked.verify_mode = False, ssl.CERT_NONE
    uri = f"wss://127.0.0.1:{port}/websocket/42?channels=news"
    protocols = ["tidegate", f"token.{token}"]
    async with websockets.connect(uri, ssl=unchecked, subprotocols=protocols) as client:
        await asyncio.to_thread(place.backend, language)
        return json.loads(await asyncio.wait_for(client.recv(), SECONDS))


def check_proxy(place, kind):
    token = place.backend("python")
    with place.proxy(kind) as port:
        expect(asyncio.run(hears(place, port, token, "python")), "hello from Python")


def check_backend(place, language):
    name = {"python": "Python", "js": "Node", "go": "Go", "php": "PHP"}[language]
    token = place.backend(language)
    with place.proxy("haproxy") as port:
        expect(asyncio.run(hears(place, port, token, language)), f"hello from {name}")


class App(http.server.BaseHTTPRequestHandler):
    """The app's own server: the page, the SDK and tokens."""

    page, token = "", ""

    def do_GET(self):
        files = {"/": ("text/html", self.page), "/token": ("text/plain", self.token)}
        sdk = ROOT / "tests/clients/node_modules/centrifuge/dist/centrifuge.js"
        files["/centrifuge.js"] = ("text/javascript", sdk.read_text())
        kind, body = files.get(self.path, ("text/plain", ""))
        self.send_response(200 if self.path in files else 404)
        self.send_header("Content-Type", kind)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_):
        pass


def check_page(place):
    """The page hears, loses its connection with the proxy, comes back and has missed nothing."""
    App.token = place.backend("python")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", place.app), App)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    flags = ["--ignore-certificate-errors"]
    browser = try_page.Browser(shutil.which("chromium"), shutil.which("chromedriver"), flags)
    items = "[...document.querySelectorAll('#news li')].map((item) => item.textContent)"
    port = free_port()
    App.page = replaced(BLOCKS["html"], {"push.example.com": f"127.0.0.1:{port}"})
    try:
        with place.proxy("haproxy", port):
            browser.call("POST", "/url", {"url": f"http://127.0.0.1:{place.app}/"})
            try_page.wait("it to subscribe", lambda: browser.evaluate("news.state") == "subscribed")
            place.backend("python")
            try_page.wait("the news", lambda: "hello from Python" in browser.evaluate(items))
        try_page.wait("the cut", lambda: browser.evaluate("client.state") == "connecting")
        place.backend("js")
        with place.proxy("haproxy", port):
            try_page.wait("what was missed", lambda: "hello from Node" in browser.evaluate(items))
    finally:
        browser.close()
        server.shutdown()


def check_blocks(_place):
    """No block is left out."""
    expect(set(BLOCKS), {"toml", "nginx", "haproxy", "caddy", *LANGUAGES, "html"})


def expect(actual, expected):
    if actual != expected:
        raise AssertionError(f"expected {expected!r}, found {actual!r}")


CHECKS = [
    (check_blocks,),
    *((check_proxy, kind) for kind in ("nginx", "haproxy", "caddy")),
    *((check_backend, language) for language in LANGUAGES),
    (check_page,),
]


def main():
    failed = 0
    with Place() as place:
        for check, *arguments in CHECKS:
            name = " ".join([check.__name__.removeprefix("check_"), *arguments])
            try:
                check(place, *arguments)
                print(f"ok: {name}", flush=True)
            except Exception as error:
                failed += 1
                print(f"FAILED: {name}: {error}", file=sys.stderr, flush=True)
    print(f"{len(CHECKS) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
