"""Waiting at start-up until Kafka answers, and saying why it does not."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Sequence

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError

from stream.errors import UsageError
from stream.kafka.failures import UnreachableError
from stream.kafka.oauth import TokenError
from stream.kafka.security import PLAINTEXT, Security

_RETRY_S = 3.0
_ATTEMPT_LIMIT_S = 5.0
_LEAST_ATTEMPT_S = 0.5
"""What the last attempt has, however little time is left: without it nothing could answer."""
_SILENT = "something takes the connection and does not answer"


async def wait_for_brokers(
    brokers: Sequence[str],
    timeout_s: float,
    report: Callable[[str], object],
    security: Security = PLAINTEXT,
) -> None:
    """Return once one of ``brokers`` (``HOST:PORT``) answers and can be reached where it says it is.

    Calls ``report`` with one line every few seconds. Raises :class:`UnreachableError` after ``timeout_s``, or
    half a second later at the most, and :class:`UsageError` for an address that is none.
    """
    addresses = [_address(broker) for broker in brokers]
    deadline_s = time.monotonic() + timeout_s
    before = None
    while True:
        limit_s = max(_LEAST_ATTEMPT_S, min(_ATTEMPT_LIMIT_S, deadline_s - time.monotonic()))
        reason = await _attempt(brokers, addresses, security, limit_s)
        if reason is None:
            return
        if reason == _SILENT and limit_s < _ATTEMPT_LIMIT_S:
            reason = before or reason  # a short attempt finds out less than a long one
        before = reason
        left_s = deadline_s - time.monotonic()
        if left_s <= 0:
            raise UnreachableError(f"no Kafka at {', '.join(brokers)} within {timeout_s:g} s: {reason}")
        report(f"waiting for Kafka at {', '.join(brokers)}: {reason} (giving up in {left_s:.0f} s)")
        await asyncio.sleep(min(_RETRY_S, left_s))


def _address(broker: str) -> tuple[str, int]:
    host, _, port = broker.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 1 << 16:
        raise UsageError(f"{broker!r} is not a broker's address: HOST:PORT is expected")
    return host.strip("[]"), int(port)


async def what_is_wrong(brokers: Sequence[str], security: Security = PLAINTEXT) -> str | None:
    """Why Kafka cannot be used now; None if nothing of that kind is found. Takes some seconds at the most."""
    return await _attempt(brokers, [_address(b) for b in brokers], security, _ATTEMPT_LIMIT_S)


async def _attempt(
    brokers: Sequence[str], addresses: Sequence[tuple[str, int]], security: Security, limit_s: float
) -> str | None:
    """None if Kafka can be used, else why not, which takes ``limit_s`` at the most."""
    deadline_s = asyncio.get_running_loop().time() + limit_s
    refusals = await asyncio.gather(*(_refusal(host, port, limit_s) for host, port in addresses))
    if None not in refusals:
        return "; ".join(dict.fromkeys(str(refusal) for refusal in refusals))
    if (tokens := security.tokens()) is not None:
        try:
            async with asyncio.timeout_at(deadline_s):
                await tokens.token()
        except (TokenError, TimeoutError) as error:
            return str(error) or "the provider of tokens does not answer"
    with _quiet():
        client = AIOKafkaClient(bootstrap_servers=list(brokers), **security.options())
        try:
            async with asyncio.timeout_at(deadline_s):
                await client.bootstrap()
                nodes = client.cluster.brokers()
                for node in nodes:
                    if await client.ready(node.nodeId):
                        return None
        except TimeoutError:
            return _SILENT
        except (KafkaError, OSError):
            return f"something answers, but no Kafka that lets us in ({_way_in(security)})"
        finally:
            await client.close()
    advertised = ", ".join(f"{node.host}:{node.port}" for node in nodes)
    return f"it calls itself {advertised}, which cannot be reached (see advertised.listeners)"


def _way_in(security: Security) -> str:
    if security.protocol == "PLAINTEXT":
        return "without TLS and without logging in"
    user = f" as {security.user}" if security.user else ""
    return f"with {security.protocol}{user}"


async def _refusal(host: str, port: int, limit_s: float) -> str | None:
    try:
        async with asyncio.timeout(limit_s):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return "connecting takes too long"
    except ConnectionRefusedError:
        return "connection refused"
    except OSError as error:
        return error.strerror or str(error)
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """What aiokafka logs about a failed attempt is in the line reported."""
    logger = logging.getLogger("aiokafka")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)
