"""``burngate replay``: the same core, fed from files; equal input gives equal bytes (contract, section 6)."""

from __future__ import annotations

import gc
import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import chain
from pathlib import Path
from typing import BinaryIO

import numpy as np

from stream.config import load_rules
from stream.errors import UsageError
from stream.fleet.book import Book
from stream.inputs import Block, blocks, check_inputs
from stream.interrupts import tidied_up, undisturbed
from stream.pipeline import ALLOWED_LATENESS, MAX_SERIES, Feed
from stream.slo.judge import MAX_STRANGERS
from stream.slo.strays import Jump
from stream.wire.deadletter import dead_letter
from stream.wire.frame import Frame
from stream.wire.notice import read_change, read_deploy
from stream.wire.reject import RecordError, Reject
from stream.wire.signal import TOPICS, Signal, encode
from stream.words import counted, lasting, printable, printable_lines

MAX_SILENT = 5
"""SLOs that are named because they counted nothing."""
MAX_STRAYS = 20
"""Lines that are named because events came late because of them."""

Progress = Callable[[Block], None]


@dataclass(slots=True)
class Summary:
    """What a replay did."""

    events: int = 0
    late: int = 0
    too_late: int = 0
    unmatched: int = 0
    strangers: list[str] = field(default_factory=list)
    """The first services, as ``namespace/service``, of events that belong to no SLO."""
    silent: list[str] = field(default_factory=list)
    """SLOs, as ``namespace/name``, that counted no event."""
    strays: list[Jump] = field(default_factory=list)
    """Lines whose time is far above all before them, because of which events came late."""
    records: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    def __str__(self) -> str:
        rate = self.events / self.seconds if self.seconds else 0.0
        written = ", ".join(f"{self.records[topic]:,} {topic}" for topic in TOPICS)
        late = f"{self.late:,} late, {self.too_late:,} too late and dropped"
        if self.unmatched:
            named = ", ".join(map(printable, self.strangers[:MAX_STRANGERS]))
            belong = "belongs" if self.unmatched == 1 else "belong"
            late += f"\n{counted(self.unmatched, 'event')} {belong} to no SLO: {named}"
            late += ", …" if len(self.strangers) >= MAX_STRANGERS else ""
        if self.silent:
            named = ", ".join(map(printable, self.silent[:MAX_SILENT]))
            late += f"\n{counted(len(self.silent), 'SLO')} counted no event: {named}"
            late += ", …" if len(self.silent) > MAX_SILENT else ""
        for stray in self.strays[:MAX_STRAYS]:
            above = lasting((stray.ts_ms - stray.before_ms) / 1000)
            late += f"\n{printable(stray.name)}: ts is {above} above all before it: "
            late += f"{counted(stray.late, 'event')} behind it came late because of it"
        if len(self.strays) > MAX_STRAYS:
            late += f"\nand {counted(len(self.strays) - MAX_STRAYS, 'more such line')}"
        return (
            f"replayed {counted(self.events, 'event')} in {self.seconds:.1f} s "
            f"({rate:,.0f} events/s); {late}\n"
            f"wrote {written}"
        )


def run(
    slos: Sequence[Path],
    inputs: Sequence[str],
    output: Path,
    progress: Progress | None = None,
    *,
    deploys: Sequence[str] = (),
    changes: Sequence[str] = (),
    allowed_lateness: timedelta = ALLOWED_LATENESS,
    max_series: int = MAX_SERIES,
) -> int:
    """Replay files through the rules into ``<topic>.ndjson`` files; prints a summary to stderr. ``deploys``
    and ``changes``: files of deploy and change events, each of which counts from its own time on.

    Raises ConfigError for SLO files, UsageError for inputs and for an output that cannot be written; then
    nothing is written.
    """
    with tidied_up(), _progress_bar() as shown:
        summary = replay(
            slos,
            inputs,
            output,
            progress or shown,
            deploys=deploys,
            changes=changes,
            allowed_lateness=allowed_lateness,
            max_series=max_series,
        )
    print(printable_lines(summary), file=sys.stderr)  # noqa: T201 — the summary is what the command says
    return 0


