"""Tokens for SASL OAUTHBEARER, from an OpenID provider by the client's own credentials (RFC 6749, 4.4).

One token serves all clients of a process, whatever thread their event loop runs in. It is asked for anew when
four fifths of its time are over; while the provider does not answer, the old one is used for as long as it is
good.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from urllib.parse import quote_plus, urlencode

import msgspec
from aiokafka.abc import AbstractTokenProvider
from aiokafka.errors import KafkaConnectionError

log = logging.getLogger(__name__)

TIMEOUT_S = 10.0
USED_SHARE = 0.8
ASSUMED_S = 300.0
"""A token's time, where the provider does not tell it."""
_MAX_ANSWER_BYTES = 1 << 20
_MAX_REASON_CHARS = 200


class TokenError(KafkaConnectionError):  # type: ignore[misc]  # aiokafka is untyped here
    """There is no token, and so no connection. To be tried again, as other failures to connect are."""


@dataclass(frozen=True, slots=True)
class OAuth:
    """``token_url``: where the provider gives out tokens. ``extensions`` go to the broker with each token."""

    token_url: str
    client_id: str
    client_secret: str = field(repr=False)
    scope: str | None = None
    extensions: tuple[tuple[str, str], ...] = ()


class _Answer(msgspec.Struct):
    access_token: str
    expires_in: float | str | None = None


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    renew_s: float
    ends_s: float
    """Both by the monotonic clock."""


class Tokens(AbstractTokenProvider):  # type: ignore[misc]  # aiokafka is untyped here
    """What aiokafka asks for a token at each login."""

    def __init__(
        self, oauth: OAuth, cafile: Path | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """``cafile``: authorities to trust beside the system's."""
        self._oauth = oauth
        self._cafile = cafile
        self._clock = clock
        self._token: _Token | None = None
        self._lock = threading.Lock()

    async def token(self) -> str:
        """Raises :class:`TokenError`."""
        known = self._token
        if known is not None and self._clock() < known.renew_s:
            return known.text
        return await asyncio.to_thread(self._renewed)

    def extensions(self) -> Mapping[str, str]:
        return dict(self._oauth.extensions)

    def _renewed(self) -> str:
        """In a thread. Who waited while another one asked has its answer."""
        with self._lock:
            known = self._token
            if known is not None and self._clock() < known.renew_s:
                return known.text
            try:
                self._token = self._ask()
            except TokenError as error:
                if known is None or self._clock() >= known.ends_s:
                    raise
                log.warning("the token for Kafka could not be renewed, the old one is used: %s", error)
                return known.text
            return self._token.text

    def _ask(self) -> _Token:
        oauth, asked_s = self._oauth, self._clock()
        wanted = {"grant_type": "client_credentials"}
        if oauth.scope:
            wanted["scope"] = oauth.scope
        login = f"{quote_plus(oauth.client_id)}:{quote_plus(oauth.client_secret)}".encode()
        request = urllib.request.Request(  # noqa: S310 - settings take http and https alone
            oauth.token_url,
            urlencode(wanted).encode(),
            {"Authorization": f"Basic {base64.b64encode(login).decode()}", "Accept": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S, context=self._context()) as answer:  # noqa: S310
                return _read(answer.read(_MAX_ANSWER_BYTES), asked_s)
        except urllib.error.HTTPError as error:
            reason = f"{error.code} {error.reason}: {_explanation(error)}"
        except (OSError, ValueError, HTTPException) as error:
            reason = _beginning(str(getattr(error, "reason", error)).encode()) or type(error).__name__
        raise TokenError(f"no token from {oauth.token_url}: {reason}")

    def _context(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        if self._cafile is not None:
            context.load_verify_locations(self._cafile)
        return context


def _read(data: bytes, asked_s: float) -> _Token:
    """Raises ValueError."""
    try:
        answer = msgspec.json.decode(data, type=_Answer)
        length_s = ASSUMED_S if answer.expires_in is None else float(answer.expires_in)
    except (msgspec.DecodeError, ValueError):
        raise ValueError("the answer has no access_token, or is not what OAuth says") from None
    if not answer.access_token.isascii() or not answer.access_token.isprintable() or not answer.access_token:
        raise ValueError("the access_token is none")
    if not 0 < length_s < float("inf"):
        raise ValueError(f"the token is over when it comes (expires_in: {length_s:g})")
    return _Token(answer.access_token, asked_s + USED_SHARE * length_s, asked_s + length_s)


def _explanation(error: urllib.error.HTTPError) -> str:
    try:
        return _beginning(error.read(_MAX_ANSWER_BYTES))
    except (OSError, HTTPException):
        return "the explanation was cut short"


def _beginning(body: bytes) -> str:
    """Of what a provider says to explain itself; never more than a line."""
    text = " ".join(body.decode("utf-8", "replace").split())
    return "".join(char for char in text if char.isprintable())[:_MAX_REASON_CHARS]
