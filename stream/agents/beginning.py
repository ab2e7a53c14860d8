"""Where a reader begins in a source partition: at the group's offset, or, where that is no good, so that
nothing is counted twice and nothing passed over.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any, NamedTuple

import msgspec
from faust.types import TP

from stream.slo.reached import Resumption
from stream.wire.partial import RULE

log = logging.getLogger(__name__)

Remember = Callable[[], Awaitable[Mapping[int, Resumption | None]]]
"""Where the state says that the sources were left, by partition."""
Fence = Callable[[Mapping[int, int], int], Awaitable[Mapping[int, int]]]
"""(epochs by partition, a newer one): from now on those epochs count no more. Where they ended, by
partition."""
_Natural = Annotated[int, msgspec.Meta(ge=0, le=2**62)]


@dataclass(frozen=True, slots=True)
class Noted:
    """What stands beside a committed offset."""

    epoch: _Natural
    partitions: Annotated[int, msgspec.Meta(ge=1, le=2**31)]
    """How many there were at the app's very first start."""
    term: _Natural = 0
    """Add it to the group's generation. A group that was forgotten counts its generations from 1 again."""
    topic: str | None = None
    """The topic's id; None where brokers know none."""
    sent: _Natural | None = None
    """Everything below this offset is in acknowledged partials."""
    rule: _Natural = 1
    """By which chunks are cut."""

    @classmethod
    def decode(cls, metadata: str) -> Noted | None:
        """None if it is no note of ours: who sets offsets by hand (``kafka-consumer-groups --reset-offsets``)
        leaves none beside them, or anything."""
        try:
            return msgspec.json.decode(metadata, type=cls)
        except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
            return None

    def is_of(self, topic: str | None) -> bool:
        """Whether it is an offset of the topic with this id, as far as that is known."""
        return None in (self.topic, topic) or self.topic == topic

    def encode(self) -> str:
        return json.dumps({name: value for name, value in asdict(self).items() if value is not None})


class Beginning(NamedTuple):
    """Of a chunk."""

    offset: int
    noted: Noted


class _Committed(NamedTuple):
    offset: int
    noted: Noted | None
    """None: the offset was not set by a worker."""


class _Start(NamedTuple):
    """Without an ``epoch`` in a new one."""

    offset: int
    epoch: int | None = None
    term: int = 0


class _Place(NamedTuple):
    """What is known of a partition before it is decided where to begin."""

    tp: TP
    begin: int
    end: int
    topic: str | None
    committed: _Committed | None
    renewed: _Start | None
    """Where to begin because it was cut by another rule."""
    first_count: int | None
    """Partitions at the first start, as far as the group remembers; not asked for if all offsets are ours."""


