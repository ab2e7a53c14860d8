"""What else may be kept and decided beside a shard's SLOs, tick by tick: canary analyses are.

An extension sees what stage one counted for it in the order in which the shard does, and decides at the same
ticks; its state records are written in the same transactions. Evaluators do not import one another: the rooms
above put them together (``pipeline.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Protocol

from stream.model.deploy import DeployEvent
from stream.wire.cohorts import Cohorts
from stream.wire.signal import Signal

Service = tuple[str, str]
IsCondemned = Callable[[Service, str], bool]
"""Whether a version of a service was taken back (contract, section 4)."""


class Extension(Protocol):
    """One for each shard."""

    def observe(
        self,
        source: int,
        cohorts: Cohorts | None,
        grown: bool,
        final: bool,
        kept: range,
        decided_s: int | None,
    ) -> None:
        """A partial of a source. ``grown``: it replaces the one before, of which it says all and more;
        ``final``: nothing more comes of its chunk; of what it adds only the panes ``kept`` count: the others
        are too late, or too far ahead."""

    def announce(self, event: DeployEvent) -> bool:
        """False: a repeat, or of no concern. It may come again after a crash."""
        ...

    @property
    def is_busy(self) -> bool:
        """Whether a tick at which there is no event may matter. Asked seldom; true is always right."""
        ...

    def at(self, tick_s: int, frozen: Collection[Service], is_condemned: IsCondemned) -> Iterator[Signal]:
        """Decide a tick. ``frozen``: services that must not be deployed now."""

    def version_of(self, service: Service, deployment: str) -> str | None:
        """What a deployment that is under way, or was the last one, brings; None: it is not known."""

    def changes(self) -> Iterator[tuple[bytes, bytes | None]]:
        """State records that differ from those stored."""

    def restore(self, records: Mapping[bytes, bytes], decided_s: int | None) -> None:
        """Take up what an earlier owner stored. Raises ValueError on what cannot be read."""

    def reopen(self, source: int, cohorts: Cohorts | None) -> None:
        """An open contribution that the counts already hold; after :meth:`restore`."""
