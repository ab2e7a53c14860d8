"""Record what this version of the program stores, and what it goes on to say: from the project's directory,
``PYTHONPATH=.:tests python -m recorded.record FILE``.

Run once by each version that changes a format, before it does (docs/design.md); afterwards the file is what
tests hold every later version to. Both stages run with an imagined Kafka between them, and an imagined clock.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recorded import recording, scenario
from recorded.scenario import CUT_S, END_S, LATENESS_MS, PARTITIONS, SOURCES, T0_S, Arrival

from stream.config import load_rules
from stream.pipeline import canary_book, catalog_of
from stream.slo.catalog import Catalog, partition_of
from stream.slo.intake import Intake, Sending
from stream.slo.keeper import Keeper
from stream.slo.lexicon import Lexicon
from stream.wire import partial, state
from stream.wire.notice import pack_deploy, read_deploy
from stream.wire.partial import encode_notices, encode_reports
from stream.wire.signal import Signal, encode

CHECKPOINT_EVERY_S = 10
IDLE_AFTER_S = 10
EPOCH, TERM = 1_790_000_000_000, 3


@dataclass
class Log:
    """Partials of one service partition: what was sent, with the broker's stamps."""

    stamps_ms: list[int] = field(default_factory=list)
    messages: list[bytes] = field(default_factory=list)

    def append(self, stamp_ms: int, message: bytes) -> None:
        self.stamps_ms.append(stamp_ms)
        self.messages.append(message)


class Readers:
    """Stage one of all sources, in one worker."""

    def __init__(self, catalog: Catalog) -> None:
        self.lexicon = Lexicon(catalog, PARTITIONS, scenario.READER_SERIES)
        self.intakes = [Intake(s, EPOCH, 0, TERM, self.lexicon, LATENESS_MS) for s in range(SOURCES)]
        self.committed = [0] * SOURCES
        self.busy_s = [T0_S] * SOURCES
        self.logs = [Log() for _ in range(PARTITIONS)]

    def second(self, now_s: int, arrived: list[Arrival]) -> None:
        for source, intake in enumerate(self.intakes):
            mine = [one for one in arrived if one.source == source]
            if mine:
                self.busy_s[source] = now_s
                columns = (
                    [one.offset for one in mine],
                    [one.stamp_ms for one in mine],
                    [o.value for o in mine],
                )
                for out in intake.feed(intake.end, mine[-1].offset + 1, *columns, self.lexicon):
                    if isinstance(out, Sending):
                        self._send(source, out, now_s)
            elif now_s - self.busy_s[source] >= IDLE_AFTER_S:
                if (sending := intake.flush()) is not None:
                    self._send(source, sending, now_s)
                report = encode_reports([intake.report(now_s * 1000 - 500)])
                for log in self.logs:
                    log.append(now_s * 1000 + 300, report)

    def _send(self, source: int, sending: Sending, now_s: int) -> None:
        for target, log in enumerate(self.logs):
            message = sending.messages.get(target) or encode_reports([sending.report])
            log.append(now_s * 1000 + 300, message)
        if sending.committable is not None:
            self.committed[source] = sending.committable


class Owner:
    """Stage two of one partition."""

    def __init__(self, catalog: Catalog, partition: int) -> None:
        mine = catalog.of_partition(partition, PARTITIONS)
        self.keeper = Keeper(mine, scenario.KEEPER_SERIES, None, [canary_book(mine)])
        self.state: dict[bytes, bytes] = {}

    def read(self, log: Log) -> Iterator[Signal]:
        for offset in range(self.keeper.position, len(log.messages)):
            self.keeper.apply(log.messages[offset], offset, log.stamps_ms[offset])
        yield from self.keeper.advance(SOURCES)

    def checkpoint(self) -> None:
        for name, value in self.keeper.changes().items():
            if value is None:
                self.state.pop(name, None)
            else:
                self.state[name] = value


