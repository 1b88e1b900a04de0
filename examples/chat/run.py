#!/usr/bin/env python3
"""Two windows of the chat in headless Chromium: both hear both, and who was away misses nothing."""

import pathlib
import secrets
import shutil
import sys
import threading

FOLDER = pathlib.Path(__file__).resolve().parent
CLIENTS = FOLDER.parents[1] / "tests/clients"
sys.path[:0] = [str(CLIENTS), str(CLIENTS / "browser")]

import server  # noqa: E402
from edge import Edge  # noqa: E402
from try_page import Browser, Failure, expect, wait  # noqa: E402

LINES = "[...document.querySelectorAll('#messages li')].map((line) => line.textContent)"


def window(page, name):
    browser = Browser(shutil.which("chromium"), shutil.which("chromedriver"))
    browser.call("POST", "/url", {"url": f"{page}?name={name}"})
    wait(f"{name} to be there", lambda: name in browser.text("#here"))
    return browser


def say(browser, text):
    browser.fill("#text", text)
    browser.click("form button")
    wait("it to be sent", lambda: browser.evaluate("document.getElementById('text').value") == "")


def sees(browser, lines):
    wait(f"{lines}", lambda: browser.evaluate(LINES) == lines)


def set_offline(browser, is_offline):
    conditions = {"offline": is_offline, "latency": 0, "download_throughput": -1}
    conditions["upload_throughput"] = -1
    browser.call("POST", "/chromium/network_conditions", {"network_conditions": conditions})


def check(page, windows):
    windows.append(ada := window(page, "Ada"))
    say(ada, "anybody here?")
    windows.append(grace := window(page, "Grace"))
    sees(grace, ["Ada: anybody here?"])
    wait("Ada to see Grace", lambda: ada.text("#here") == "Ada, Grace")
    say(grace, "me")
    set_offline(ada, True)
    wait("Ada to be offline", lambda: ada.text("#state") == "connecting")
    say(grace, "where are you?")
    wait("Grace to see Ada go", lambda: grace.text("#here") == "Grace")
    set_offline(ada, False)
    lines = ["Ada: anybody here?", "Grace: me", "Grace: where are you?"]
    sees(ada, lines)
    sees(grace, lines)
    say(ada, "<b>back</b>")
    for browser in windows:
        sees(browser, [*lines, "Ada: <b>back</b>"])
    expect("who is here", ada.text("#here"), "Ada, Grace")


def main():
    secret = secrets.token_hex(32)
    with server.server(0, secret, b"") as app:
        page = f"http://127.0.0.1:{app.server_port}/"
        config = (FOLDER / "tidegate.toml").read_text().replace("file:hmac.secret", secret)
        config = config.replace("http://127.0.0.1:8080", page.rstrip("/"))
        quick = ["heartbeat.ping_interval=1s", "heartbeat.pong_deadline=1s"]
        with Edge(*quick, endpoints=(), config=config, dev=False) as edge:
            html = (FOLDER / "index.html").read_text()
            app.page = html.replace("ws://127.0.0.1:8000", edge.websocket).encode()
            threading.Thread(target=app.serve_forever, daemon=True).start()
            windows = []
            try:
                check(page, windows)
            except Failure as failure:
                print(f"FAILED: {failure}", file=sys.stderr)
                print("0 passed, 1 failed")
                return 1
            finally:
                for browser in windows:
                    browser.close()
                app.shutdown()
    print("1 passed, 0 failed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
