"""Tokens of another library are taken and ours are read by it, and a running edge keeps its key set
fresh over http and https.
"""

import asyncio
import base64
import contextlib
import datetime
import http.server
import ipaddress
import json
import os
import pathlib
import ssl
import subprocess
import tempfile
import threading
import time
import urllib.request

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from edge import ROOT, Edge, binary
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from peers import expect

SECRET = "as many bytes as the longest signature has, which is sixty-four.."
KEYS = {
    "rsa": (["RS256", "RS384", "RS512"], RSAAlgorithm),
    "p256": (["ES256"], ECAlgorithm),
    "p384": (["ES384"], ECAlgorithm),
    "ed25519": (["EdDSA"], OKPAlgorithm),
}
WAIT_SECONDS = 30


def pem(name, half):
    return (ROOT / f"tests/keys/{name}.{half}.pem").read_text()


def jwk(name):
    public = serialization.load_pem_public_key(pem(name, "public").encode())
    return KEYS[name][1].to_jwk(public, as_dict=True) | {"kid": name, "use": "sig"}


async def tidegate(*arguments, **variables):
    """Status, output and errors of the program."""
    environment = {"PATH": os.environ["PATH"], **variables}
    run = asyncio.to_thread(
        subprocess.run, [binary(), *arguments], env=environment, capture_output=True, text=True
    )
    done = await run
    return done.returncode, done.stdout, done.stderr


async def check(token, *settings):
    """What `checktoken` reads in a token that it takes."""
    arguments = [word for setting in settings for word in ("--set", setting)]
    status, output, error = await tidegate("checktoken", token, *arguments)
    expect((status, error), (0, ""))
    return json.loads(output)


async def refusal(token, *settings):
    """Why `checktoken` refuses a token."""
    arguments = [word for setting in settings for word in ("--set", setting)]
    status, _, error = await tidegate("checktoken", token, *arguments)
    expect(status, 1)
    return error


async def test_tokens_of_every_algorithm_are_taken():
    now = int(time.time())
    claims = {"sub": "42", "iat": now, "exp": now + 60, "aud": ["a", "edge"], "iss": "shop"}
    rules = ("token.audience=edge", "token.issuer=shop")
    for algorithm in ("HS256", "HS384", "HS512"):
        token = jwt.encode(claims, SECRET, algorithm)
        found = await check(token, f"token.hmac_secret={SECRET}", *rules)
        expect((found["user"], found["expires_at"]), ("42", now + 60))
    for name, (algorithms, _) in KEYS.items():
        setting = f"token.public_keys=file:{ROOT}/tests/keys/{name}.public.pem"
        for algorithm in algorithms:
            token = jwt.encode(claims, pem(name, "private"), algorithm)
            expect((await check(token, setting, *rules))["user"], "42")
            message = await refusal(token, f"token.hmac_secret={SECRET}")
            assert "there is no key for its algorithm" in message, message


async def test_claims_arrive_as_they_were_sent():
    claims = {
        "sub": "zoë 🌊",
        "info": {"name": "Ada", "list": [1, 2.5, None]},
        "meta": {"plan": "gold"},
        "channels": ["news"],
        "subs": {
            "sport": {
                "b64data": base64.b64encode(b'{"a": 1}').decode(),
                "override": {"presence": {"value": True}},
            }
        },
        "jti": "t1",
        "exp": time.time() + 60.5,
    }
    found = await check(jwt.encode(claims, SECRET), f"token.hmac_secret={SECRET}")
    for name, claim in [("user", "sub"), ("info", "info"), ("meta", "meta"), ("id", "jti")]:
        expect(found[name], claims[claim])
    expect(found["channels"], ["news"])
    expect(found["subs"]["sport"]["data"], {"a": 1})
    expect(found["subs"]["sport"]["override"]["presence"], True)
    expect(found["expires_at"], int(claims["exp"]))
    token = jwt.encode({"sub": "42", "channel": "news", "client": "c1"}, SECRET)
    found = await check(token, f"token.hmac_secret={SECRET}")
    expect((found["kind"], found["channel"], found["client"]), ("subscription", "news", "c1"))


async def test_wrong_tokens_are_refused():
    now = int(time.time())
    unsigned = jwt.encode({"sub": "42"}, None, "none")
    for token, reason in [
        (unsigned, "algorithm is not supported"),
        (jwt.encode({"sub": "42"}, SECRET[::-1]), "signature is wrong"),
        (jwt.encode({"exp": now - 1}, SECRET), "has expired"),
        (jwt.encode({"nbf": now + 600}, SECRET), "not valid yet"),
        (jwt.encode({"channels": "news"}, SECRET), "claim channels: expected a list of strings"),
        (jwt.encode({}, SECRET, headers={"crit": ["x"], "x": 1}), "demands an extension"),
    ]:
        message = await refusal(token, f"token.hmac_secret={SECRET}")
        assert reason in message, message


