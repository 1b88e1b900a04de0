"""The shop: takes orders over HTTP at once, finishes them later, and tells each buyer.

POST /orders with {"user": …} is answered with the order's number before anybody knows whether the
stock suffices: that is what makes a sale survive its first second. GET /orders/NUMBER says what
became of it, for whoever missed the message.
"""

import http.server
import json
import queue
import threading
import time

import zmq

# How long the shop waits for the edge's answer before it sends a result again.
ANSWER_MILLISECONDS = 2000

# Every so many results the shop acts as if the answer had been lost, and sends the result again.
FORGETS_EVERY = 5


class Shop:
    """`stock` pieces for sale, told to buyers through the edge's ROUTER at `endpoint`."""

    def __init__(self, stock, endpoint, seconds_per_order):
        self.stock = stock
        self.seconds_per_order = seconds_per_order
        self.buyers = []  # of each order, by its number
        self.results = {}  # of orders that are finished
        self.repeats = 0  # results that were sent again
        self.queue = queue.Queue()
        self.opening = threading.Event()
        self.lock = threading.Lock()
        self.edge = zmq.Context.instance().socket(zmq.DEALER)
        self.edge.linger = 0
        self.edge.rcvtimeo = ANSWER_MILLISECONDS
        self.edge.connect(endpoint)
        handler = type("Handler", (Orders,), {"shop": self})
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}/orders"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        threading.Thread(target=self.work, daemon=True).start()

    def order(self, user):
        with self.lock:
            number = len(self.buyers)
            self.buyers.append(user)
        self.queue.put(number)
        return number

    def work(self):
        """The only place that touches the stock, one order after another: nothing is oversold."""
        self.opening.wait()
        while True:
            number = self.queue.get()
            time.sleep(self.seconds_per_order)  # payment, in a real shop
            result = "you got it" if self.stock > 0 else "sold out"
            self.stock -= result == "you got it"
            # First what GET answers, then the message: who misses the message finds the result.
            self.results[number] = result
            self.tell(number, result)
            if number % FORGETS_EVERY == 0:
                self.repeats += 1
                self.tell(number, result)

    def tell(self, number, result):
        """Sends a result until the edge has answered. The `id` makes repeats harmless."""
        meta = {"op": "user", "user": self.buyers[number], "id": f"order-{number}", "rid": number}
        payload = json.dumps({"order": number, "result": result})
        while True:
            parts = ["$cmd", payload, json.dumps(meta)]
            self.edge.send_multipart([part.encode() for part in parts])
            try:
                answer = json.loads(self.edge.recv())
                while answer.get("rid") != number:  # a late one, to an earlier attempt
                    answer = json.loads(self.edge.recv())
            except zmq.Again:
                self.repeats += 1
                continue
            if not answer["ok"]:
                raise RuntimeError(f"the edge refuses a result: {answer}")
            return


class Orders(http.server.BaseHTTPRequestHandler):
    """The shop's HTTP."""

    shop = None

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.reply({"order": self.shop.order(body["user"])})

    def do_GET(self):
        number = int(self.path.rsplit("/", 1)[1])
        self.reply({"order": number, "result": self.shop.results.get(number)})

    def reply(self, value):
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass
