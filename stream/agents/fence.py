"""Where former epochs of source partitions ended, once and for all: for a reader that may not go on in them.

What was counted is known by the state of the service partitions and by the partials that it does not hold
yet. Neither tells of what a former reader, which may be only paused, still sends. So a fence is written to
every service partition first: from there on its owner does not count what older epochs send.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

from stream.kafka.failures import StateError
from stream.kafka.sender import Sender
from stream.slo.reached import Ends, add_partial, ends_in_state, pieces_in_state
from stream.wire.partial import encode_fences

log = logging.getLogger(__name__)

Look = Callable[[int], Awaitable[Mapping[bytes, bytes]]]
"""The state of a service partition."""
Read = Callable[[int, int, int], AsyncIterator[bytes]]
"""The partials of a service partition from one offset to another. Raises StateError if some are gone."""

_TRIES = 3
_AT_ONCE = 8
"""So many service partitions are looked at at a time: each takes two consumers, and the memory of a state."""


class Fences:
    """For all service partitions of an app."""

    def __init__(self, sender: Sender, partials: str, partitions: int, look: Look, read: Read) -> None:
        self._sender = sender
        self._partials = partials
        self._partitions = partitions
        self._look = look
        self._read = read

    async def put_up(self, epochs: Mapping[int, int], epoch: int) -> Mapping[int, int]:
        """``epochs``: by source, the one that ends here; ``epoch`` is newer than all. Returns by source where
        it ended: everything below was counted, or lies in a chunk that is now complete."""
        message = encode_fences([(source, epoch) for source in sorted(epochs)])
        sent = [await self._sender.send(self._partials, p, None, message) for p in range(self._partitions)]
        places = [answer.offset for answer in await asyncio.gather(*sent)]
        limit = asyncio.Semaphore(_AT_ONCE)
        known = await asyncio.gather(*(self._ends(p, place, limit) for p, place in enumerate(places)))
        found = {}
        for source, of in epochs.items():
            ends = [ends[source, of] for ends in known if (source, of) in ends]
            if ends:
                found[source] = max(ends)
                if min(ends) < max(ends):
                    log.warning(
                        "source %d: not every service partition had heard of the records %d to %d: some of "
                        "them may not be counted",
                        *(source, min(ends), max(ends)),
                    )
        return found

    async def _ends(self, partition: int, end: int, limit: asyncio.Semaphore) -> Ends:
        """As told by the partials below an offset; as many partitions at once as ``limit`` lets."""
        async with limit:
            return await self._ends_below(partition, end)

    async def _ends_below(self, partition: int, end: int) -> Ends:
        """The owner of the partition may go on, and delete partials, meanwhile."""
        for left in reversed(range(_TRIES)):
            try:
                records = await self._look(partition)
                (position, ends), pieces = ends_in_state(records), pieces_in_state(records)
                async for data in self._read(partition, position, end):
                    if (whole := pieces.take(data)) is not None:
                        add_partial(ends, whole)
            except ValueError as error:
                raise StateError(f"partition {partition} cannot be read: {error}") from error
            except StateError:
                if not left:
                    raise
            else:
                return ends
        raise AssertionError("unreachable")