def replay(
    slos: Sequence[Path],
    inputs: Sequence[str],
    output: Path,
    progress: Progress | None = None,
    *,
    deploys: Sequence[str] = (),
    changes: Sequence[str] = (),
    allowed_lateness: timedelta = ALLOWED_LATENESS,
    max_series: int = MAX_SERIES,
) -> Summary:
    """As :func:`run`, and returns the summary instead of printing it."""
    rules = load_rules(slos)
    feed = Feed(rules.objectives, allowed_lateness, max_series, rules.analyses, rules.comparisons)
    book = Book(rules)
    check_inputs([*inputs, *deploys, *changes])
    _check_not_overwritten([*inputs, *deploys, *changes], output)
    summary, started = Summary(), time.perf_counter()
    with _outputs(output) as files, _few_collections():
        for signal in _notices(deploys, lambda line: feed.announce(read_deploy(line, None))):
            _write(files, signal, summary)
        for signal in _notices(changes, lambda line: book.expect(read_change(line, None))):
            _write(files, signal, summary)
        for block in blocks(inputs):
            for signal in book.read(_replay_block(feed, block)):
                _write(files, signal, summary)
            if progress:
                progress(block)
        for signal in chain(book.read(feed.finish()), book.finish()):
            _write(files, signal, summary)
    summary.events = feed.events
    summary.unmatched, summary.strangers = feed.unmatched, ["/".join(name) for name in feed.strangers]
    summary.silent = [
        f"{objective.namespace}/{objective.name}"
        for objective, has_counted in zip(rules.objectives, feed.shard.ledger.has_counted, strict=True)
        if not has_counted
    ]
    summary.late, summary.too_late = feed.shard.ledger.late.late, feed.shard.ledger.late.too_late
    summary.strays = feed.strays.found()
    summary.seconds = time.perf_counter() - started
    return summary


def _check_not_overwritten(inputs: Sequence[str], output: Path) -> None:
    outputs = {(output / f"{topic}.ndjson").resolve() for topic in TOPICS}
    lost = [name for name in inputs if name != "-" and Path(name).resolve() in outputs]
    if lost:
        raise UsageError(
            "\n".join(f"{printable(name)}: the output would replace this input" for name in lost)
        )


def _replay_block(feed: Feed, block: Block) -> Iterator[Signal]:
    frame, rejects = feed.decode(block.lines)
    yield from _dead_letters(feed, block, frame, rejects)
    yield from feed.push(frame, lambda row: f"{block.file}:{block.numbers[row]}")


def _notices(files: Sequence[str], take: Callable[[bytes], object]) -> Iterator[Signal]:
    """Deploy or change events, all before the first request: each waits for its time. Dead letters of the
    bad ones."""
    for block in blocks(files) if files else ():
        for row, line in enumerate(block.lines):
            try:
                take(line)
            except RecordError as fault:
                source: dict[str, str | int] = {"file": block.file, "line": int(block.numbers[row])}
                whole = block.wholes.get(row)
                letter = dead_letter(fault.error, fault.detail, source, line, None, whole=whole)
                yield Signal("dead-letters", f"{block.file}:{source['line']}", letter)


def _dead_letters(feed: Feed, block: Block, frame: Frame, rejects: Sequence[Reject]) -> Iterator[Signal]:
    """One record for each bad line, observed at the watermark that the lines before it made."""
    largest = np.maximum.accumulate(frame.ts_ms)
    for reject in rejects:
        before = int(np.searchsorted(frame.row, reject.row))
        seen = [int(largest[before - 1])] if before else []
        seen += [] if feed.largest_ms is None else [feed.largest_ms]
        source: dict[str, str | int] = {"file": block.file, "line": int(block.numbers[reject.row])}
        value = dead_letter(
            reject.error,
            reject.detail,
            source,
            block.lines[reject.row],
            feed.watermark_ms(max(seen, default=None)),
            whole=block.wholes.get(reject.row),
        )
        yield Signal("dead-letters", f"{source['file']}:{source['line']}", value)


def _write(files: dict[str, BinaryIO], signal: Signal, summary: Summary) -> None:
    files[signal.topic].write(encode(signal) + b"\n")
    summary.records[signal.topic] += 1


@contextmanager
def _outputs(directory: Path) -> Iterator[dict[str, BinaryIO]]:
    """One open file a topic; they appear under their names only when all went well, and all of them then.
    Otherwise nothing is left behind."""
    _check_targets(directory)
    made = [one for one in (directory, *directory.parents) if not one.exists()]
    scratch = directory / f".burngate-{os.getpid()}-{time.time_ns()}"
    done = False
    try:
        scratch.mkdir(parents=True)
        with ExitStack() as stack:
            yield {topic: stack.enter_context((scratch / f"{topic}.ndjson").open("wb")) for topic in TOPICS}
        _check_targets(directory)
        with undisturbed():
            for topic in TOPICS:
                os.replace(scratch / f"{topic}.ndjson", directory / f"{topic}.ndjson")
            done = True
    except OSError as error:
        raise UsageError(f"{printable(directory)}: cannot write there: {error.strerror}") from None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        for one in [] if done else made:
            with suppress(OSError):
                one.rmdir()


def _check_targets(directory: Path) -> None:
    """All of them, before any is replaced."""
    targets = [directory / f"{topic}.ndjson" for topic in TOPICS]
    if faults := [
        f"{printable(one)}: is a directory, and would be replaced" for one in targets if one.is_dir()
    ]:
        raise UsageError("\n".join(faults))


@contextmanager
def _few_collections() -> Iterator[None]:
    """Fewer runs of the garbage collector: decoded events are many, live briefly and hold no cycles."""
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(200_000, 50, 50)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


@contextmanager
def _progress_bar() -> Iterator[Progress | None]:
    """A bar on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("replaying", total=None)
        yield lambda block: bar.update(task, completed=block.bytes_read, total=block.bytes_total)
