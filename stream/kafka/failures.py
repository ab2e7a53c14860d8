"""What can go wrong between a worker and its Kafka: typed, so that callers can tell one from another.

All but :class:`UnreachableError` and :class:`TopicError` mean that this worker can not go on: exit 3, and a
supervisor starts it again. What it had not yet committed is then read again, and counted once all the same.
"""

from __future__ import annotations

from stream.errors import StalledError, UserError


class UnreachableError(UserError):
    """No broker answered within the time allowed at start-up."""


class TopicError(UserError):
    """A topic is missing and may not be created, or does not have the shape that counting needs."""


class InternalsError(UserError):
    """The installed aiokafka or Faust is not one whose internals this program knows."""


class StaleGenerationError(StalledError):
    """The consumer group has moved on: the partition is not (or no longer) this worker's.

    Raised out of offset commits and seeks. An agent that meets it drops the partition and waits for the next
    assignment; it is fatal only if nobody does.
    """


class UnavailableError(StalledError):
    """The brokers refused what was asked of them, or were gone for too long."""


class CommitError(StalledError):
    """The group's coordinator refused an offset, or did not answer in time."""


class SendError(StalledError):
    """A record was not acknowledged by the broker. Nothing sent after it can be relied on."""


class FencedError(StalledError):
    """Another worker has taken over this partition's state."""


class StateError(StalledError):
    """A checkpoint or a restore failed; whether the last transaction took effect is for Kafka to tell."""
