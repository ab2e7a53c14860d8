"""What is known of versions goes from owner to owner: rollbacks name what they name in replay, whatever dies,
and whenever and however often a deploy event comes."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from release_stories import RULES, START_MS, history

from stream.config import load_rules
from stream.model.deploy import DeployEvent, DeployState
from stream.model.ruleset import Ruleset
from stream.pipeline import Feed, catalog_of
from stream.slo import versions
from stream.slo.catalog import Catalog
from stream.slo.intake import Intake, Sending
from stream.slo.keeper import Keeper
from stream.slo.lexicon import Lexicon
from stream.slo.rolled_back import MAX_COUNTED, MAX_WAITING, RolledBack
from stream.wire.notice import pack_deploy, read_deploy
from stream.wire.partial import decode_message, encode_notices, encode_reports
from stream.wire.signal import Signal, encode
from stream.wire.state import parse_key

LATENESS_MS = 5_000
SEVERAL = settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    phases=(Phase.generate,),
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Ruleset:
    path = tmp_path_factory.mktemp("rules") / "slos.yaml"
    path.write_text(RULES)
    return load_rules([path])


def partials(rng: random.Random, catalog: Catalog, lines: Sequence[bytes]) -> list[bytes]:
    """What a reader of all lines sends."""
    intake, sent = Intake(0, 1, 0, 1, lexicon := Lexicon(catalog), LATENESS_MS), []
    rest = list(lines)
    while rest:
        batch, rest = rest[: (size := rng.choice([1, 5, 20]))], rest[size:]
        begin, end = intake.end, intake.end + len(batch)
        stamps = [2 * START_MS] * len(batch)
        for out in intake.feed(begin, end, range(begin, end), stamps, batch, lexicon):
            if isinstance(out, Sending):
                sent += out.messages.values() or [encode_reports([out.report])]
    return sent


def in_time(rng: random.Random, log: Sequence[bytes], events: Iterable[DeployEvent]) -> list[bytes]:
    """The log with deploy events that come before event time reaches their ``at``; repeats come anywhere."""
    reached = list(accumulate((decode_message(m).reports[0].watermark_ms or 0 for m in log), max))
    places: list[tuple[int, bytes]] = []
    known: set[DeployEvent] = set()
    for event in events:
        latest = sum(watermark_ms < event.at_ms for watermark_ms in reached)
        earliest, last = (latest, len(log)) if event in known else (0, latest)
        places.append((rng.randint(earliest, last), encode_notices([pack_deploy(event)])))
        known.add(event)
    with_notices = list(log)
    for place, message in sorted(places, key=lambda one: one[0], reverse=True):
        with_notices.insert(place, message)
    return with_notices


class Life:
    """Owners of one partition, one after the other."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self.state: dict[bytes, bytes] = {}
        self.keeper = Keeper(catalog, 1000)
        self.signals: list[Signal] = []

    def checkpoint(self) -> None:
        for name, value in self.keeper.changes().items():
            if value is None:
                del self.state[name]
            else:
                self.state[name] = value

    def follow(self, log: Sequence[bytes], restart_after: set[int], checkpoint_after: set[int]) -> Life:
        for offset, message in enumerate(log):
            self.keeper.apply(message, offset, 2 * START_MS + offset)
            self.signals += self.keeper.advance(1)
            if offset in restart_after | checkpoint_after:
                self.checkpoint()
            if offset in restart_after:
                before = known(self.keeper)
                self.keeper = Keeper(self.catalog, 1000, self.state)
                assert known(self.keeper) == before
        return self

    def rollbacks(self) -> list[bytes]:
        return [encode(signal) for signal in self.signals if signal.topic == "deploy-rollbacks"]


def known(keeper: Keeper) -> Any:
    """All that is known of versions, but for numbers of those that nobody knows any more."""
    ledger = keeper.shard.ledger
    of_service = {
        service: {name: replace(seen) for name, seen in of.items()}
        for service, of in ledger.versions.seen.items()
    }
    numbers = {seen.number for of in of_service.values() for seen in of.values()}
    hour = [(tick_s, [s for s in of if s.number in numbers]) for tick_s, of in ledger.versions.hour]
    told = {
        service: (dict(one.waiting), set(one.counted), one.forgotten_ms)
        for service, one in ledger.rolled_back.of.items()
    }
    return of_service, hour, told, {pane: of for pane, of in ledger.pending_versions.items() if of}


@SEVERAL
@given(
    seed=st.integers(0, 2**32),
    length=st.integers(1, 8),
    every=st.integers(1, 40),
    most=st.sampled_from([2, 256]),
)
def test_rollbacks_are_those_of_replay_whatever_dies(
    rules: Ruleset, seed: int, length: int, every: int, most: int
) -> None:
    rng = random.Random(seed)
    lines, told = history(rng, length, late_ms=(0, 3_000))
    events = [read_deploy(line, None) for line in told]
    catalog = catalog_of(rules)
    log = in_time(rng, partials(rng, catalog, lines), events)
    some = {offset for offset in range(len(log)) if rng.randrange(every) == 0}
    more = {offset for offset in range(len(log)) if rng.randrange(every) == 0}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(versions, "MAX_VERSIONS", most)
        life = Life(catalog).follow(log, some, more)
        feed = Feed(rules.objectives)
        for event in events:
            feed.announce(event)
        frame, _ = feed.decode(lines)
        replayed = [encode(s) for s in feed.push(frame) if s.topic == "deploy-rollbacks"]
    assert life.rollbacks() == replayed


