"""Partials in pieces count as if they had come whole: in between others, over restarts, beside zombies."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from test_restarts_of_an_owner import CATALOG, SOURCES, T0_MS, comparable, events, partials

from stream.slo.keeper import Keeper
from stream.wire import pieces
from stream.wire.partial import Report, decode_message, encode_reports
from stream.wire.pieces import PIECE_BYTES, Pieces, split


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "PIECE_BYTES", 40)


def report(source: int = 0, epoch: int = 1, end: int = 10, term: int = 1) -> Report:
    return Report(source, epoch, end, term, None)


def in_pieces(rng: random.Random, log: list[bytes]) -> Iterator[bytes]:
    """The messages of each source in order, pieces of several sources in between one another."""
    waiting: dict[int, list[bytes]] = {}
    for message in log:
        said = decode_message(message).reports[0]
        waiting.setdefault(said.source, []).extend(split(message, said))
    while waiting:
        source = rng.choice(sorted(waiting))
        yield waiting[source].pop(0)
        if not waiting[source]:
            del waiting[source]


def decided(log: list[bytes], restarts: random.Random | None) -> list[bytes]:
    keeper, state, signals = Keeper(CATALOG, 1000), {}, []
    for offset, message in enumerate(log):
        keeper.apply(message, offset, 2 * T0_MS + offset)
        if restarts is not None and restarts.random() < 0.02:
            for name, value in keeper.changes().items():
                if value is None:
                    state.pop(name, None)
                else:
                    state[name] = value
            keeper = Keeper(CATALOG, 1000, state)
            assert keeper.position == offset + 1
    signals += keeper.advance(SOURCES)
    assert not [name for name, _ in keeper.changes().items() if name.startswith(b"pieces") and _]
    return [comparable(signal) for signal in signals]


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("seed", range(3))
def test_pieces_count_as_the_whole_does_over_restarts_too(seed: int) -> None:
    rng = random.Random(seed)
    log = partials(rng, events(rng, 120))
    broken = list(in_pieces(rng, log))
    assert len(broken) > 5 * len(log)
    expected = decided(log, None)
    assert expected
    assert decided(broken, None) == expected
    assert decided(broken, random.Random(seed)) == expected


@pytest.mark.usefixtures("small")
def test_what_a_reader_left_unfinished_gives_way_to_the_next_reader() -> None:
    first = split(bytes(range(100)), report(term=1))
    second = split(bytes(range(100, 200)), report(term=2))
    taking = Pieces()
    assert [taking.take(piece) for piece in first[:2]] == [None, None]
    assert [taking.take(piece) for piece in second] == [None, None, bytes(range(100, 200))]
    assert list(taking.changes()) == [], "nothing was stored, and nothing is left"


@pytest.mark.usefixtures("small")
def test_a_zombie_displaces_nothing_of_a_later_reader() -> None:
    zombie = split(bytes(range(100)), report(term=1))
    later = split(bytes(range(100, 200)), report(term=2))
    for order in ("lzlzlz", "llzzzl", "zlzlzl", "zzlllz", "zllzlz"):
        taking, left = Pieces(), {"l": list(later), "z": list(zombie)}
        whole = [found for one in order if (found := taking.take(left[one].pop(0))) is not None]
        assert bytes(range(100, 200)) in whole, order
        assert all(found == bytes(range(100, 200)) for found in whole), order


@pytest.mark.usefixtures("small")
def test_a_new_epoch_is_later_than_any_term_of_the_old_one() -> None:
    old, new = split(bytes(100), report(epoch=1, term=9)), split(bytes(90), report(epoch=2, term=1))
    taking = Pieces()
    taking.take(old[0])
    assert [taking.take(piece) for piece in (new[0], old[1], new[1], old[2], new[2])][-1] == bytes(90)


@pytest.mark.usefixtures("small")
def test_what_is_not_whole_is_stored_and_deleted_again() -> None:
    one, other = split(bytes(range(100)), report(0)), split(bytes(range(50)), report(1))
    taking = Pieces()
    taking.take(one[0])
    taking.take(other[0])
    stored = dict(taking.changes())
    assert sorted(stored) == [0, 1]
    assert list(taking.changes()) == [], "nothing has changed"
    heir = Pieces()
    for source, value in stored.items():
        assert value is not None
        heir.restore(source, value)
    assert heir.take(other[1]) == bytes(range(50))
    assert heir.take(one[1]) is None
    assert [(source, value is None) for source, value in heir.changes()] == [(0, False), (1, True)]


def test_a_message_that_fits_is_sent_as_ever() -> None:
    message = encode_reports([report()])
    assert split(message, report()) == [message]
    assert Pieces().take(message) is message
    large = split(bytes(4 * PIECE_BYTES), report())
    assert [len(piece) < 980_000 for piece in large] == [True] * 4


def test_what_is_no_piece_is_refused() -> None:
    with pytest.raises(ValueError, match="not a piece"):
        Pieces().take(b"\xc1\x00")
    with pytest.raises(ValueError, match="not pieces"):
        Pieces().restore(0, b"\x00")
