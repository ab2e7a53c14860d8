"""The story as the shop's objectives and analyses see it: replayed without Kafka, for several seeds."""

from __future__ import annotations

from collections import Counter

import orjson
import pytest

from stream.config import load_rules
from stream.console.board import Board
from stream.console.text import epoch_ms
from stream.demo.summary import Summary
from stream.load import SHOP_SLOS
from stream.load.shop import CATALOGUE, PAYMENT, SEARCH
from stream.load.story import LENGTH_S
from stream.load.traffic import Shop
from stream.pipeline import Feed
from stream.wire.notice import read_deploy

START_MS = 1_790_000_100_000
END_MS = START_MS + LENGTH_S * 1000
EPILOGUE_MS = 30_000
PIECE_MS = 30_000
DELAY_MS = 90_000
"""From a signal to its effect, as the clock of a demo has it."""


def told(shop: Shop, *, is_heard: bool = True) -> tuple[Board, Counter[str]]:
    """The board at the story's end, and how many events each service had. ``is_heard``: by the shop."""
    rules, board, sent = load_rules([SHOP_SLOS]), Board(), Counter[str]()
    feed = Feed(rules.objectives, analyses=rules.analyses)
    for at_ms in range(START_MS, END_MS + EPILOGUE_MS, PIECE_MS):
        piece = shop.events(at_ms, at_ms + PIECE_MS)
        sent += piece.by_service if at_ms < END_MS else Counter()
        for event in piece.deploys:
            feed.announce(read_deploy(event, None))
        for signal in feed.push(feed.decode(piece.events)[0]):
            if signal.topic not in board.topics:
                continue
            record = orjson.loads(orjson.dumps(signal.value))
            board.apply(signal.topic, record)
            if is_heard:
                obey(shop, signal.topic, record)
    return board, sent


def obey(shop: Shop, topic: str, record: dict[str, object]) -> None:
    is_asked = topic == "deploy-rollbacks" or record.get("recommendation") == "promote"
    if is_asked and topic in ("deploy-rollbacks", "canary-verdicts"):
        shop.end_release(str(record["service"]), epoch_ms(str(record["evaluated_at"])) + DELAY_MS)


@pytest.mark.parametrize("seed", [1, 2, 77])
def test_the_whole_story_shows_in_the_signals_whatever_the_seed(seed: int) -> None:
    shop = Shop(START_MS, seed=seed)
    board, sent = told(shop)

    summary = Summary(board, shop.story, END_MS, sent)
    assert summary.complete, [line.plain for line in summary.lines()]
    assert {alert["slo"] for alert in board.alerts} == {"payment-availability", "payment-latency"}
    assert [record["service"] for record in board.freezes] == [PAYMENT]
    assert [(one["version"], one.get("cause", "budget")) for one in board.rollbacks] == [
        ("3.2.0", "canary"),
        ("2.5.0", "budget"),
    ]
    found = next(alert for alert in board.alerts if alert["state"] == "firing")
    detected_s = (epoch_ms(found["starts_at"]) - shop.story.fault_ms(PAYMENT, END_MS)) / 1000
    assert 60 < detected_s < 240
    assert 0 < board.objectives["shop/payment-availability"].remaining_pct < 30
    others = [row for row in board.objectives.values() if row.service != PAYMENT]
    assert all(row.remaining_pct > 80 for row in others)


@pytest.mark.parametrize("seed", [3, 14])
def test_canaries_are_decided_within_minutes_and_for_the_reason_that_there_is(seed: int) -> None:
    shop = Shop(START_MS, seed=seed)
    board, _ = told(shop)
    told_of = [(one["service"], one["verdict"]) for one in board.verdicts]
    assert told_of == [(SEARCH, "fail"), (CATALOGUE, "pass")]
    failed = board.verdicts[0]
    assert [m["name"] for m in failed["metrics"] if m["classification"] == "worse"] == ["latency-p99"]
    minutes = [
        (epoch_ms(one["evaluated_at"]) - epoch_ms(one["started_at"])) / 60_000 for one in board.verdicts
    ]
    assert minutes[0] < 8
    assert 5 < minutes[1] < 25
    states = {row.name: row.rollout["state"] for row in board.services.values() if row.rollout}
    assert states == {SEARCH: "rolled_back", CATALOGUE: "finished"}
    faults = [row.rollout["faults"] for row in board.services.values() if row.rollout]
    assert faults == [[], []]


def test_without_the_rollback_the_budget_is_lost() -> None:
    board, _ = told(Shop(START_MS), is_heard=False)
    assert board.objectives["shop/payment-availability"].remaining_pct < 0
