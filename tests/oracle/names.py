"""Section 5: names joined to a key. Written from the contract, not from the program."""

from __future__ import annotations

from urllib.parse import quote

_EVERYTHING_ELSE = "".join(map(chr, range(128))).translate({ord(c): None for c in "%/|"})


def part(name: str) -> str:
    """Inside a key: the three characters that part names are percent-encoded, and no others."""
    return "".join(quote(c, safe=_EVERYTHING_ELSE) if c in "%/|" else c for c in name)


def slo_key(namespace: str, name: str) -> str:
    return part(namespace) + "/" + name


def service_key(namespace: str, service: str, more: bool = False) -> str:
    """``more``: something follows, so that the service is no last part."""
    shown = part(service) if more else service
    if service.startswith("resource:"):
        shown = "resource%3A" + shown[len("resource:") :]
    elif service.startswith("resource%") and not more:
        shown = "resource%25" + shown[len("resource%") :]
    return part(namespace) + "/" + shown
