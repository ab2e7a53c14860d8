"""A stand-in for an OpenID provider: gives out unsecured tokens for client credentials."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote_plus

CLIENT, SECRET = "burngate", "not %quite: simple+"


def unsecured(seconds: float) -> str:
    """A token that Kafka's own unsecured validator takes."""
    now_s = time.time()
    parts = {"alg": "none"}, {"sub": CLIENT, "iat": now_s, "exp": now_s + seconds}
    packed = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return f"{'.'.join(packed)}."


@dataclass
class Provider:
    seconds: float = 3600
    url: str = ""
    asked: list[dict[str, list[str]]] = field(default_factory=list)
    answer: Callable[[], tuple[int, bytes]] | None = None
    """Instead of a token."""

    def respond(self, authorization: str, form: dict[str, list[str]]) -> tuple[int, bytes]:
        self.asked.append(form)
        if self.answer is not None:
            return self.answer()
        kind, _, packed = authorization.partition(" ")
        client, _, secret = base64.b64decode(packed).decode().partition(":")
        if (kind, unquote_plus(client), unquote_plus(secret)) != ("Basic", CLIENT, SECRET):
            return 401, b'{"error": "invalid_client"}'
        if form.get("grant_type") != ["client_credentials"]:
            return 400, b'{"error": "unsupported_grant_type"}'
        token = {"access_token": unsecured(self.seconds), "token_type": "Bearer", "expires_in": self.seconds}
        return 200, json.dumps(token).encode()


@contextmanager
def provider(seconds: float = 3600) -> Iterator[Provider]:
    made = Provider(seconds)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            status, body = made.respond(self.headers["Authorization"], form)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        made.url = f"http://127.0.0.1:{server.server_port}/oauth2/token"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield made
        finally:
            server.shutdown()
            thread.join()
