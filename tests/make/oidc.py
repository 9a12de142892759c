"""An OpenID Connect provider for tests: real HTTP, real signatures, accounts of nobody."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT_ID, CLIENT_SECRET = "medvit", "the-secret-of-a-test"
ALGORITHM = "RS256"


@dataclass(frozen=True, slots=True)
class Issuer:
    """The provider's key, accounts and codes.

    Attributes:
        accounts: Claims of each account, by the word on its button.
        codes: Claims and PKCE challenge behind each code that was given out; a code works once.
    """

    url: str
    accounts: Mapping[str, Mapping[str, Any]]
    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "test"}))
    codes: dict[str, tuple[dict[str, Any], str]] = field(default_factory=dict)

    def configuration(self) -> dict[str, Any]:
        """Return what the provider says of itself."""
        return {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/keys",
            "end_session_endpoint": f"{self.url}/end",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": [ALGORITHM],
            "code_challenge_methods_supported": ["S256"],
        }

    def give_code(self, account: str, asked: Mapping[str, str]) -> str:
        """Return where the browser goes after choosing an account."""
        code = secrets.token_urlsafe(16)
        claims = {**self.accounts[account], "nonce": asked.get("nonce", "")}
        self.codes[code] = (claims, asked["code_challenge"])
        return f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}"

    def token(self, code: str, verifier: str) -> dict[str, Any] | None:
        """Return tokens for a code; None when it is unknown, used, or another browser's."""
        claims, challenge = self.codes.pop(code, ({}, ""))
        digest = hashlib.sha256(verifier.encode()).digest()
        if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != challenge:
            return None
        now = int(time.time())
        about = {"iss": self.url, "aud": CLIENT_ID, "iat": now, "exp": now + 600}
        signed = jwt.encode({"alg": ALGORITHM, "kid": "test"}, {**about, **claims}, self.key)
        return {
            "access_token": secrets.token_urlsafe(16),
            "token_type": "Bearer",
            "expires_in": 600,
            "id_token": signed,
        }


class Answers(BaseHTTPRequestHandler):
    """The provider's pages and endpoints."""

    def __init__(self, issuer: list[Issuer], *arguments: Any) -> None:
        self._issuer = issuer
        super().__init__(*arguments)

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        (issuer,) = self._issuer
        path, asked = urlsplit(self.path).path, _flat(urlsplit(self.path).query)
        if path == "/.well-known/openid-configuration":
            self._send_json(issuer.configuration())
        elif path == "/keys":
            self._send_json({"keys": [issuer.key.as_dict(private=False)]})
        elif path == "/authorize" and asked.get("client_id") == CLIENT_ID:
            self._send_page(issuer, asked)
        elif path == "/choose":
            self._redirect(issuer.give_code(asked["account"], asked))
        elif path == "/end":
            self._redirect(asked["post_logout_redirect_uri"])
        else:
            self.send_error(404)

    def do_POST(self) -> None:
        (issuer,) = self._issuer
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        form = _flat(body)
        basic = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
        known = self.headers.get("Authorization") == f"Basic {basic}"
        tokens = issuer.token(form.get("code", ""), form.get("code_verifier", ""))
        if not known or tokens is None:
            self._send_json({"error": "invalid_grant"}, status=400)
        else:
            self._send_json(tokens)

    def _send_page(self, issuer: Issuer, asked: Mapping[str, str]) -> None:
        links = [
            f'<a href="/choose?{urlencode({**asked, "account": name})}">{name}</a>'
            for name in issuer.accounts
        ]
        self._send("text/html", f"<h1>Accounts</h1>{' '.join(links)}".encode(), 200)

    def _send_json(self, answer: Mapping[str, Any], status: int = 200) -> None:
        self._send("application/json", json.dumps(answer).encode(), status)

    def _send(self, kind: str, body: bytes, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _redirect(self, address: str) -> None:
        self.send_response(302)
        self.send_header("Location", address)
        self.send_header("Content-Length", "0")
        self.end_headers()


@contextmanager
def serve_provider(accounts: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Run a provider on this machine; yields its address."""
    issuer: list[Issuer] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Answers, issuer))
    url = f"http://127.0.0.1:{server.server_address[1]}"
    issuer.append(Issuer(url, accounts))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield url
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def auth_file(provider: str, app: str, extra: str = "") -> str:
    """Return a sign-in file for an app at an address."""
    return f"""
[auth]
redirect_uri = "{app}/oauth2callback"
cookie_secret = "{secrets.token_hex(32)}"
client_id = "{CLIENT_ID}"
client_secret = "{CLIENT_SECRET}"
server_metadata_url = "{provider}/.well-known/openid-configuration"
{extra}
"""


def _flat(query: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(query).items()}
