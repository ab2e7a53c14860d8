"""The thread in which Faust runs the aiokafka consumer: how that is made, started and stopped.

Each override names the fault that it keeps away. What the app's thread asks of the consumer is in
:mod:`stream.kafka.transport`.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import KafkaError
from faust.transport.drivers import aiokafka as driver
from mode.threads import WorkerThread

from stream.errors import InvariantError
from stream.kafka.failures import UnavailableError
from stream.kafka.fetching import BatchFetcher
from stream.kafka.reconnect import reconnect_patiently

_FETCH_MAX_WAIT_MS = 200  # a partition that was just drained waits for the fetch under way: keep that short
_METADATA_MAX_AGE_MS = 2_000  # a partition added to the input is found within this time


class _Thread(WorkerThread):  # type: ignore[misc]  # Faust is untyped here
    """One that was not stopped in time must not keep the process from ending."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.daemon = True

    def run(self) -> None:
        """What it fails with has been handed to the app, which ends with it."""
        with contextlib.suppress(Exception):
            super().run()


class ConsumerThread(driver.AIOKafkaConsumerThread):  # type: ignore[misc]  # Faust is untyped here
    """Owns the aiokafka consumer and its :class:`BatchFetcher`."""

    Worker = _Thread
    fetcher: BatchFetcher | None = None

    async def on_start(self) -> None:
        """As Faust does. What a broker refuses is one line: mode would print a traceback of its own."""
        try:
            await super().on_start()
        except (KafkaError, OSError) as error:
            raise UnavailableError(f"reading cannot begin: {error}") from error
        reconnect_patiently(self._consumer._client)
        self.fetcher = BatchFetcher(self._consumer)

    def on_crash(self, msg: str, *fmt: Any, **kwargs: Any) -> None:
        """Nothing: what ends the worker is told once, where it ends."""

    async def on_thread_stop(self) -> None:
        """As Faust does. Without a broker aiokafka's fetcher lets the cancellation of its own tasks escape
        from its end; Faust would then wait for this thread for ever, and print a traceback."""
        try:
            await super().on_thread_stop()
        except asyncio.CancelledError:
            if self._consumer is not None:
                await self._consumer._client.close()

    def _create_worker_consumer(self, transport: Any) -> AIOKafkaConsumer:
        """As Faust does, except for what it offers no setting for.

        Faust reads `read_uncommitted`: aborted records would count. It waits 1.5 s for a fetch, and while one
        is under way aiokafka sends no other to that broker.
        """
        conf = self.app.conf
        self._assignor = RoundRobinPartitionAssignor
        return AIOKafkaConsumer(
            bootstrap_servers=driver.server_list(transport.url, transport.default_port),
            **self.app.client_options,
            client_id=conf.broker_client_id,
            group_id=conf.id,
            partition_assignment_strategy=[self._assignor],
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_partition_fetch_bytes=conf.consumer_max_fetch_size,
            fetch_max_wait_ms=_FETCH_MAX_WAIT_MS,
            metadata_max_age_ms=_METADATA_MAX_AGE_MS,
            check_crcs=conf.broker_check_crcs,
            request_timeout_ms=int(conf.broker_request_timeout * 1000),
            session_timeout_ms=int(conf.broker_session_timeout * 1000),
            heartbeat_interval_ms=int(conf.broker_heartbeat_interval * 1000),
            rebalance_timeout_ms=int(conf.broker_rebalance_timeout * 1000),
            max_poll_interval_ms=int(conf.broker_max_poll_interval * 1000),
        )

    def batches(self) -> BatchFetcher:
        if self.fetcher is None:
            raise InvariantError("the consumer has not been started")
        return self.fetcher
