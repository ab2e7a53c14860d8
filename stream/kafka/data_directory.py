"""What lies in the data directory of a local Kafka, and who may use it."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import IO

from stream.errors import UsageError
from stream.words import printable

HOST = "127.0.0.1"
META = Path("data", "meta.properties")
SCRATCH = "tmp"
_OURS = frozenset({"data", "kafka.log", "lock", "log4j2.properties", "server.properties", SCRATCH})
"""What is in a data directory."""
_EVERYWHERE = frozenset({"lost+found"})
"""What an empty directory may hold: on a volume of its own it is there from the start."""
# A batch around a record of the largest size, 16 MiB, has a header too.
_MAX_BATCH_BYTES = (16 << 20) + (64 << 10)

# After a crash the controller takes the broker back only when its old session has expired.
# Paths are relative to the data directory, in which Kafka runs: nothing in its name needs quoting.
PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller_port}
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller_port}
advertised.listeners=PLAINTEXT://{host}:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs=data
auto.create.topics.enable=false
offsets.topic.num.partitions=4
offsets.topic.replication.factor=1
offsets.retention.minutes=10080
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.max.timeout.ms=900000
share.coordinator.state.topic.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
broker.session.timeout.ms=4000
broker.heartbeat.interval.ms=1000
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
message.max.bytes={max_batch_bytes}
replica.fetch.max.bytes={max_batch_bytes}
log.cleaner.enable=true
log.cleaner.backoff.ms=1000
log.cleaner.dedupe.buffer.size=16777216
num.network.threads=2
num.io.threads=4
"""
_LOGGING = """\
status = error
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{ISO8601} %p %m (%c)%notEmpty{: %throwable{short.message}}%n
appender.out.layout.alwaysWriteExceptions = false
rootLogger.level = warn
rootLogger.appenderRef.out.ref = out
"""


def take(directory: Path) -> IO[str]:
    """Hold the directory, made if there is none, against other brokers, as long as what is returned is open.

    Raises :class:`UsageError` if it cannot be used, another uses it, or it holds something else.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        _refuse_foreign(directory)
        lock = (directory / "lock").open("a")
    except OSError as error:
        raise UsageError(f"cannot use {printable(directory)} for Kafka's data: {error.strerror}") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise UsageError(f"another local Kafka uses the data directory {printable(directory)}") from None
    return lock


def write_logging(directory: Path) -> None:
    (directory / "log4j2.properties").write_text(_LOGGING, encoding="utf-8")


def _refuse_foreign(directory: Path) -> None:
    """Raise :class:`UsageError` for a directory that holds something else than Kafka's data, or its start."""
    foreign = sorted({entry.name for entry in directory.iterdir()} - _OURS - _EVERYWHERE)
    if foreign and not (directory / META).is_file():
        raise UsageError(
            f"{printable(directory)} holds other files "
            f"({printable(foreign[0])}{', …' if len(foreign) > 1 else ''}): "
            "Kafka's data need a directory of their own, new or empty"
        )


def write_properties(directory: Path, port: int, controller_port: int) -> None:
    text = PROPERTIES.format(
        host=HOST, port=port, controller_port=controller_port, max_batch_bytes=_MAX_BATCH_BYTES
    )
    (directory / "server.properties").write_text(text, encoding="utf-8")
