"""After a change of the rules panes are written anew, in parts; an owner may die between any two of them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

import pytest
from test_restarts_of_an_owner import CATALOG, OBJECTIVES, SOURCES, T0_MS, UP, comparable, events, partials

from stream.model.objective import Objective, Rolling
from stream.slo import snapshot
from stream.slo.catalog import Catalog
from stream.slo.keeper import Keeper
from stream.slo.snapshot import Changes
from stream.wire.state import decode_shard, key, parse_key

OTHERS = Catalog([replace(UP, name="new"), *reversed(OBJECTIVES)])
THIRDS = Catalog([OBJECTIVES[3], *OBJECTIVES[:3], replace(UP, name="newest")])
State = dict[bytes, bytes]


def with_changes(state: State, changes: Changes) -> State:
    return {name: value for name, value in (state | changes).items() if value is not None}


def fed(keeper: Keeper, log: Sequence[bytes], end: int) -> list[bytes]:
    signals = []
    while keeper.position < end:
        keeper.apply(log[keeper.position], keeper.position, 2 * T0_MS + keeper.position)
        signals += keeper.advance(SOURCES)
    return [comparable(signal) for signal in signals]


def panes(state: State) -> set[tuple[str, ...]]:
    return {tuple(place) for kind, place in map(parse_key, state) if kind == "pane"}


@pytest.fixture
def log() -> list[bytes]:
    rng = random.Random(7)
    return partials(rng, events(rng, 160))


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "PART_BYTES", 100)


def at_half(log: list[bytes]) -> State:
    keeper = Keeper(CATALOG, 1000)
    fed(keeper, log, len(log) // 2)
    return with_changes({}, keeper.changes())


def followed(
    state: State, catalog: Catalog, log: list[bytes], dies_after: int = -1
) -> tuple[State, list[bytes]]:
    """An owner goes on with these rules, and dies when it has written so many parts; else with the log."""
    keeper = Keeper(catalog, 1000, state)
    signals = fed(keeper, log, min(len(log), keeper.position + 20))
    for number, part in enumerate(keeper.rewriting()):
        if number == dies_after:
            return state, []
        state = with_changes(state, part)
    assert dies_after < 0
    state = with_changes(state, keeper.changes())
    return state, signals + fed(keeper, log, len(log))


@pytest.mark.parametrize("then", [OTHERS, CATALOG, THIRDS], ids=["the same", "the old ones", "others again"])
def test_whoever_dies_between_two_parts_leaves_the_state_as_it_was(log: list[bytes], then: Catalog) -> None:
    state = at_half(log)
    written, expected = followed(state, then, log)
    for dies_after in (1, 2):
        left, _ = followed(state, OTHERS, log, dies_after)
        assert len(left) > len(state)
        left, _ = followed(left, OTHERS, log[: len(log) // 2 + 1], dies_after)  # a little later, once more
        again, got = followed(left, then, log)
        assert got == expected
        assert len(panes(again)) == len(panes(written)), "panes of those who died are left"


def test_a_part_is_small_and_counts_for_nothing_by_itself(log: list[bytes]) -> None:
    state = at_half(log)
    keeper = Keeper(OTHERS, 1000, state)
    parts = list(keeper.rewriting())
    assert len(parts) >= 3
    assert all(sum(map(len, part.values())) < 100 + 1_000 for part in parts)
    assert not any(name in state for part in parts for name in part)
    assert decode_shard(state[key("shard")]).generation == 0


def test_generations_go_on_and_only_the_newest_stays(log: list[bytes]) -> None:
    state = at_half(log)
    for generation, catalog in enumerate([OTHERS, THIRDS, CATALOG, OTHERS], 1):
        keeper = Keeper(catalog, 1000, state)
        state = with_changes(state, keeper.changes())
        assert decode_shard(state[key("shard")]).generation == generation
        assert {place[2] for place in panes(state)} == {str(generation)}
    same = Keeper(OTHERS, 1000, state)
    assert not same.is_to_be_rewritten
    assert list(same.rewriting()) == []
    assert panes(with_changes(state, same.changes())) == panes(state)


def test_history_and_digests_are_left_as_they_are(log: list[bytes]) -> None:
    keeper = Keeper(OTHERS, 1000, at_half(log))
    kinds = {parse_key(name)[0] for name, value in keeper.changes().items() if value is not None}
    assert "pane" in kinds
    assert not {"hist", "digest", "endpoint"} & kinds


def test_history_that_no_rule_looks_at_any_more_is_deleted(log: list[bytes]) -> None:
    state = at_half(log)
    plain = Catalog([without_rules(objective) for objective in OBJECTIVES])
    state = with_changes(state, Keeper(plain, 1000, state).changes())
    assert not [name for name in state if parse_key(name)[0] == "hist"]


def without_rules(objective: Objective) -> Objective:
    return replace(
        objective, name=f"{objective.name}-plain", target_pct=Decimal(99), window=Rolling(600), rules=()
    )
