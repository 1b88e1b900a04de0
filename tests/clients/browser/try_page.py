#!/usr/bin/env python3
"""Uses the try page as a person would, in headless Chromium.

Usage: try_page.py INTERNAL_URL [WEBSOCKET_URL] [--screenshot FILE]

INTERNAL_URL is where the edge serves the page, for example http://127.0.0.1:9000; the edge must
run with --dev. WEBSOCKET_URL, if given, is what the page must find out by itself. Needs Debian's
packages chromium and chromium-driver and nothing else: WebDriver (W3C) is JSON over HTTP, so the
standard library speaks it. Exits with 0 if all is well, with 1 and one line that says why if not,
and with 2 if the tools are missing.
"""

import argparse
import base64
import json
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--window-size=1000,1150",
]
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
PATIENCE_SECONDS = 15
UNHEARD_SECONDS = 1.5
ROOT = pathlib.Path(__file__).resolve().parents[3]
PACKAGE = ROOT / "tests/clients/node_modules/centrifuge"
VENDORED = ROOT / "src/api/page/centrifuge.js"


class Failure(Exception):
    """Something on the page is not as promised."""


class Browser:
    """One WebDriver session and the driver process that serves it."""

    def __init__(self, chromium, driver, flags=()):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self.process = subprocess.Popen(
            [driver, f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self.base = f"http://127.0.0.1:{port}"
        self.session = None
        try:
            wait("the driver", self._is_ready)
            options = {"binary": chromium, "args": [*FLAGS, *flags, f"--user-data-dir={self.profile.name}"]}
            wanted = {"browserName": "chrome", "goog:chromeOptions": options}
            wanted["goog:loggingPrefs"] = {"browser": "ALL"}
            answer = self._call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
            self.session = answer["sessionId"]
        except BaseException:
            self.close()
            raise

    def close(self):
        if self.session:
            try:
                self.call("DELETE", "")
            except (Failure, OSError):
                pass
        self.process.terminate()
        self.process.wait()
        self.profile.cleanup()

    def call(self, method, path, body=None):
        return self._call(method, f"/session/{self.session}{path}", body)

    def find(self, selector):
        query = {"using": "css selector", "value": selector}
        return f"/element/{self.call('POST', '/element', query)[ELEMENT]}"

    def click(self, selector):
        self.call("POST", self.find(selector) + "/click", {})

    def fill(self, selector, text):
        element = self.find(selector)
        self.call("POST", element + "/clear", {})
        self.call("POST", element + "/value", {"text": text})

    def text(self, selector):
        return self.call("GET", self.find(selector) + "/text")

    def evaluate(self, script):
        return self.call("POST", "/execute/sync", {"script": f"return {script}", "args": []})

    def _is_ready(self):
        try:
            return self._call("GET", "/status")["ready"]
        except OSError:
            return False

    def _call(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.base + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return json.load(response)["value"]
        except urllib.error.HTTPError as error:
            message = json.load(error)["value"]["message"].splitlines()[0]
            raise Failure(f"WebDriver {method} {path}: {message}") from None


def wait(what, condition):
    """Waits until a condition holds and gives its value."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise Failure(f"waited {PATIENCE_SECONDS} s in vain for {what}")
        time.sleep(0.05)


def expect(what, actual, expected):
    if actual != expected:
        raise Failure(f"{what}: expected {expected!r}, found {actual!r}")


def messages(browser):
    """The messages in the log, newest first, each as [time, payload, size, latency]."""
    rows = "[...document.querySelectorAll('#log tr.message')]"
    return browser.evaluate(rows + ".map((row) => [...row.cells].map((cell) => cell.textContent))")


def publish(browser, to, target, payload):
    """Publishes through the form and waits until the message is in the log."""
    before = len(messages(browser))
    browser.click(f"input[name=to][value={to}]")
    if target is not None:
        browser.fill("#target", target)
    browser.fill("#data", payload)
    browser.click("#publish")
    # A failed request tells so at once, and more than a missing message would.
    wait(
        f"the message to {to}, or an error",
        lambda: len(messages(browser)) > before or browser.evaluate(
            "document.querySelector('#result').hasAttribute('data-failed')"
        ),
    )
    wait("the result line", lambda: browser.text("#result"))
    result = browser.text("#result")
    if not re.fullmatch(r"Reached [1-9]\d* sessions? \(answered in \d+\.\d ms\)", result):
        raise Failure(f"publishing to {to}: {result}")
    log = messages(browser)
    expect(f"messages after publishing to {to}", len(log), before + 1)
    moment, seen, size, latency = log[0]
    expect("payload", seen, payload)
    expect("size", size, f"{len(payload.encode())} B")
    for name, value, form in [
        ("time", moment, r"\d\d:\d\d:\d\d\.\d{3}"),
        ("latency", latency, r"\d+\.\d ms"),
    ]:
        if not re.fullmatch(form, value):
            raise Failure(f"{name} of the message to {to} is {value!r}")
    print(f"ok: publish to {' '.join(filter(None, [to, target]))}: {latency}")


def events(browser):
    """The events in the log, newest first."""
    rows = "[...document.querySelectorAll('#log tr.event')]"
    return browser.evaluate(rows + ".map((row) => row.cells[1].textContent)")


def expect_event(browser, part):
    wait(f"the event {part!r}", lambda: any(part in event for event in events(browser)))


def check_unheard(browser):
    """What is published before anybody listens has no latency, now or later."""
    browser.fill("#target", "news")
    browser.fill("#data", "twice")
    browser.click("#publish")
    hint = "Published, but nobody is subscribed: press Connect first"
    wait("the hint", lambda: browser.text("#result").startswith(hint))
    time.sleep(UNHEARD_SECONDS)
    browser.click("#connect")
    wait("the connection", lambda: browser.text("#state") == "Connected")
    publish(browser, "channel", "news", "twice")
    latency = float(messages(browser)[0][3].split()[0])
    if latency >= UNHEARD_SECONDS * 1000:
        raise Failure(f"the latency {latency} ms is that of an earlier message")
    expect("columns of an event", browser.evaluate(
        "document.querySelector('#log tr.event').cells[1].colSpan"), 3)
    browser.click("#disconnect")
    wait("the close", lambda: browser.text("#state").startswith("Connection closed (code 1000"))
    browser.click("#clear")


def check_refusal(browser):
    """The page says why the edge refused, which the browser does not tell it."""
    browser.fill("#channels", "ghost:1")
    browser.click("#connect")
    wait("the reason", lambda: "Could not connect: status 4" in browser.text("#state"))
    if "namespace" not in browser.text("#state"):
        raise Failure(f"the reason is {browser.text('#state')!r}")
    print(f"ok: {browser.text('#state')}")


def check_sdk(browser):
    """The SDK recovers what it missed while its network was gone."""
    browser.click("#tab-sdk")
    browser.click("#clear")
    browser.fill("#channels", "news")
    browser.click("#connect")
    expect_event(browser, "Subscribed to news at offset")
    browser.fill("#target", "news")
    publish_only(browser, "one")
    wait("the first", lambda: len(messages(browser)) == 1)
    browser.click("#offline")
    wait("no network", lambda: browser.text("#state") == "Offline")
    for text in ["two", "three"]:
        publish_only(browser, text)
    expect("messages without a network", len(messages(browser)), 1)
    browser.click("#offline")
    expect_event(browser, "with all that was missed")
    seen = [row[1].split("  (offset ")[0] for row in messages(browser)]
    expect("messages afterwards", seen, ["three", "two", "one"])
    browser.click("#history")
    expect_event(browser, "three | ")
    browser.click("#presence")
    expect_event(browser, "news: 1 here: nobody in particular")
    browser.click("#disconnect")
    wait("the end", lambda: browser.text("#state").startswith("Disconnected"))
    print("ok: the SDK recovers, and shows history and presence")


def publish_only(browser, text):
    browser.fill("#data", text)
    browser.evaluate("showResult('', false)")
    browser.click("#publish")
    wait("the result", lambda: browser.text("#result"))


def check(browser, internal, websocket):
    browser.call("POST", "/url", {"url": internal})
    wait("the facts", lambda: browser.text("#facts"))
    if browser.evaluate("document.querySelector('#publish').disabled"):
        raise Failure(f"the page does not let us publish: {browser.text('#result')}")
    if websocket and websocket.rstrip("/") not in browser.text("#facts"):
        raise Failure(f"the page looks for WebSockets at {browser.text('#facts')!r}")
    expect("state", browser.text("#state"), "Not connected")
    check_unheard(browser)
    browser.fill("#user", "42")
    browser.fill("#channels", "news, sport")
    browser.click("#connect")
    wait("the connection", lambda: browser.text("#state") == "Connected")
    print(f"ok: connected to {browser.text('#url')}")
    publish(browser, "channel", "news", "Hello, <b>wörld</b> 🌊")
    publish(browser, "user", "42", '{"for": 42}')
    publish(browser, "all", None, "to everybody")
    expect("counter of messages", browser.text("#count"), "3")
    if not re.fullmatch(r"\d+\.\d ms", browser.text("#median")):
        raise Failure(f"median latency is {browser.text('#median')!r}")
    # A channel that the connection did not join: nobody else is connected.
    browser.click("input[name=to][value=channel]")
    browser.fill("#target", "elsewhere")
    browser.click("#publish")
    hint = "Published, but nobody is subscribed ("
    wait("no session", lambda: browser.text("#result").startswith(hint))
    expect("counter of messages", browser.text("#count"), "3")
    print("ok: a channel without subscribers reaches nobody")
    browser.click("#disconnect")
    wait("the close", lambda: browser.text("#state").startswith("Connection closed (code 1000"))
    print(f"ok: {browser.text('#state')}")
    check_sdk(browser)
    logs = browser.call("POST", "/se/log", {"type": "browser"})
    severe = [entry["message"] for entry in logs if entry["level"] == "SEVERE"]
    expect("errors on the console", severe, [])
    # A browser writes a refused handshake onto the console.
    browser.click("#tab-raw")
    check_refusal(browser)
    check_vendored()


def check_vendored():
    """The SDK in the binary is the published one, of the version that the tests install."""
    published = PACKAGE.joinpath("dist/centrifuge.js").read_text()
    published = published.split("//# sourceMappingURL")[0].strip()
    version = json.loads(PACKAGE.joinpath("package.json").read_text())["version"]
    ours = VENDORED.read_text()
    expect("the SDK of the page", ours.split("*/\n", 1)[1].strip() == published, True)
    expect("its version", f"centrifuge {version}," in ours.splitlines()[0], True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("internal_url")
    parser.add_argument("websocket_url", nargs="?")
    parser.add_argument("--screenshot", metavar="FILE", help="save a picture of the page here")
    arguments = parser.parse_args()
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        print("missing: apt-get install chromium chromium-driver", file=sys.stderr)
        return 2
    try:
        browser = Browser(chromium, driver)
        try:
            check(browser, arguments.internal_url, arguments.websocket_url)
        finally:
            if arguments.screenshot:
                picture = base64.b64decode(browser.call("GET", "/screenshot"))
                with open(arguments.screenshot, "wb") as file:
                    file.write(picture)
            browser.close()
    except (Failure, OSError) as error:
        print(f"FAILED: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
