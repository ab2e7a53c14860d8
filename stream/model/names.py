"""Names joined to one: Kafka keys, identities, subjects (contract, section 5).

Two different lists of names never become the same text: ``/`` and ``|`` part them, and are written as ``%2F``
and ``%7C`` inside all of them but the last, ``%`` as ``%25``.
"""

from __future__ import annotations

_RESOURCE = "resource"


def encoded(name: str) -> str:
    """A name that others follow.

    >>> encoded("team/a|50%")
    'team%2Fa%7C50%25'
    """
    return name.replace("%", "%25").replace("/", "%2F").replace("|", "%7C")


def identity(namespace: str, name: str) -> str:
    """Of an SLO, an analysis, a comparison or a service graph."""
    return f"{encoded(namespace)}/{name}"


def service_key(namespace: str, service: str) -> str:
    """Of a service: never that of a resource, whatever the service is called.

    >>> service_key("shop", "resource:db"), service_key("shop", "resource%3Adb"), resource_key("shop", "db")
    ('shop/resource%3Adb', 'shop/resource%253Adb', 'shop/resource:db')
    """
    rest = service.removeprefix(_RESOURCE)
    if rest != service and rest[:1] in (":", "%"):
        service = f"{_RESOURCE}{'%3A' if rest[0] == ':' else '%25'}{rest[1:]}"
    return f"{encoded(namespace)}/{service}"


def resource_key(namespace: str, resource: str) -> str:
    return f"{encoded(namespace)}/{_RESOURCE}:{resource}"


def service_prefix(namespace: str, service: str) -> str:
    """Of a service, in keys in which more follows.

    >>> service_prefix("shop", "a|b"), service_prefix("shop", "resource:a/b")
    ('shop/a%7Cb', 'shop/resource%3Aa%2Fb')
    """
    name = encoded(service)
    if name.startswith(f"{_RESOURCE}:"):
        name = f"{_RESOURCE}%3A{name.removeprefix(f'{_RESOURCE}:')}"
    return f"{encoded(namespace)}/{name}"


def plainly_joined(namespace: str, name: str) -> str:
    """What state of format 3 calls an SLO or an analysis, and what picks a service's partition."""
    return f"{namespace}/{name}"
