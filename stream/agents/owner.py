"""One partition of services in a worker's hands: what came for it, and what was decided of it.

Event time may jump by days, and every tick in between has its records. They are decided some at a time, with
a checkpoint behind each part; nothing further is applied before all of them are decided.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from faust.types import TP

from stream.errors import InvariantError
from stream.kafka import state
from stream.kafka.batches import RecordBatch
from stream.kafka.failures import StateError
from stream.kafka.state import Held
from stream.model.stats import LatencyReading
from stream.slo.keeper import Keeper
from stream.slo.readings import latency_reading
from stream.wire.signal import Signal

MOST_DUE = 5_000
"""Records, or ..."""
MOST_DUE_BYTES = 4 << 20
"""... bytes of them, that are due at a time: with more there is a checkpoint behind the tick."""
TURN_S = 1.0
"""So long a partition is worked on before others get their turn."""
READINGS_EVERY_S = 5.0
"""For the metrics page, while catching up: they go through all objectives, and checkpoints are many then."""


@dataclass(slots=True)
class Owner:
    tp: TP
    generation: int
    held: Held
    keeper: Keeper
    run: int
    due: list[state.Signal] = field(default_factory=list)
    """Decided since the last checkpoint."""
    due_bytes: int = 0
    inbox: deque[RecordBatch] = field(default_factory=deque)
    """What came and is not applied, in order; of the first one some may be."""
    goes_on: bool = False
    """There is more than one turn's work: it is done beside the agent, which gets nothing more of it."""
    is_stopping: bool = False
    """To be given up as soon as a tick is over."""
    made: int = 0
    """Signals decided so far, those of a tick that is being decided included."""
    rewritten: int = 0
    """Parts of the state that were written anew so far, after changes of the rules."""
    decided_s: int | None = None
    """The last tick that was checkpointed."""
    checkpoint_s: float = field(default_factory=time.monotonic)
    checkpoints: int = 0
    applied_s: float = field(default_factory=time.monotonic)
    """When partials were last applied."""
    deleted_s: float = field(default_factory=time.monotonic)
    read_s: float = -READINGS_EVERY_S
    """When the readings for the metrics were taken."""
    is_waiting: bool = False
    """A checkpoint will be taken in a while."""
    latencies: tuple[LatencyReading, ...] = ()
    counted_overflow: int = 0
    counted_late: tuple[int, int] = (0, 0)

    @property
    def has_decided(self) -> bool:
        """Whether a tick was decided since the last checkpoint."""
        return self.keeper.shard.ledger.decided_s != self.decided_s

    @property
    def steps(self) -> int:
        """Grows with everything that is decided, ticks without a signal included, and with state written
        anew."""
        return self.made + self.rewritten + (self.keeper.shard.ledger.decided_s or 0)

    @property
    def is_full(self) -> bool:
        """Whether there is enough for a checkpoint."""
        return len(self.due) >= MOST_DUE or self.due_bytes >= MOST_DUE_BYTES

    def is_over(self, until_s: float) -> bool:
        """Whether a turn that may last until then is over."""
        return self.is_full or self.is_stopping or time.monotonic() > until_s

    def put(self, batch: RecordBatch) -> None:
        """Raises StateError if something is missing before it."""
        if batch.run > self.run:
            raise StateError(
                f"{self.tp.topic}[{self.tp.partition}]: partials were deleted before they were read"
            )
        if batch.run == self.run:
            self.inbox.append(batch)

    def messages(self) -> Iterator[tuple[int, bytes, int]]:
        """(offset, message, the broker's stamp) of what is to be applied, one after the other."""
        while self.inbox:
            batch = self.inbox[0]
            first = bisect_left(batch.offsets, self.keeper.position)
            for i in range(first, len(batch.offsets)):
                value = batch.values[i]
                if value is None:
                    raise InvariantError(f"{self.tp}: an empty record at offset {batch.offsets[i]}")
                yield batch.offsets[i], value, batch.timestamps_ms[i]
            self.keeper.position = max(self.keeper.position, batch.end)
            self.inbox.popleft()

    def decide(self, outgoing: Callable[[Signal], state.Signal], until_s: float) -> None:
        """Ticks that event time has reached: all of them, or enough for now. Long: to be called in a thread.

        A record is packed as soon as it is made: a minute may have ten thousand of them.
        """
        latencies: list[LatencyReading] = []
        minute = None
        for signal in self.keeper.rest(lambda: self.is_over(until_s)):
            packed = outgoing(signal)
            self.due.append(packed)
            self.due_bytes += len(packed.value or b"")
            self.made += 1
            if signal.topic == "latency-percentiles":
                if signal.value["evaluated_at"] != minute:
                    minute = signal.value["evaluated_at"]
                    latencies.clear()
                latencies.append(latency_reading(signal))
        if latencies:
            self.latencies = tuple(latencies)

    def take_due(self) -> list[state.Signal]:
        """What is to be published with the next checkpoint."""
        due, self.due, self.due_bytes = self.due, [], 0
        return due