class Beginnings:
    """Found for all partitions that a worker was given, and committed before anything is sent.

    ``requests`` is the topic; ``start``: earliest or latest, at the app's very first start.
    """

    def __init__(self, requests: str, start: str, remember: Remember, fence: Fence) -> None:
        self.requests = requests
        self.start = start
        self.remember = remember
        self.fence = fence
        self._left: Mapping[int, Resumption | None] | None = None
        self._remembering = asyncio.Lock()

    async def find(self, consumer: Any, tps: list[TP], generation: int) -> dict[TP, Beginning]:
        """All at once: of hundreds of partitions one after the other, the group would lose its patience."""
        begin, end = await consumer.beginning_offsets(tps), await consumer.end_offsets(tps)
        topic = await consumer.topic_id(self.requests) if tps else None
        self._left = None
        committed = await _all_committed(consumer, tps)
        renewed = await self._renewed(committed, topic)
        is_all_ours = all(one is not None and one.noted is not None for one in committed.values())
        count = None if is_all_ours else await self._first_count(consumer)
        places = [_Place(tp, begin[tp], end[tp], topic, committed[tp], renewed.get(tp), count) for tp in tps]
        found = await asyncio.gather(*(self._find(consumer, place, generation) for place in places))
        return dict(zip(tps, found, strict=True))

    async def _find(self, consumer: Any, place: _Place, generation: int) -> Beginning:
        """Offsets that began anew (first start, a topic made again, deleted records), or were set by somebody
        else, get a new epoch; so does what was cut by another rule."""
        tp, begin, end, topic, committed, renewed, count = place
        noted = None if committed is None else committed.noted
        is_there = committed is not None and begin <= committed.offset <= end
        if committed is not None and noted is not None and noted.is_of(topic) and is_there and not renewed:
            return Beginning(committed.offset, replace(noted, topic=topic or noted.topic, sent=None))
        if renewed is not None:
            start = _renewed(tp, renewed, begin, end)
        elif committed is None:
            start = await self._where_left(consumer, tp, begin, end, count)
        elif noted is None:
            start = _set_from_outside(tp, committed.offset, begin, end)
        elif not noted.is_of(topic):
            start = _made_again(tp, begin)
        else:
            start = _where_it_continues(tp, committed.offset, noted.sent, begin, end)
        if noted is not None:
            count = noted.partitions
        elif count is None:
            count = max(await self._remembered(), default=consumer.partition_count(tp.topic) - 1) + 1
        epoch = _epoch_now() if start.epoch is None else start.epoch
        found = Beginning(start.offset, Noted(epoch, count, start.term, topic, rule=RULE))
        await consumer.commit_offset(tp, found.offset, found.noted.encode(), generation=generation)
        return found

    async def _renewed(
        self, committed: Mapping[TP, _Committed | None], topic: str | None
    ) -> dict[TP, _Start]:
        """Where to begin, in a new epoch, in partitions whose records were cut by another rule: behind all
        that was counted. The same records cut in two ways would be counted twice, or end their owners."""
        before = {
            tp: _Start(one.offset, one.noted.epoch, one.noted.term)
            for tp, one in committed.items()
            if one is not None and one.noted is not None
            if one.noted.rule != RULE and one.noted.is_of(topic)
        }
        return await self._behind_all(before) if before else {}

    async def _behind_all(self, before: Mapping[TP, _Start]) -> dict[TP, _Start]:
        """``before``: where chunks began that may have been counted in part."""
        epochs = {tp.partition: start.epoch for tp, start in before.items() if start.epoch is not None}
        epoch = max(_epoch_now(), *(of + 1 for of in epochs.values()))
        ends = await self.fence(epochs, epoch)
        return {
            tp: _Start(max(start.offset, ends.get(tp.partition, 0)), epoch, start.term)
            for tp, start in before.items()
        }

    async def _where_left(self, consumer: Any, tp: TP, begin: int, end: int, count: int | None) -> _Start:
        """Where to begin when the group has no offset: it never had one, they have expired or were deleted,
        or the topic was made again, which deletes them too. Then not all that was read lies below what was
        appended since. ``count``: partitions at the first start, as far as the group remembers."""
        known = await self._remembered()
        if tp.partition not in known:
            is_first = not known if count is None else tp.partition < count
            return _Start(end if is_first and self.start == "latest" else begin)
        if (left := known[tp.partition]) is None:
            log.warning(
                "%s[%d]: the group's offset is gone, and the state does not tell it: reading from %d",
                *(tp.topic, tp.partition, begin),
            )
            return _Start(begin)
        first_after = await consumer.offset_at(tp, left.heard_ms + 1)
        if min(end, end if first_after is None else first_after) < left.heard_end:
            return _made_again(tp, begin)
        if left.rule != RULE:
            behind = await self._behind_all({tp: _Start(left.offset, left.epoch, left.term)})
            return _renewed(tp, behind[tp], begin, end)
        if begin <= left.offset:
            log.warning(
                "%s[%d]: the group's offset is gone: reading on from %d, where the state ends",
                *(tp.topic, tp.partition, left.offset),
            )
            return _Start(left.offset, left.epoch, left.term)
        # No chunk's start can be read any more. What was counted of the last one must not be read again.
        offset = min(end, max(begin, left.read_end))
        log.warning(
            "%s[%d]: the group's offset is gone, and records below %d were deleted: reading from %d, "
            "everything below %d was counted",
            *(tp.topic, tp.partition, begin, offset, left.read_end),
        )
        return _Start(offset)

    async def _remembered(self) -> Mapping[int, Resumption | None]:
        async with self._remembering:
            if self._left is None:
                self._left = await self.remember()
            return self._left

    async def _first_count(self, consumer: Any) -> int | None:
        """How many partitions there were at the app's very first start; None if this is it."""
        tps = [TP(self.requests, number) for number in range(consumer.partition_count(self.requests))]
        for committed in (await _all_committed(consumer, tps)).values():
            if committed is not None and committed.noted is not None:
                return committed.noted.partitions
        return None


async def _all_committed(consumer: Any, tps: list[TP]) -> dict[TP, _Committed | None]:
    found = await asyncio.gather(*(consumer.committed_offset(tp) for tp in tps))
    return {
        tp: None if one is None else _Committed(one.offset, Noted.decode(one.metadata))
        for tp, one in zip(tps, found, strict=True)
    }


def _epoch_now() -> int:
    return time.time_ns() // 1_000_000


def _renewed(tp: TP, start: _Start, begin: int, end: int) -> _Start:
    offset = min(end, max(begin, start.offset))
    log.info(
        "%s[%d]: another version cut its records by another rule: reading from %d in a new epoch, everything "
        "below was counted",
        *(tp.topic, tp.partition, offset),
    )
    return start._replace(offset=offset)


def _set_from_outside(tp: TP, offset: int, begin: int, end: int) -> _Start:
    """Where somebody else has set the group's offset, or as near to it as there are records."""
    start = min(end, max(begin, offset))
    log.warning(
        "%s[%d]: the group's offset was set to %d by somebody else: reading from %d in a new epoch; what had "
        "been counted from there on is counted again",
        *(tp.topic, tp.partition, offset, start),
    )
    return _Start(start)


def _made_again(tp: TP, begin: int) -> _Start:
    log.warning("%s[%d] was made again: reading from %d", tp.topic, tp.partition, begin)
    return _Start(begin)


def _where_it_continues(tp: TP, offset: int, sent: int | None, begin: int, end: int) -> _Start:
    """Where to begin when the committed offset can not be read from."""
    if sent is not None and offset < begin <= sent <= end:
        log.info(
            "%s[%d]: records below %d were deleted after they were counted: reading from %d",
            *(tp.topic, tp.partition, begin, sent),
        )
        return _Start(sent)
    log.warning(
        "%s[%d]: the committed offset %d is outside of what is there (%d to %d): reading from %d",
        *(tp.topic, tp.partition, offset, begin, end, begin),
    )
    return _Start(begin)
