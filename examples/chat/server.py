#!/usr/bin/env python3
"""The chat's own server: its page, the SDK, and a token for whoever says a name.

Usage: server.py [PORT]     8080 by default

A real app would sign in its users first; here the name in the address is believed. The secret is the
one that the edge verifies tokens with, in hmac.secret beside this file.
"""

import http.server
import pathlib
import sys
import time
import urllib.parse

import jwt

FOLDER = pathlib.Path(__file__).resolve().parent
SDK = FOLDER.parents[1] / "tests/clients/node_modules/centrifuge/dist/centrifuge.js"
SECRET = FOLDER / "hmac.secret"
TOKEN_SECONDS = 600


class Handler(http.server.BaseHTTPRequestHandler):
    """Three paths, and nothing else."""

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        if url.path == "/":
            self.answer("text/html; charset=utf-8", self.server.page)
        elif url.path == "/centrifuge.js":
            self.answer("text/javascript", SDK.read_bytes())
        elif url.path == "/token":
            name = urllib.parse.parse_qs(url.query).get("name", ["guest"])[0]
            now = int(time.time())
            claims = {"sub": name, "iat": now, "exp": now + TOKEN_SECONDS}
            token = jwt.encode(claims, self.server.secret, "HS256")
            self.answer("text/plain", token.encode())
        else:
            self.send_error(404)

    def answer(self, kind, body):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def server(port, secret, page):
    """The server, which `serve_forever` runs."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.secret, server.page = secret, page
    return server


def main():
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8080
    page = (FOLDER / "index.html").read_bytes()
    print(f"Open http://127.0.0.1:{port}/?name=Ada and http://127.0.0.1:{port}/?name=Grace")
    server(port, SECRET.read_text().strip(), page).serve_forever()


if __name__ == "__main__":
    main()
