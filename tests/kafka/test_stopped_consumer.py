"""Work beside the agents may outlive the consumer's thread when a worker ends: that is no crash."""

from __future__ import annotations

import asyncio
import warnings
from types import SimpleNamespace

import pytest

from stream.kafka.failures import UnavailableError
from stream.kafka.transport import Consumer


def test_what_is_asked_of_a_consumer_that_has_stopped_is_one_line_and_no_traceback() -> None:
    loop = asyncio.new_event_loop()
    loop.close()
    consumer = Consumer.__new__(Consumer)
    consumer._thread = SimpleNamespace(thread_loop=loop)

    async def question() -> None:
        raise AssertionError("nobody is there to ask it")

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UnavailableError, match="the consumer has stopped"):
            asyncio.run(consumer._in_thread(question()))
