"""The story as the shop's objectives see it: replayed without Kafka, for several seeds."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from stream.console.board import Board
from stream.console.text import epoch_ms
from stream.demo.summary import Summary
from stream.load import SHOP_SLOS
from stream.load.story import LENGTH_S
from stream.load.traffic import Shop
from stream.replay import replay

START_MS = 1_790_000_100_000
END_MS = START_MS + LENGTH_S * 1000
EPILOGUE_MS = 30_000
DELAY_MS = 90_000
"""From a rollback's signal to its effect, as the clock of a demo has it."""


def told(shop: Shop, directory: Path) -> tuple[Board, Counter[str]]:
    """The board at the story's end, and how many events each service had."""
    hour = shop.events(START_MS, END_MS)
    after = shop.events(END_MS, END_MS + EPILOGUE_MS)
    (directory / "events.ndjson").write_bytes(b"\n".join(hour.events + after.events))
    replay([SHOP_SLOS], [str(directory / "events.ndjson")], directory)
    board = Board()
    for topic in board.topics:
        for line in (directory / f"{topic}.ndjson").read_text().splitlines():
            board.apply(topic, json.loads(line))
    return board, hour.by_service


@pytest.mark.parametrize("seed", [1, 2, 77])
def test_the_whole_story_shows_in_the_signals_whatever_the_seed(seed: int, tmp_path: Path) -> None:
    unheard, _ = told(Shop(START_MS, seed=seed), tmp_path)
    (rollback,) = unheard.rollbacks
    shop = Shop(START_MS, seed=seed)
    shop.roll_back(epoch_ms(rollback["evaluated_at"]) + DELAY_MS)
    board, sent = told(shop, tmp_path)

    summary = Summary(board, shop.story, END_MS, sent)
    assert summary.complete, [line.plain for line in summary.lines()]
    assert {alert["slo"] for alert in board.alerts} == {"payment-availability", "payment-latency"}
    assert [record["service"] for record in board.freezes] == ["payment"]
    assert [record["version"] for record in board.rollbacks] == ["2.5.0"]
    detected_s = (epoch_ms(board.alerts[0]["starts_at"]) - shop.story.fault_ms(END_MS)) / 1000
    assert 60 < detected_s < 240
    assert 0 < board.objectives["shop/payment-availability"].remaining_pct < 30
    others = [row for row in board.objectives.values() if row.service != "payment"]
    assert all(row.remaining_pct > 80 for row in others)


def test_without_the_rollback_the_budget_is_lost(tmp_path: Path) -> None:
    board, _ = told(Shop(START_MS), tmp_path)
    assert board.objectives["shop/payment-availability"].remaining_pct < 0
