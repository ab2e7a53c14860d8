"""A worker that takes changed rules into use writes the panes anew in transactions that are small."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from test_gaps_in_turns import BY_PARTITION, GAP, SLO, Held, Worker, replayed, worker

from stream.kafka.state import Signal
from stream.slo import snapshot
from stream.wire.state import decode_shard, key

__all__ = ["worker"]


async def with_other_rules(make: Callable[[], Worker], tmp_path: Any) -> tuple[Worker, list[bytes]]:
    """State of the first events, and a worker that owns it by other rules: there is one more SLO, before the
    others. Nothing is written yet. And what the old SLO says of all events."""
    one = make()
    await one.own(GAP)
    await one.process(GAP, 0, 2)
    await one.windows.give_up([GAP])
    path = tmp_path / "slos.yaml"
    another = SLO.replace("{name: NAME}", "{name: another}").replace("NAME", BY_PARTITION[GAP.partition])
    path.write_text("---".join([another, path.read_text()]))
    two = make()
    await two.own(GAP)
    return two, replayed(one.lines[GAP], one)


def of_the_old_slo(worker: Worker) -> list[bytes]:
    return [budget for budget in worker.store.budgets if b'"slo":"another"' not in budget]


def test_a_change_of_rules_is_written_in_parts(
    worker: Callable[[], Worker], tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "PART_BYTES", 1)

    async def life() -> None:
        two, expected = await with_other_rules(worker, tmp_path)
        before = len(two.store.published)
        await two.process(GAP, 2, len(two.messages[GAP]))
        await two.done(GAP)
        owner = two.windows.owners[GAP]
        assert owner.rewritten == two.store.published[before:].count([]), (
            "each part is a step for the watchdog"
        )
        assert owner.steps >= owner.rewritten > 0
        await two.windows.give_up([GAP])
        written = two.store.published[before:]
        assert written[0] == [], "a part has no signals"
        assert of_the_old_slo(two) == expected
        assert decode_shard(two.store.state[GAP.partition][key("shard")]).generation == 1

    asyncio.run(life())


def test_who_is_stopped_between_two_parts_leaves_the_rest_to_the_next(
    worker: Callable[[], Worker], tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "PART_BYTES", 1)
    checkpoint, parts = Held.checkpoint, []

    async def life() -> None:
        two, expected = await with_other_rules(worker, tmp_path)

        async def stopping(
            self: Held, changes: Mapping[bytes, bytes | None], due: list[Signal], *rest: object
        ) -> None:
            await checkpoint(self, changes, due, *rest)
            parts.append(changes)
            if len(parts) == 1:
                two.windows.owners[GAP].is_stopping = True

        monkeypatch.setattr(Held, "checkpoint", stopping)
        await two.process(GAP, 2, 3)
        await two.windows.give_up([GAP])
        assert len(parts) == 1
        assert key("shard") not in parts[0]
        monkeypatch.setattr(Held, "checkpoint", checkpoint)
        three = worker()
        await three.own(GAP)
        await three.process(GAP, 2, len(two.messages[GAP]))
        await three.done(GAP)
        await three.windows.give_up([GAP])
        assert of_the_old_slo(three) == expected

    asyncio.run(life())
