"""Whoever reads the records of a source partition cuts them alike, whatever it has read before."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.model.objective import Availability, Decimal, Objective, Rolling
from stream.slo.catalog import Catalog
from stream.slo.intake import Intake, Sending
from stream.slo.keeper import Keeper
from stream.slo.lexicon import Lexicon
from stream.window import chunk
from stream.window.upsert import Verdict
from stream.wire import decode, frame
from stream.wire.frame import Interner, mark_of, pack_series
from stream.wire.partial import decode_message

T0_MS = 1_790_000_000_000
UP = Objective("shop", "pay-up", "pay", Availability(), Decimal(99), Rolling(3600))
CHOOSY = Objective(
    "shop", "cart-up", "cart", Availability(), Decimal(99), Rolling(3600), endpoints=("/e1", "/e2")
)
CATALOG = Catalog([UP, CHOOSY])
Cut = tuple[int, int]


def record(rng: random.Random, at_ms: int) -> bytes:
    event = {
        "ts": at_ms + rng.randrange(20_000),
        "namespace": "shop",
        "service": rng.choice(["pay", "pay", "cart", "nobody"]),
        "endpoint": f"/e{rng.randrange(60)}",
        "status": rng.choice([200, 500]),
    }
    if rng.random() < 0.3:
        event["version"] = rng.choice(["", "v1", "v2", None])
    if rng.random() < 0.2:
        event["attributes"] = {"nested": rng.choice([1, "x"])}  # read by the scanner
    if rng.random() < 0.2:
        event["method"] = rng.choice(["GET", "PÖST", None])  # not read by it
    if rng.random() < 0.1:
        event["ts"] = "2026-09-21T15:06:40Z"
    return b"{" if rng.random() < 0.05 else json.dumps(event).encode()


def log_of(seed: int, count: int) -> list[tuple[int, int, bytes]]:
    """(offset, Kafka's timestamp, value), with stamps that go back now and then."""
    rng, offset, stamp, made = random.Random(seed), 0, T0_MS + 100_000, []
    for _ in range(count):
        offset += rng.choice([1, 1, 1, 3])
        stamp += rng.choice([0, 5, 300, -200])
        if rng.random() < 0.01:
            stamp += rng.choice([-40_000, 40_000])
        made.append((offset, stamp, record(rng, T0_MS)))
    return made


def cuts(log: list[tuple[int, int, bytes]], lexicon: Lexicon, rng: random.Random) -> list[Cut]:
    """Of the chunks that are complete."""
    intake, found, rest = Intake(0, 1, 0, 1, lexicon, 5_000), [], log
    while rest:
        size = rng.choice([1, 3, 40, 1000])
        batch, rest = rest[:size], rest[size:]
        columns = zip(*batch, strict=True)
        for out in intake.feed(intake.end, batch[-1][0] + 1, *columns, lexicon.renewed()):
            if isinstance(out, Sending) and out.committable is not None:
                start = decode_message(next(iter(out.messages.values()))).start if out.messages else -1
                found.append((start, out.committable))
    return found


def lexicon_with_a_past(rng: random.Random, max_series: int) -> Lexicon:
    lexicon = Lexicon(CATALOG, 1, max_series)
    past = [record(rng, T0_MS) for _ in range(rng.choice([0, 5, 200]))]
    decode.decode(past, lexicon.interner, [T0_MS] * len(past))
    return lexicon


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    others=st.lists(
        st.tuples(st.integers(0, 2**32), st.sampled_from([1, 3, 20, 10_000])), min_size=2, max_size=3
    ),
    most_entries=st.sampled_from([3, 20, 16_384]),
    most_bytes=st.sampled_from([200, 1_500, 1 << 20]),
    with_scanner=st.booleans(),
)
def test_readers_with_different_pasts_limits_and_batches_cut_alike(
    seed: int, others: list[tuple[int, int]], most_entries: int, most_bytes: int, with_scanner: bool
) -> None:
    log = log_of(seed, 400)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunk, "MAX_ENTRIES", most_entries)
        patch.setattr(chunk, "MAX_NAME_BYTES", most_bytes)
        patch.setattr(chunk, "MAX_RECORDS", 150)
        patch.setattr(chunk, "HEAD_RECORDS", 40)
        expected = [end for _, end in cuts(log, Lexicon(CATALOG), random.Random(0))]
        if not with_scanner:
            patch.setattr(decode, "scan", None)
        for other, max_series in others:
            rng = random.Random(other)
            found = cuts(log, lexicon_with_a_past(rng, max_series), rng)
            assert [end for _, end in found] == expected
    assert len(expected) >= 2


def test_a_reader_whose_numbering_is_full_and_a_new_one_send_what_an_owner_takes() -> None:
    values = [
        json.dumps(
            {"namespace": "shop", "service": "pay", "endpoint": f"/new/{i}", "status": 200, "ts": T0_MS}
        )
        for i in range(20_000)
    ]
    log = [(i, T0_MS, value.encode()) for i, value in enumerate(values)]
    full, anew = Lexicon(CATALOG, 1, 100), Lexicon(CATALOG, 1, 100)
    past = [
        f'{{"namespace":"shop","service":"pay","endpoint":"/old/{i}","ts":{T0_MS}}}'.encode()
        for i in range(100)
    ]
    decode.decode(past, full.interner, [T0_MS] * 100)
    keeper, verdicts = Keeper(CATALOG, 100), []
    for lexicon, count in ((full, 15_000), (anew, 20_000)):
        intake = Intake(0, 1, 0, 1, lexicon, 5_000)
        sendings = [*intake.feed(0, count, *zip(*log[:count], strict=True), lexicon), intake.flush()]
        for sending in sendings:
            if isinstance(sending, Sending):
                verdicts.append(keeper.apply(sending.messages[0], keeper.position, T0_MS + 1_000))
    assert {Verdict.IGNORE, Verdict.REPLACE, Verdict.OPEN} <= set(verdicts)
    assert sum(counts[:, 0].sum() for _, counts in keeper.shard.ledger.pending[T0_MS // 10_000]) == 20_000


def test_a_name_that_is_said_in_other_words_has_the_same_mark() -> None:
    said = [
        b'{"ts":1790000000000,"service":"pay"}',
        b'{"ts":1790000000000,"service":"pay","namespace":null,"track":"stable","version":"","endpoint":null}',
        b'{"ts":1790000000000,"service":"p\\u0061y","method":""}',
    ]
    for interner in (Interner(), Interner(0, lambda key: (*key[:2], "__other__", "__other__", "", ""))):
        read, _ = decode.decode(said, interner, [1_790_000_000_000] * 3)
        assert set(read.marks.tolist()) == {mark_of(pack_series(("default", "pay", "", "", "", "stable")))}


def test_the_size_of_a_name_is_in_its_mark() -> None:
    for length in (1, 16, 17, 500, 100_000):
        mark = mark_of(b"x" * length)
        assert -(2**63) <= mark < 2**63
        assert length <= frame.name_bytes(frame.np.array([mark]))[0] < length + 16 or length == 100_000
