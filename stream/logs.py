"""Log lines for people or for machines."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from typing import Literal

import orjson

from stream.errors import UserError
from stream.words import printable, printable_lines

_QUIET = {
    "aiokafka": logging.ERROR,
    "faust": logging.WARNING,
    "mode": logging.WARNING,
    "mode.timers": logging.ERROR,  # that a timer of Faust's came late: on a busy machine all do
    "asyncio": logging.WARNING,
}
_NEW_CLUSTER = ("Group Coordinator Request failed", "Failed fetch offsets from")
"""aiokafka's words, as an error, while a cluster makes the offsets topic for its first group ever, and while
a broker does not know yet that it leads a partition that was just made."""
_NEW_CLUSTER_S = 15.0
_PART_OF_FAUST = "[^"
_UNCLOSED = "Unclosed AIOKafka"
"""Of a client that a worker leaves behind which ends at once: why it ends has been said."""
_STOPPING = "Error while stopping child"
_CRASHED = "Crashed reason="
_LOOP_CLOSED = "Event loop is closed"
"""After a crash mode stops the consumer's thread, which may have ended by itself by then."""
_LIBRARIES = ("aiokafka", "faust", "mode", "asyncio")
FIELDS = ("topic", "partition", "namespace", "service", "slo", "severity", "error")
"""What a line is about, where its caller says so (``extra=``): fields of the JSON."""
_BEGINNINGS = ((("topic", "partition"), "%s[%d]"), (("partition",), "partition %d"))
_REPEAT_S = 60.0
_MOST_KINDS = 1_000


_OF_AN_OUTAGE = (
    *("Unable connect to ", "Unable to request metadata from ", "Unable to update metadata from "),
    *("Failed fetch messages from ", "Error sending %s to node ", "Marking the coordinator dead"),
    *("Heartbeat failed", "Heartbeat session expired", "Heartbeat send request failed"),
    *("OffsetCommit failed", "FindCoordinator Request failed", "LeaveGroup request failed"),
    *("Cannot send %r to ", "Could not send ", "Got error produce response"),
    *("Topic %s not found in cluster metadata", "Topic %s is not available"),
)
"""aiokafka's words for brokers that do not answer: of that, and of its end, a worker has lines of its own."""


class _Outage(logging.Filter):
    """Demotes what aiokafka says of an outage to debugging; also, while one lasts, what it says of a group
    that cannot be reached."""

    lasts = False

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.startswith("aiokafka") and record.levelno > logging.DEBUG:
            of_all = (*_OF_AN_OUTAGE, *_NEW_CLUSTER) if self.lasts else _OF_AN_OUTAGE
            if str(record.msg).startswith(of_all):
                record.levelno, record.levelname = logging.DEBUG, logging.getLevelName(logging.DEBUG)
                return logging.getLogger().isEnabledFor(logging.DEBUG)
        return True


def libraries_in_outage(lasts: bool) -> None:
    """Tell the log that Kafka does not answer, or does again."""
    _Outage.lasts = lasts


class _Patience(logging.Filter):
    """Keeps back what passes by itself shortly after the start, what lasts is shown; and Faust's account of
    the parts it starts and stops, which it gives in our classes' names."""

    def __init__(self) -> None:
        super().__init__()
        self._until_s = time.monotonic() + _NEW_CLUSTER_S

    def filter(self, record: logging.LogRecord) -> bool:
        text = str(record.msg)
        if text.startswith(_PART_OF_FAUST) and record.levelno == logging.INFO:
            return False
        if (
            text.startswith(_UNCLOSED)
            or _has_ended_already(record, text)
            or _is_told_at_the_end(record, text)
        ):
            return False
        return not text.startswith(_NEW_CLUSTER) or time.monotonic() > self._until_s


def _has_ended_already(record: logging.LogRecord, text: str) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    return _STOPPING in text and isinstance(error, RuntimeError) and str(error) == _LOOP_CLOSED


def _is_told_at_the_end(record: logging.LogRecord, text: str) -> bool:
    """What ends the worker, as each part of Faust that it passes through repeats it."""
    error = record.exc_info[1] if record.exc_info else None
    return _CRASHED in text and (
        isinstance(error, UserError) or any(isinstance(a, UserError) for a in _args(record))
    )


