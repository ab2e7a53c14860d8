"""Log lines for people or for machines."""

from __future__ import annotations

import logging
import sys
import time
from typing import Literal

import orjson

from stream.errors import UserError

_QUIET = {
    "aiokafka": logging.ERROR,
    "faust": logging.WARNING,
    "mode": logging.WARNING,
    "asyncio": logging.WARNING,
}
_NEW_CLUSTER = "Group Coordinator Request failed"
"""aiokafka's words, as an error, while a cluster makes the offsets topic for its first group ever."""
_NEW_CLUSTER_S = 15.0
_PART_OF_FAUST = "[^"


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
        return not text.startswith(_NEW_CLUSTER) or time.monotonic() > self._until_s


class _Formatter(logging.Formatter):
    """Keeps the traceback of our own faults, and shows only the text of the user's."""

    def formatException(self, ei: object) -> str:  # noqa: N802 — the name is logging's
        if isinstance(ei, tuple) and isinstance(ei[1], UserError):
            return ""
        return super().formatException(ei)  # type: ignore[arg-type]

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802
        return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"


class _Json(_Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": self.formatTime(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info and (text := self.formatException(record.exc_info)):
            line["traceback"] = text
        return orjson.dumps(line).decode()


def set_up_logging(kind: Literal["human", "json"], level: str) -> None:
    """One handler on stderr for everything; libraries speak up only when it matters."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        _Json() if kind == "json" else _Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    )
    handler.addFilter(_Patience())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name, least in _QUIET.items():
        logging.getLogger(name).setLevel(max(least, logging.getLevelName(level.upper())))
