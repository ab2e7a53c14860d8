"""A broker that is gone is asked for seldom, and found again soon."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from stream.kafka import reconnect
from stream.kafka.reconnect import LONGEST_WAIT_S, reconnect_patiently


class Client:
    def __init__(self) -> None:
        self.attempts = 0
        self.there = False

    async def _get_conn(self, node_id: int, *, group: int = 0, no_hint: bool = False) -> Any:
        self.attempts += 1
        return "connection" if self.there else None


class Clock:
    now_s = 1_000.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(reconnect, "time", clock)
    return clock


def ask(client: Client, clock: Clock, seconds: float, nodes: int = 1) -> None:
    """Every hundredth of a second."""
    for _ in range(round(seconds * 100)):
        clock.now_s += 0.01
        for node in range(nodes):
            asyncio.run(client._get_conn(node))


def test_whoever_asks_and_however_often_a_node_is_tried_every_two_seconds(clock: Clock) -> None:
    client = Client()
    reconnect_patiently(client)
    ask(client, clock, 10)
    client.attempts = 0
    ask(client, clock, 20)
    assert client.attempts == pytest.approx(20 / LONGEST_WAIT_S, abs=1)


def test_a_node_that_is_back_is_found_and_its_failures_are_forgotten(clock: Clock) -> None:
    client = Client()
    reconnect_patiently(client)
    ask(client, clock, 10)
    client.there = True
    clock.now_s += LONGEST_WAIT_S
    assert asyncio.run(client._get_conn(0)) == "connection"
    client.there = False
    client.attempts = 0
    ask(client, clock, 0.5)
    assert client.attempts >= 2, "the first waits are short"


def test_a_node_does_not_wait_for_another(clock: Clock) -> None:
    client = Client()
    reconnect_patiently(client)
    ask(client, clock, 10)
    client.there = True
    assert asyncio.run(client._get_conn(7)) == "connection"
