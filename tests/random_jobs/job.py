"""One random job: made of a seed, run, and what is wrong with what came out."""

from __future__ import annotations

import contextlib
import io
import json
import random
import re
import traceback
import warnings
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from quick_schemas import is_valid
from random_jobs.events import Stream, changes, deploys, stream
from random_jobs.rules import Rules, rules
from test_stages import by_topic, run_live

from schemas import faults as schema_faults
from stream.config import load_rules
from stream.errors import UserError
from stream.model.deploy import DeployEvent
from stream.pipeline import Feed
from stream.replay import run
from stream.wire.notice import read_deploy
from stream.wire.reject import RecordError
from stream.wire.signal import TOPICS

STAGES_EVERY = 4
"""Of so many jobs one also goes through both stages, with crashes."""
MOST = 600
"""Characters that are shown of anything."""
_FOREIGN = re.compile(r"Warning|Traceback|^\s", re.MULTILINE)
_SUMMARY = re.compile(r"replayed ([\d,]+) events? in .*", re.DOTALL)


@dataclass(frozen=True)
class Job:
    seed: int
    rules: Rules
    events: Stream
    deploys: list[bytes]
    changes: list[bytes]
    lateness_s: int
    max_series: int

    @classmethod
    def of(cls, seed: int) -> Job:
        """Always the same of a seed."""
        rng = random.Random(seed)
        found = rules(rng)
        events = stream(rng, found, in_order=seed % STAGES_EVERY == 0)
        lateness_s = 5 if events.in_order else rng.choice([5, 5, 0, 60])
        max_series = 100_000 if events.in_order else rng.choice([100_000, 100_000, 1, 7])
        return cls(
            *(seed, found, events, deploys(rng, found, events), changes(rng, found, events)),
            *(lateness_s, max_series),
        )


def faults(seed: int, directory: Path) -> list[str]:
    """Run a job; everything that is wrong, a traceback included. Its files stay in the directory."""
    try:
        job = Job.of(seed)
        _write(job, directory)
        found = _replay_twice(job, directory)
        if not found and job.events.in_order:
            found = _through_both_stages(job, directory)
    except Exception:
        return [traceback.format_exc()]
    return found


def _write(job: Job, directory: Path) -> None:
    (directory / "rules.yaml").write_text(job.rules.text)
    for name in ("events", "deploys", "changes"):
        lines = job.events.lines if name == "events" else getattr(job, name)
        (directory / f"{name}.ndjson").write_bytes(b"".join(line + b"\n" for line in lines))


def _replay_twice(job: Job, directory: Path) -> list[str]:
    found = []
    for name in ("first", "second"):
        said = io.StringIO()
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said), warnings.catch_warnings():
            warnings.simplefilter("always")
            try:
                code = run(
                    [directory / "rules.yaml"],
                    [str(directory / "events.ndjson")],
                    directory / name,
                    deploys=[str(directory / "deploys.ndjson")],
                    changes=[str(directory / "changes.ndjson")],
                    allowed_lateness=timedelta(seconds=job.lateness_s),
                    max_series=job.max_series,
                )
            except UserError as error:
                return [f"exit {error.exit_code}: {error}"]
        if code != 0:
            found.append(f"exit {code}")
        found += _wrong_summary(job, said.getvalue(), directory / name)
    for topic in TOPICS:
        first, second = ((directory / name / f"{topic}.ndjson").read_bytes() for name in ("first", "second"))
        if first != second:
            found.append(f"{topic}: the second replay differs")
        found += _wrong_records(topic, first)
    return found


def _wrong_summary(job: Job, said: str, directory: Path) -> list[str]:
    """Every line is counted or dead-lettered; and nothing else is said."""
    matched = _SUMMARY.fullmatch(said)
    lines = said.splitlines()
    if matched is None or not lines[-1].startswith("wrote ") or _FOREIGN.search(said):
        return [f"stderr has more than the summary: {said[:MOST]!r}"]
    read = sum(1 for line in job.events.lines if line.strip())
    counted = int(matched[1].replace(",", ""))
    letters = Counter(
        json.loads(line)["source"]["file"].rpartition("/")[2]
        for line in (directory / "dead-letters.ndjson").open("rb")
    )
    if counted + letters["events.ndjson"] != read:
        return [f"{read} lines, {counted} counted and {letters['events.ndjson']} dead-lettered"]
    return []


def _wrong_records(topic: str, data: bytes) -> list[str]:
    """None that does not fit its schema, or is out of order."""
    found, before = [], ""
    for number, line in enumerate(data.splitlines(), 1):
        record = json.loads(line, parse_constant=lambda name: f"the number {name}")
        if not is_valid(topic)(record):
            found += [f"{topic}:{number}: {fault}" for fault in schema_faults(topic, record)] or [
                f"{topic}:{number}: does not fit its schema"
            ]
        now = record.get("evaluated_at", before)
        if now < before and topic != "change-impacts":
            found.append(f"{topic}:{number}: {now} comes after {before}")
        before = now
    return found[:20]


def _through_both_stages(job: Job, directory: Path) -> list[str]:
    """With an imagined Kafka in between and crashes, up to the last tick the records are those of replay."""
    rng = random.Random(job.seed)
    files = [directory / "rules.yaml"]
    told = _deploys(job)
    stamps = [stamp + rng.randrange(50) for stamp in job.events.stamps]
    lines = [line.removesuffix(b"\r") for line in job.events.lines]
    live = run_live(lines, files[0], rng, crashes=True, stamps=stamps, deploys=told)
    known = load_rules(files)
    feed = Feed(known.objectives, analyses=known.analyses, comparisons=known.comparisons)
    for event in told:
        feed.announce(event)
    frame, _ = feed.decode(lines)
    replayed = list(feed.push(frame))
    last = max((str(signal.value["evaluated_at"]) for signal in live.signals), default="")
    expected, got = by_topic(replayed, last), by_topic(live.signals, last)
    return [
        f"{topic}: both stages say {sum(got.get(topic, Counter()).values())} records, "
        f"replay {sum(expected.get(topic, Counter()).values())}; only one does:\n"
        + "\n".join(str(one)[:MOST] for one in _differences(got, expected, topic)[:4])
        for topic in sorted(got.keys() | expected.keys())
        if got.get(topic) != expected.get(topic)
    ]


def _deploys(job: Job) -> list[DeployEvent]:
    """Those whose service has had an event before their time: until then its partition may decide nothing."""
    first_ms: dict[str, int] = {}
    for line, stamp in zip(job.events.lines, job.events.stamps, strict=True):
        with contextlib.suppress(ValueError, AttributeError):
            first_ms.setdefault(json.loads(line).get("service"), stamp)
    found = []
    for line in job.deploys:
        with contextlib.suppress(RecordError):
            event = read_deploy(line, None)
            if event.at_ms > first_ms.get(event.service, event.at_ms) + 10_000:
                found.append(event)
    return found


def _differences(
    got: dict[str, Counter[bytes]], expected: dict[str, Counter[bytes]], topic: str
) -> list[tuple[str, bytes]]:
    mine, theirs = got.get(topic, Counter()), expected.get(topic, Counter())
    found = [("live", one) for one in (mine - theirs)] + [("replay", one) for one in (theirs - mine)]
    return sorted(found, key=lambda one: re.findall(rb'"evaluated_at":"[^"]*', one[1])[-1:])