def _args(record: logging.LogRecord) -> tuple[object, ...]:
    return record.args if isinstance(record.args, tuple) else ()


class _Repeats(logging.Filter):
    """Lets a library's complaint pass once in a while: without a broker aiokafka repeats it a hundred times a
    second, for as long as that lasts."""

    def __init__(self) -> None:
        super().__init__()
        self._kept_back: dict[tuple[str, str], tuple[float, int]] = {}
        """(logger, message before its arguments) → (when it last passed, how often it did not since)."""

    def filter(self, record: logging.LogRecord) -> bool:
        if not record.name.startswith(_LIBRARIES) or record.levelno < logging.WARNING:
            return True
        kind, now_s = (record.name, str(record.msg)), time.monotonic()
        passed_s, count = self._kept_back.get(kind, (-_REPEAT_S, 0))
        if now_s - passed_s < _REPEAT_S:
            self._kept_back[kind] = passed_s, count + 1
            return False
        if len(self._kept_back) >= _MOST_KINDS:
            self._kept_back.clear()
        self._kept_back[kind] = now_s, 0
        if count:
            record.msg, record.args = f"{record.getMessage()} (and {count:,} more like it)", ()
        return True


class _Formatter(logging.Formatter):
    """Keeps the traceback of our own faults, and shows only the text of the user's."""

    def format(self, record: logging.LogRecord) -> str:
        shown = copy(record)
        shown.msg, shown.args = _message(record), ()
        return super().format(shown)

    def formatException(self, ei: object) -> str:  # noqa: N802 — the name is logging's
        if isinstance(ei, tuple) and isinstance(ei[1], UserError | None):
            return ""
        return printable_lines(super().formatException(ei))  # type: ignore[arg-type]

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802
        return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"


class _Json(_Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, int | str] = {
            "time": self.formatTime(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _message(record),
        }
        for name in FIELDS:
            if (value := getattr(record, name, _about(record).get(name))) is not None:
                line[name] = value if isinstance(value, int) else printable(value)
        if record.exc_info and (text := self.formatException(record.exc_info)):
            line["traceback"] = text
        return orjson.dumps(line).decode()


class _Outside:
    """An argument of a log line that may be somebody else's text: it stays within its line."""

    def __init__(self, value: object) -> None:
        self._value = value

    def __str__(self) -> str:
        return printable(self._value)

    def __repr__(self) -> str:
        return printable(repr(self._value))


def _about(record: logging.LogRecord) -> Mapping[str, object]:
    """What a line is about that begins with a partition's name, as ours do."""
    message, args = str(record.msg), _args(record)
    for names, beginning in _BEGINNINGS:
        if message.startswith(beginning) and len(args) >= len(names):
            return dict(zip(names, args, strict=False))
    return {}


def _message(record: logging.LogRecord) -> str:
    """What the line says. The lines of a user's fault stay lines; nothing else can begin a new one."""
    args = record.args
    if isinstance(args, tuple):
        args = tuple(one if isinstance(one, int | float | UserError) else _Outside(one) for one in args)
    return printable_lines(str(record.msg) % args if args else str(record.msg))


@contextmanager
def faults_as_lines(kind: str | None, name: str) -> Iterator[None]:
    """With JSON, a user's fault in the block is lines of the log as well, and ends the program."""
    try:
        yield
    except UserError as error:
        if kind != "json":
            raise
        set_up_logging("json", "info")
        for line in str(error).splitlines():
            logging.getLogger(name).critical("%s", line)
        raise SystemExit(error.exit_code) from None


def set_up_logging(kind: Literal["human", "json"], level: str) -> None:
    """One handler on stderr for everything; libraries speak up only when it matters."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        _Json() if kind == "json" else _Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    )
    handler.addFilter(_Outage())
    handler.addFilter(_Patience())
    handler.addFilter(_Repeats())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name, least in _QUIET.items():
        logging.getLogger(name).setLevel(max(least, logging.getLevelName(level.upper())))
