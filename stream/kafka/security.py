"""How the clients talk to the brokers: plainly, over TLS, logged in; the same for every one of them."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from aiokafka.helpers import create_ssl_context

from stream.errors import UsageError
from stream.kafka.oauth import OAuth, Tokens
from stream.settings import Settings
from stream.words import printable


@dataclass(frozen=True, slots=True)
class Security:
    """``protocol``: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL. Files are PEM.

    Without ``cafile`` the system's authorities are trusted; a broker's name is always checked.
    """

    protocol: str = "PLAINTEXT"
    mechanism: str = "PLAIN"
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    cafile: Path | None = None
    certfile: Path | None = None
    keyfile: Path | None = None
    oauth: OAuth | None = None
    """With the mechanism OAUTHBEARER."""

    @property
    def user(self) -> str | None:
        """Whom we log in as."""
        return self.username if self.oauth is None else self.oauth.client_id

    def options(self) -> dict[str, Any]:
        """Keyword arguments for any aiokafka client. Raises :class:`UsageError` for unusable files."""
        options: dict[str, Any] = {"security_protocol": self.protocol}
        if (tokens := self.tokens()) is not None:
            options |= {"sasl_mechanism": self.mechanism, "sasl_oauth_token_provider": tokens}
        elif self.protocol.startswith("SASL_"):
            options |= {
                "sasl_mechanism": self.mechanism,
                "sasl_plain_username": self.username,
                "sasl_plain_password": self.password,
            }
        if self.protocol.endswith("SSL"):
            options["ssl_context"] = self._context()
        return options

    def tokens(self) -> Tokens | None:
        """The same for all clients; None without OAUTHBEARER."""
        return None if self.oauth is None else _tokens(self.oauth, self.cafile)

    def _context(self) -> ssl.SSLContext:
        try:
            context: ssl.SSLContext = create_ssl_context(
                cafile=self.cafile, certfile=self.certfile, keyfile=self.keyfile
            )
        except (ssl.SSLError, OSError) as error:
            files = ", ".join(printable(file) for file in (self.cafile, self.certfile, self.keyfile) if file)
            raise UsageError(f"no certificates or keys can be loaded from {files}: {error}") from None
        return context


@lru_cache(maxsize=8)
def _tokens(oauth: OAuth, cafile: Path | None) -> Tokens:
    return Tokens(oauth, cafile)


PLAINTEXT = Security()


def security_of(settings: Settings) -> Security:
    """What a worker was told about it."""
    password, secret = settings.sasl_password, settings.oauth_client_secret
    oauth = None
    if settings.sasl_mechanism == "OAUTHBEARER":
        assert settings.oauth_token_url is not None
        assert settings.oauth_client_id is not None
        assert secret is not None
        oauth = OAuth(
            settings.oauth_token_url,
            settings.oauth_client_id,
            secret.get_secret_value(),
            settings.oauth_scope,
            tuple((name, value) for name, _, value in (e.partition("=") for e in settings.oauth_extensions)),
        )
    return Security(
        settings.security_protocol,
        settings.sasl_mechanism,
        settings.sasl_username,
        None if password is None else password.get_secret_value(),
        settings.ssl_cafile,
        settings.ssl_certfile,
        settings.ssl_keyfile,
        oauth,
    )
