"""Work beside the agents may outlive the consumer's thread when a worker ends: that is no crash."""

from __future__ import annotations

import asyncio
import warnings
from types import SimpleNamespace

import pytest
from aiokafka.errors import KafkaError, KafkaTimeoutError, RequestTimedOutError

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


@pytest.mark.parametrize("error", [KafkaTimeoutError, RequestTimedOutError])
def test_a_question_without_an_answer_names_the_limit_that_it_missed(error: type[KafkaError]) -> None:
    async def question() -> None:
        raise error

    async def life() -> None:
        consumer = Consumer.__new__(Consumer)
        consumer._thread = SimpleNamespace(thread_loop=asyncio.get_running_loop())
        consumer._timeout_s = 30.0
        with pytest.raises(UnavailableError, match="Kafka gave no answer within 30 s"):
            await consumer._in_thread(question())

    asyncio.run(life())