async def test_generated_tokens_are_read():
    line = ["gentoken", "--user", "42", "--ttl", "10m", "--info", '{"a":1}', "--claims"]
    line.append('{"aud":"x"}')
    status, token, error = await tidegate(*line, TIDEGATE_TOKEN__HMAC_SECRET=SECRET)
    expect((status, error), (0, ""))
    claims = jwt.decode(token.strip(), SECRET, ["HS256"], audience="x")
    expect((claims["sub"], claims["info"], claims["exp"] - claims["iat"]), ("42", {"a": 1}, 600))
    for name, (algorithms, _) in KEYS.items():
        path = f"{ROOT}/tests/keys/{name}.private.pem"
        _, token, _ = await tidegate("gentoken", "--user", "", "--private-key", path, "--kid", name)
        expect(jwt.get_unverified_header(token.strip())["kid"], name)
        claims = jwt.decode(token.strip(), jwt.PyJWK(jwk(name)), algorithms[:1])
        expect(claims["sub"], "")


async def test_key_sets_are_fetched_over_http_and_rotated():
    with provider() as (address, publish), Edge(
        f"token.jwks_url={address}", "token.jwks_refresh=10s"
    ) as edge:
        # The server has no set yet, so the first attempt fails, and is repeated.
        await eventually(edge, "tidegate_key_set_loads_total", 'result="failed"', 1)
        publish([jwk("rsa"), jwk("p256"), {"kty": "oct", "k": "AAAA", "kid": "s"}])
        await eventually(edge, "tidegate_token_keys", "", 2)
        setting = f"token.jwks_url={address}"
        token = jwt.encode({"sub": "42"}, pem("rsa", "private"), "RS256", {"kid": "rsa"})
        expect((await check(token, setting))["user"], "42")
        publish([jwk("ed25519")])
        await eventually(edge, "tidegate_token_keys", "", 1)
        assert "not in the key set" in await refusal(token, setting)


async def test_key_sets_are_fetched_over_https():
    with provider(tls=True) as (address, publish):
        publish([jwk("ed25519")])
        token = jwt.encode({"sub": "42"}, pem("ed25519", "private"), "EdDSA", {"kid": "ed25519"})
        setting = ["--set", f"token.jwks_url={address}"]
        status, output, error = await tidegate(
            "checktoken", token, *setting, SSL_CERT_FILE=publish.certificate
        )
        expect((status, error), (0, ""))
        expect(json.loads(output)["user"], "42")
        # Without the certificate among the roots nobody is believed.
        status, _, error = await tidegate("checktoken", token, *setting)
        expect(status, 1)
        assert "certificate" in error, error


async def eventually(edge, metric, label, least):
    """Waits until a metric of a running edge has at least a value."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        with urllib.request.urlopen(f"{edge.internal}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        name = f"{metric}{{{label}}}" if label else metric
        values = [float(line.split()[-1]) for line in lines if line.startswith(f"{name} ")]
        if values and (values[0] == least if not label else values[0] >= least):
            return
        assert time.monotonic() < deadline, f"{name} is {values}"
        await asyncio.sleep(0.1)


@contextlib.contextmanager
def provider(tls=False):
    """A web server, its address, and a function that sets the keys it publishes."""
    answer = {"body": None}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = answer["body"]
            self.send_response(200 if body else 503)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def publish(keys):
        answer["body"] = json.dumps({"keys": keys}).encode()

    with contextlib.ExitStack() as stack:
        if tls:
            folder = tempfile.TemporaryDirectory(prefix="tidegate-test-")
            folder = pathlib.Path(stack.enter_context(folder))
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            publish.certificate = str(certificate(folder))
            context.load_cert_chain(publish.certificate, folder / "key.pem")
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            scheme = "https" if tls else "http"
            yield f"{scheme}://127.0.0.1:{server.server_port}/jwks.json", publish
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


def certificate(folder):
    """Makes a key and a certificate for 127.0.0.1 that is its own root."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .sign(key, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    private = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(key.private_bytes(encoding, *private))
    (folder / "certificate.pem").write_bytes(made.public_bytes(encoding))
    return folder / "certificate.pem"
