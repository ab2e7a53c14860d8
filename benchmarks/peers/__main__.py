"""``make bench-peers``: the same job on other stream processors, on one local Kafka, one after the other.

Per service, endpoint, version, track and 10-second pane of event time: count, errors, p50 and p99 from a
t-digest; records out. Each peer with its own durable state on, one worker process.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

from rich.console import Console

from benchmarks.peers import report
from benchmarks.peers.measure import Bench, Row
from benchmarks.peers.peer import Peer, UnavailableError
from stream.kafka.local import LocalBroker

ROOMS = ("burngate", "flink", "kafka_streams", "bytewax", "pathway", "quix_streams", "faust")
_RUNS = ("speed", "loss", "crash")


def main() -> None:
    peers: dict[str, Peer] = {peer.name: peer for peer in map(_peer, ROOMS)}
    options = argparse.ArgumentParser(prog="make bench-peers", description=__doc__)
    options.add_argument("--events", type=int, default=6_200_000, help="of the speed and the crash run")
    options.add_argument("--uneven-events", type=int, default=2_000_000, help="of the run that catches up")
    options.add_argument("--rounds", type=int, default=3, help="of the speed run")
    options.add_argument("--only", type=_names(peers), default=list(peers), help=",".join(peers))
    options.add_argument("--runs", type=_names(_RUNS), default=list(_RUNS), help=",".join(_RUNS))
    options.add_argument("--json", type=Path, default=Path("bench-peers.json"), help="where all goes")
    options.add_argument("--markdown", action="store_true", help="print the table for the documentation")
    options.add_argument("--keep", type=Path, help="a directory for the logs, which are else removed")
    chosen = options.parse_args()
    console = Console()
    with tempfile.TemporaryDirectory(prefix="burngate-peers-") as name, LocalBroker() as broker:
        bench = Bench(broker.bootstrap, chosen.keep or Path(name))
        rows = [_measure(console, bench, peers[name], chosen) for name in chosen.only]
    report.write(chosen.json, rows, chosen.events, chosen.uneven_events)
    console.print(report.table(rows))
    if chosen.markdown:
        print(report.markdown(rows))


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


def _measure(console: Console, bench: Bench, peer: Peer, chosen: argparse.Namespace) -> Row:
    """Everything about one peer; what goes wrong is a remark in its row."""
    row = Row(peer.name, peer.title)

    def note(text: str) -> None:
        console.print(f"{peer.name}: {text}", style="dim", highlight=False)

    @contextmanager
    def attempt(what: str) -> Iterator[None]:
        note(what)
        try:
            yield
        except (RuntimeError, TimeoutError, ValueError) as error:
            row.remarks.append(f"{what}: {error}")
            note(row.remarks[-1])

    try:
        prepared = peer.prepare(note)
    except UnavailableError as error:
        row.remarks.append(f"not measured: {error}")
        note(row.remarks[-1])
        return row
    row.version = prepared.version
    even, uneven = peer.load(chosen.events, "even"), peer.load(chosen.uneven_events, "uneven")
    for number in range(chosen.rounds if "speed" in chosen.runs else 0):
        with attempt(f"speed, round {number + 1} of {chosen.rounds}"):
            speed, counted = bench.speed(peer, prepared.job, even)
            row.speeds.append(speed)
            note(f"{speed.events_per_s:,.0f} events/s, {speed.cpu_s_per_million:.2f} CPU s per million")
            if counted.lost or counted.doubled:
                row.remarks.append(f"speed: {counted.lost:,} lost, {counted.doubled:,} counted twice")
    if "loss" in chosen.runs:
        with attempt("catching up on uneven partitions"):
            row.caught_up = bench.catch_up(peer, prepared.job, uneven)
            note(f"{row.caught_up.lost:,} of {row.caught_up.expected:,} lost")
    if "crash" in chosen.runs:
        with attempt("SIGKILL in the middle"):
            row.crashed = bench.crash(peer, prepared.job, even)
            note(f"{row.crashed.counted:,} of {row.crashed.expected:,} counted")
    return row


if __name__ == "__main__":
    main()
