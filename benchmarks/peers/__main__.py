"""``make bench-peers``: the same job on other stream processors, on one local Kafka, one after the other.

Per service, endpoint, version, track and 10-second pane of event time: count, errors, p50 and p99 from a
t-digest; records out. Each peer with its own durable state on, one worker process.
"""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import tempfile
from collections.abc import Callable, Collection
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from rich.console import Console

from benchmarks.options import Parser, at_least
from benchmarks.peers import report
from benchmarks.peers.measure import Bench, Row
from benchmarks.peers.peer import Peer, Prepared, UnavailableError
from stream.kafka.local import LocalBroker

ROOMS = ("burngate", "flink", "kafka_streams", "bytewax", "pathway", "quix_streams", "faust")
_RUNS = ("speed", "loss", "crash")


def main() -> None:
    peers: dict[str, Peer] = {peer.name: peer for peer in map(_peer, ROOMS)}
    options = Parser("make bench-peers", __doc__)
    options.add_argument(
        "--events", type=at_least(10_000), default=6_200_000, help="of the speed and the crash run"
    )
    options.add_argument(
        "--uneven-events", type=at_least(10_000), default=2_000_000, help="of the run that catches up"
    )
    options.add_argument("--rounds", type=at_least(1), default=3, help="of the speed run")
    options.add_argument("--only", type=_names(peers), default=list(peers), help=",".join(peers))
    options.add_argument("--runs", type=_names(_RUNS), default=list(_RUNS), help=",".join(_RUNS))
    options.add_argument("--json", type=Path, default=Path("bench-peers.json"), help="where all goes")
    options.add_argument("--markdown", action="store_true", help="print the table for the documentation")
    options.add_argument("--keep", type=Path, help="a directory for the logs, which are else removed")
    chosen = options.parse_args()
    console = Console()
    # Leaving by an exception ends the job that runs, and the broker.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    # Each run deletes its topics while clients still know them, of which they would warn.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory(prefix="burngate-peers-") as name, LocalBroker() as broker:
        bench = Bench(broker.bootstrap, chosen.keep or Path(name))
        subjects = [_prepare(console, peers[name]) for name in chosen.only]
        rows = [subject.row for subject in subjects]
        # Rounds alternate, so that what disturbs the machine disturbs all of them.
        stages = ["speed"] * chosen.rounds * ("speed" in chosen.runs)
        stages += [run for run in chosen.runs if run != "speed"]
        for stage in stages:
            for subject in subjects:
                _attempt(console, bench, subject, stage, chosen)
                report.write(chosen.json, rows, chosen.events, chosen.uneven_events)
    console.print(report.table(rows))
    if chosen.markdown:
        print(report.markdown(rows))


@dataclass(frozen=True, slots=True)
class _Subject:
    peer: Peer
    prepared: Prepared | None
    row: Row


def _peer(room: str) -> Peer:
    peer = import_module(f"benchmarks.peers.{room}").PEER
    assert isinstance(peer, Peer)
    return peer


def _names(known: Collection[str]) -> Callable[[str], list[str]]:
    """An option's value: some of the known names, separated by commas."""

    def chosen(text: str) -> list[str]:
        names = text.split(",")
        if unknown := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: known are {', '.join(known)}")
        return names

    return chosen


def _prepare(console: Console, peer: Peer) -> _Subject:
    """A peer that cannot be had stays in the table, with the reason."""
    row = Row(peer.name, peer.title)
    try:
        prepared = peer.prepare(lambda text: _note(console, peer, text))
    except UnavailableError as error:
        row.remarks.append(f"not measured: {error}")
        _note(console, peer, row.remarks[-1])
        return _Subject(peer, None, row)
    row.version = prepared.version
    return _Subject(peer, prepared, row)


def _attempt(
    console: Console, bench: Bench, subject: _Subject, stage: str, chosen: argparse.Namespace
) -> None:
    """One run of one peer; what goes wrong is a remark in its row."""
    peer, row = subject.peer, subject.row
    if subject.prepared is None:
        return
    job = subject.prepared.job
    even, uneven = peer.load(chosen.events, "even"), peer.load(chosen.uneven_events, "uneven")
    try:
        if stage == "speed":
            speed, counted = bench.speed(peer, job, even)
            row.speeds.append(speed)
            said = f"{speed.events_per_s:,.0f} events/s, {speed.cpu_s_per_million:.2f} CPU s per million"
            if counted.lost or counted.doubled:
                row.remarks.append(f"speed: {counted.lost:,} lost, {counted.doubled:,} counted twice")
        elif stage == "loss":
            row.caught_up = bench.catch_up(peer, job, uneven)
            said = f"{row.caught_up.lost:,} of {row.caught_up.expected:,} lost"
        else:
            row.crashed = bench.crash(peer, job, even)
            said = f"{row.crashed.counted:,} of {row.crashed.expected:,} counted"
    except (RuntimeError, TimeoutError, ValueError) as error:
        row.remarks.append(said := f"{stage}: {error}")
    _note(console, peer, f"{stage}: {said.removeprefix(f'{stage}: ')}")


def _note(console: Console, peer: Peer, text: str) -> None:
    console.print(f"{peer.name}: {text}", style="dim", highlight=False)


if __name__ == "__main__":
    main()