@SEVERAL
@given(seed=st.integers(0, 2**32), length=st.integers(1, 8))
def test_what_comes_late_counts_at_the_next_tick_whatever_dies(
    rules: Ruleset, seed: int, length: int
) -> None:
    """Requests and deploy events in any disorder: owners that die know what one that lives on knows."""
    rng = random.Random(seed)
    lines, told = history(rng, length)
    catalog = catalog_of(rules)
    log = partials(rng, catalog, lines)
    for line in told:
        log.insert(rng.randint(0, len(log)), encode_notices([pack_deploy(read_deploy(line, None))]))
    some = {offset for offset in range(len(log)) if rng.randrange(4) == 0}
    life, undisturbed = Life(catalog).follow(log, some, set()), Life(catalog).follow(log, set(), set())
    assert life.rollbacks() == undisturbed.rollbacks()
    assert known(life.keeper) == known(undisturbed.keeper)


def test_what_was_seen_is_written_once_and_for_an_hour(rules: Ruleset) -> None:
    """A version that serves on does not write its own record again; after an hour no pane is left."""
    life = Life(catalog_of(rules))
    life.keeper.shard.ledger.versions.move_to(START_MS // 1000, {("shop", "payment"): {"1": 1, "2": 1}})
    life.checkpoint()
    written = []
    for tick_s in range(START_MS // 1000 + 10, START_MS // 1000 + 7200, 10):
        life.keeper.shard.ledger.versions.move_to(tick_s, {("shop", "payment"): {"1": 3}})
        changes = life.keeper.changes()
        life.state.update({name: value for name, value in changes.items() if value is not None})
        written += [(tick_s - START_MS // 1000, name) for name in changes if name.startswith(b"version")]
        kept = [name for name, value in life.state.items() if parse_key(name)[0] == "sightings"]
        gone = [name for name, value in changes.items() if value is None]
        for name in gone:
            del life.state[name]
        assert len(kept) - len(gone) <= 360
    assert written == [(3600, b"version\x001")]  # the last sighting of 2 leaves the hour


def told(at_s: int, deployment: str = "d", version: str | None = "2") -> DeployEvent:
    at_ms = START_MS + 1000 * at_s
    return DeployEvent(deployment, "shop", "payment", DeployState.ROLLED_BACK, at_ms, version)


def due(book: RolledBack, after_s: int) -> list[tuple[str, str | None, int]]:
    found = book.due(START_MS // 1000 + after_s)
    return [(one.deployment, one.version, one.counts_s - START_MS // 1000) for _, one in found]


def test_a_deploy_event_counts_at_the_first_tick_after_its_time_or_at_the_next() -> None:
    book = RolledBack([("shop", "payment")])
    begin_s = START_MS // 1000
    assert book.add(told(10), None)
    assert book.add(told(19, "e"), begin_s)
    assert book.add(told(5, "late"), begin_s + 40)
    assert not book.add(replace(told(20), service="nobody"), None)
    assert not book.add(replace(told(20), state=DeployState.FINISHED), None)
    assert due(book, 10) == []
    assert due(book, 20) == [("d", "2", 20), ("e", "2", 20)]
    assert due(book, 40) == []
    assert due(book, 100) == [("late", "2", 50)]


def test_repeats_change_nothing_however_late() -> None:
    book = RolledBack([("shop", "payment")])
    assert book.add(told(10, version="3"), None)
    assert not book.add(told(10, version="3"), START_MS // 1000 + 100)
    assert book.add(told(10, version="2"), START_MS // 1000 + 100)  # of two, the name that sorts first
    assert due(book, 20) == [("d", "2", 20)]
    for version in ("1", "2", None):
        assert not book.add(told(10, version=version), START_MS // 1000 + 200)
    for n in range(MAX_COUNTED):
        assert book.add(told(20 + n), None)
        assert len(due(book, 10_000)) == 1
    assert not book.add(told(10), None)  # nobody knows it by name any more
    assert not book.add(told(9), None)
    assert book.add(told(11), None)  # it is newer than all that are forgotten


def test_what_waits_is_bounded() -> None:
    book = RolledBack([("shop", "payment")])
    for n in range(MAX_WAITING + 1):
        book.add(told(10 * n), None)
    assert len(due(book, 10**6)) == MAX_WAITING
    assert book.add(told(10 * MAX_WAITING), None)  # the latest was dropped, and is no repeat


def test_a_shard_without_the_service_any_more_deletes_what_it_knew(rules: Ruleset, tmp_path: Path) -> None:
    rng = random.Random(1)
    lines, told_lines = history(rng, 10)
    catalog = catalog_of(rules)
    life = Life(catalog)
    life.follow([encode_notices([pack_deploy(read_deploy(line, None)) for line in told_lines])], set(), set())
    life.keeper.position = 0
    life.follow(partials(rng, catalog, lines), set(), {10**6})
    life.checkpoint()
    kinds = {parse_key(name)[0] for name in life.state}
    assert {"version", "rolled-back"} <= kinds
    other = tmp_path / "other.yaml"
    other.write_text(RULES.replace("service: payment", "service: p").replace("service: search", "service: s"))
    life.keeper = Keeper(catalog_of(load_rules([other])), 1000, life.state)
    life.checkpoint()
    left = {parse_key(name)[0] for name in life.state}
    assert not {"version", "rolled-back"} & left
