"""How the clients talk to the brokers: plainly, over TLS, logged in; the same for every one of them."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiokafka.helpers import create_ssl_context

from stream.errors import UsageError
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

    def options(self) -> dict[str, Any]:
        """Keyword arguments for any aiokafka client. Raises :class:`UsageError` for unusable files."""
        options: dict[str, Any] = {"security_protocol": self.protocol}
        if self.protocol.startswith("SASL_"):
            options |= {
                "sasl_mechanism": self.mechanism,
                "sasl_plain_username": self.username,
                "sasl_plain_password": self.password,
            }
        if self.protocol.endswith("SSL"):
            options["ssl_context"] = self._context()
        return options

    def _context(self) -> ssl.SSLContext:
        try:
            context: ssl.SSLContext = create_ssl_context(
                cafile=self.cafile, certfile=self.certfile, keyfile=self.keyfile
            )
        except (ssl.SSLError, OSError) as error:
            files = ", ".join(printable(file) for file in (self.cafile, self.certfile, self.keyfile) if file)
            raise UsageError(f"no certificates or keys can be loaded from {files}: {error}") from None
        return context


PLAINTEXT = Security()


def security_of(settings: Settings) -> Security:
    """What a worker was told about it."""
    password = settings.sasl_password
    return Security(
        settings.security_protocol,
        settings.sasl_mechanism,
        settings.sasl_username,
        None if password is None else password.get_secret_value(),
        settings.ssl_cafile,
        settings.ssl_certfile,
        settings.ssl_keyfile,
    )
