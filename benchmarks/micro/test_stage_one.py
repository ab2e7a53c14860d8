"""Stage one on 10,000 events of 1,000 series: bytes to columns, columns to counts, counts to bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.micro.conftest import VALUES, Step
from benchmarks.traffic import one_each, write_slos
from stream.config import load_objectives
from stream.sketch import DigestSet
from stream.slo.catalog import Catalog
from stream.slo.lexicon import Lexicon
from stream.slo.tally import tally
from stream.wire.decode import decode
from stream.wire.partial import Report, encode_partial


@pytest.fixture
def lexicon(tmp_path: Path) -> Lexicon:
    lexicon = Lexicon(Catalog(load_objectives([write_slos(tmp_path / "slos", one_each(100))])))
    decode(VALUES, lexicon.interner)  # its series are known
    return lexicon


def test_decode(step: Step, lexicon: Lexicon) -> None:
    stamps = np.full(len(VALUES), 2_000_000_000_000)
    step("decode", lambda: decode(VALUES, lexicon.interner, stamps))


def test_group(step: Step, lexicon: Lexicon) -> None:
    """Digests are part of it."""
    frame, _ = decode(VALUES, lexicon.interner)
    tally(frame, lexicon.judge)
    step("group", lambda: tally(frame, lexicon.judge))


def test_encode_partial(step: Step, lexicon: Lexicon) -> None:
    counted, _ = tally(decode(VALUES, lexicon.interner)[0], lexicon.judge)
    step("encode_partial", lambda: encode_partial(Report(0, 1, 10_000, 1, 0), 0, counted, final=True))


def test_digest_add(step: Step) -> None:
    rng = np.random.default_rng(1)
    keys, values = rng.integers(1_000, size=len(VALUES)), rng.lognormal(3.5, 0.6, len(VALUES))
    step("digest_add", lambda: DigestSet.from_values(keys, values))


def test_digest_merge(step: Step) -> None:
    """Ten sets of a thousand digests, as a ten-minute block of a shard."""
    rng = np.random.default_rng(1)
    keys = np.repeat(np.arange(1_000), 50)
    sets = [DigestSet.from_values(keys, rng.lognormal(3.5, 0.6, len(keys))) for _ in range(10)]
    step("digest_merge", lambda: DigestSet.merge(sets))