def record() -> recording.Recording:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "rules.yaml"
        path.write_text(scenario.rules())
        catalog = catalog_of(load_rules([path]))
    readers = Readers(catalog)
    owners = [Owner(catalog, partition) for partition in range(PARTITIONS)]
    arrived, told, waiting = scenario.arrivals(), scenario.deploys(), []
    found: list[dict[str, Any]] = []
    sources: list[dict[str, Any]] = []
    for now_s in range(T0_S, END_S):
        for one in [one for one in told if one.at_s == now_s]:
            event = read_deploy(recording.to_json(one.value), now_s * 1000)
            target = partition_of(event.namespace, event.service, PARTITIONS)
            readers.logs[target].append(now_s * 1000 + 300, encode_notices([pack_deploy(event)]))
        waiting += _until(arrived, waiting, now_s * 1000 + 999)
        now, waiting = (
            [a for a in waiting if a.stamp_ms // 1000 == now_s],
            [a for a in waiting if a.stamp_ms // 1000 > now_s],
        )
        readers.second(now_s, now)
        for partition, owner in enumerate(owners):
            signals = list(owner.read(readers.logs[partition]))
            if now_s < CUT_S and now_s % CHECKPOINT_EVERY_S == 7:
                owner.checkpoint()
                if now_s + CHECKPOINT_EVERY_S >= CUT_S:
                    found.append({"state": owner.state, "position": owner.keeper.position, "signals": []})
            elif len(found) == PARTITIONS:
                found[partition]["signals"] += [(s.topic, s.key, encode(s)) for s in signals]
        if len(found) == PARTITIONS and not sources:
            sources = [
                {"epoch": EPOCH, "term": TERM, "committed": readers.committed[s], "end": intake.end}
                for s, intake in enumerate(readers.intakes)
            ]
    for one, log in zip(found, readers.logs, strict=True):
        one["messages"] = list(zip(log.stamps_ms, log.messages, strict=True))[one["position"] :]
    return recording.Recording(
        state.VERSION, partial.VERSION, [recording.Part(**one) for one in found], sources, full_numbering()
    )


def _until(arrived: Iterator[Arrival], waiting: list[Arrival], stamp_ms: int) -> list[Arrival]:
    """Further ones up to a moment, and one more."""
    found: list[Arrival] = []
    while not (last := [*waiting, *found][-1:]) or last[0].stamp_ms <= stamp_ms:
        one = next(arrived, None)
        if one is None:
            break
        found.append(one)
    return found


def full_numbering() -> dict[str, Any]:
    """An open chunk of 20,000 series, read by a reader whose numbering of series was full: it cut nowhere."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "rules.yaml"
        path.write_text(recording.FLOOD_RULES)
        catalog = catalog_of(load_rules([path]))
    lexicon = Lexicon(catalog, 1, recording.FLOOD_SERIES)
    other = Intake(1, EPOCH, 0, TERM, lexicon, LATENESS_MS)
    flood = recording.flood()
    first = [value for _, _, value in flood[: recording.FLOOD_SERIES]]
    for _ in other.feed(0, len(first), range(len(first)), [T0_S * 1000] * len(first), first, lexicon):
        pass
    intake = Intake(0, EPOCH, 0, TERM, lexicon, LATENESS_MS)
    owner = Keeper(catalog.of_partition(0, 1), recording.FLOOD_SERIES, None, [canary_book(catalog)])
    offsets, stamps, values = (list(column) for column in zip(*flood, strict=True))
    sent = [
        out
        for out in intake.feed(0, len(flood), offsets, stamps, values, lexicon)
        if isinstance(out, Sending)
    ]
    if (last := intake.flush()) is not None:
        sent.append(last)
    for offset, sending in enumerate(sent):
        owner.apply(sending.messages[0], offset, T0_S * 1000 + 60_000)
    list(owner.advance(1))
    return {
        "state": {name: value for name, value in owner.changes().items() if value is not None},
        "position": owner.position,
        "committed": max((s.committable or 0 for s in sent), default=0),
        "end": intake.end,
    }


if __name__ == "__main__":
    recording.write(Path(sys.argv[1]), record())
