#!/usr/bin/env python3
"""A page with the npm SDK in headless Chromium, whose network goes away and comes back.

Usage: offline.py WEBSOCKET_URL ROUTER_ENDPOINT

The page subscribes to a channel in JSON and in protobuf while a backend publishes numbers. Without
a network it must hear nothing, and afterwards every number, once and in order. Exits with 0 if all
is well, with 1 and one line that says why if not, and with 2 if the tools are missing.
"""

import functools
import http.server
import json
import pathlib
import shutil
import sys
import threading
import time

import zmq
from try_page import Browser, Failure, expect, wait

SDK = pathlib.Path(__file__).resolve().parents[1] / "node_modules/centrifuge/dist"
CHANNEL = "news"
ANSWER_MILLIS = 10_000
PAUSE_SECONDS = 0.01

PAGE = """<!doctype html><meta charset="utf-8"><title>Offline</title>
<script src="{script}"></script>
<script>
  const [states, heard] = [[], []];
  const client = new Centrifuge({address}, {{ minReconnectDelay: 50, maxReconnectDelay: 500 }});
  client.on("state", ({{ newState }}) => states.push(newState));
  const subscription = client.newSubscription("{channel}");
  const read = (data) => data instanceof Uint8Array ? new TextDecoder().decode(data) : data;
  subscription.on("publication", ({{ data }}) => heard.push(Number(read(data))));
  subscription.subscribe();
  client.connect();
</script>
"""


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves the SDK's files and one page for each of them."""

    def __init__(self, *arguments, websocket):
        self.websocket = websocket
        super().__init__(*arguments, directory=str(SDK))

    def do_GET(self):
        script = self.path.removeprefix("/page/")
        if script == self.path:
            return super().do_GET()
        address = json.dumps(f"{self.websocket}/connection/websocket")
        body = PAGE.format(script=f"/{script}", address=address, channel=CHANNEL).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Publisher:
    """A backend that publishes the numbers from 0 on, and waits for each to be answered."""

    def __init__(self, endpoint):
        self.socket = zmq.Context.instance().socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.rcvtimeo = ANSWER_MILLIS
        self.socket.connect(endpoint)
        self.count = 0

    def publish(self, count):
        for _ in range(count):
            self.socket.send_multipart([CHANNEL.encode(), b"%d" % self.count])
            self.socket.recv()
            self.count += 1
            time.sleep(PAUSE_SECONDS)


def set_offline(browser, is_offline):
    conditions = {"offline": is_offline, "latency": 0, "download_throughput": -1}
    conditions["upload_throughput"] = -1
    browser.call("POST", "/chromium/network_conditions", {"network_conditions": conditions})


def check(browser, page, publisher):
    evaluate = browser.evaluate
    first = publisher.count
    browser.call("POST", "/url", {"url": page})
    wait("the subscription", lambda: evaluate("subscription.state") == "subscribed")
    publisher.publish(50)
    for _ in range(2):
        set_offline(browser, True)
        wait("the client to notice", lambda: evaluate("client.state") == "connecting")
        before = evaluate("heard.length")
        publisher.publish(100)
        expect("what is heard without a network", evaluate("heard.length"), before)
        set_offline(browser, False)
        # Goes on while the client comes back.
        publisher.publish(50)
    wait("the rest", lambda: evaluate("heard.length") >= publisher.count - first)
    expect("what is heard", evaluate("heard"), list(range(first, publisher.count)))
    connected = evaluate("states.filter((state) => state === 'connected').length")
    expect("how often it connected", connected, 3)


def main():
    websocket, endpoint = sys.argv[1:]
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        print("missing: apt-get install chromium chromium-driver", file=sys.stderr)
        return 2
    handler = functools.partial(Handler, websocket=websocket)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    publisher = Publisher(endpoint)
    browser = Browser(chromium, driver)
    try:
        for script in ("centrifuge.js", "centrifuge.protobuf.js"):
            page = f"http://127.0.0.1:{server.server_port}/page/{script}"
            check(browser, page, publisher)
            print(f"ok: nothing is lost offline: {script}")
    except Failure as failure:
        print(f"FAILED: {failure}", file=sys.stderr)
        return 1
    finally:
        browser.close()
        server.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
