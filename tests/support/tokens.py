"""A token endpoint for OAUTHBEARER on loopback: client id and secret in, a signed token out; brokers read its key."""

import json
import threading
import time
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256

from processor.simulator.signing import base64url

AUDIENCE = "kafka"
KEY_ID = "test"
TOKEN_S = 30  # Short, so that a test sees clients renew theirs.


class TokenServer:
    """Knows clients by id and secret; `issued` counts the tokens of each."""

    def __init__(self) -> None:
        self.clients: dict[str, str] = {}
        self.issued: dict[str, int] = {}
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    @property
    def token_url(self) -> str:
        """Where clients ask."""
        return f"{self.url}/token"

    @property
    def keys_url(self) -> str:
        """Where brokers read the key that tokens are signed with."""
        return f"{self.url}/keys"

    def serve(self) -> None:
        """Answer until closed."""
        self._server.serve_forever(poll_interval=0.05)

    def close(self) -> None:
        """End."""
        self._server.shutdown()
        self._server.server_close()

    def token(self, client_id: str, secret: str) -> str | None:
        """Return a token whose subject is the client, None for a wrong secret."""
        if self.clients.get(client_id) != secret:
            return None
        self.issued[client_id] = self.issued.get(client_id, 0) + 1
        now_s = int(time.time())  # noqa: TID251  # a token endpoint has a clock
        claims = {"iss": self.url, "aud": AUDIENCE, "sub": client_id, "iat": now_s, "exp": now_s + TOKEN_S}
        header = {"alg": "RS256", "kid": KEY_ID, "typ": "JWT"}
        signed = b".".join(base64url(json.dumps(part).encode()) for part in (header, claims))
        return b".".join((signed, base64url(self._key.sign(signed, padding.PKCS1v15(), SHA256())))).decode()

    def keys(self) -> dict[str, object]:
        """Return the key set that verifies tokens."""
        numbers = self._key.public_key().public_numbers()
        parts = {"n": numbers.n, "e": numbers.e}
        encoded = {
            name: base64url(value.to_bytes((value.bit_length() + 7) // 8)).decode() for name, value in parts.items()
        }
        return {"keys": [{"kty": "RSA", "use": "sig", "alg": "RS256", "kid": KEY_ID, **encoded}]}


def _handler(server: TokenServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the library's name
            self._answer(200, server.keys())

        def do_POST(self) -> None:  # the library's name
            self.rfile.read(int(self.headers.get("Content-Length", "0")))
            kind, _, given = self.headers.get("Authorization", "").partition(" ")
            client_id, _, secret = b64decode(given).decode().partition(":") if kind == "Basic" else ("", "", "")
            token = server.token(client_id, secret)
            if token is None:
                self._answer(401, {"error": "invalid_client"})
            else:
                self._answer(200, {"access_token": token, "token_type": "Bearer", "expires_in": TOKEN_S})

        def _answer(self, status: int, body: object) -> None:
            raw = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the library's name
            pass

    return Handler


@contextmanager
def token_server() -> Iterator[TokenServer]:
    """Run a token endpoint in a thread while the block runs."""
    server = TokenServer()
    thread = threading.Thread(target=server.serve, name="token-server", daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.close()
        thread.join(5)
