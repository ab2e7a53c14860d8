"""The workers of one app, and the supervisor that starts them again."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path

from breaking_worker import __file__ as BREAKING
from workers import WorkerProcess

SESSION_S = 6
_POLL_S = 0.1
_AGAIN = 3
"""Exit code with which a worker asks to be started again."""
_NO_KAFKA = 1
"""Exit code of a worker that finds no Kafka when it starts."""


class Fleet:
    """Slots, each with a worker. A worker that ends by itself is started again."""

    def __init__(self, broker: str, app: str, slos: Path, directory: Path, partitions: int) -> None:
        self._broker, self._app, self._slos, self._directory = broker, app, slos, directory
        self._options = ("--partitions", str(partitions), "--session-timeout", f"{SESSION_S}s")
        self.workers: dict[int, WorkerProcess] = {}
        self.outage = False
        """Kafka is stopped: workers may find none."""
        self.ended: list[int] = []
        """Exit codes of workers that ended by themselves."""
        self._started = 0

    def start(self, slot: int, program: tuple[str, ...] = ("-m", "stream")) -> WorkerProcess:
        """In a slot without one; else nothing changes."""
        if (there := self.workers.get(slot)) is not None and there.process.poll() is None:
            return there
        self._started += 1
        log = self._directory / f"worker-{self._started:03d}.log"
        worker = WorkerProcess(self._broker, self._app, self._slos, log, self._options, program)
        self.workers[slot] = worker
        return worker

    def start_breaking(self, slot: int, point: str, number: int) -> WorkerProcess:
        return self.start(slot, (BREAKING, point, str(number)))

    def remove(self, slot: int, *, kill: bool) -> None:
        """End the worker of a slot, if it has one; it will not come again before it is started."""
        worker = self.workers.pop(slot, None)
        if worker is not None:
            worker.kill() if kill else self._stop(worker)

    def _stop(self, worker: WorkerProcess) -> None:
        code = worker.stop(60.0)
        # SIGTERM ends a worker that is still being loaded; another fault's SIGKILL may come first.
        assert code in (0, _AGAIN, -signal.SIGTERM, -signal.SIGKILL), (
            f"SIGTERM ended a worker with {code}:\n{worker.log.read_text()[-3000:]}"
        )

    async def supervise(self) -> None:
        """For ever; fails when a worker ends in a way that no fault explains."""
        while True:
            for slot, worker in list(self.workers.items()):
                code = worker.process.poll()
                if code is None or self.workers.get(slot) is not worker:
                    continue
                self._check(worker, code)
                self.start(slot)
            await asyncio.sleep(_POLL_S)

    def _check(self, worker: WorkerProcess, code: int) -> None:
        allowed = (-signal.SIGKILL, _AGAIN, _NO_KAFKA) if self.outage else (-signal.SIGKILL, _AGAIN)
        text = worker.log.read_text(errors="replace")
        assert code in allowed, f"a worker ended with {code}:\n{text[-3000:]}"
        assert "Traceback" not in text, f"{worker.log}: a traceback:\n{text[-3000:]}"
        self.ended.append(code)

    async def wait_for_death(self, worker: WorkerProcess, limit_s: float) -> bool:
        """Whether the worker ended by itself within the limit."""
        deadline_s = time.monotonic() + limit_s
        while worker.process.poll() is None:
            if time.monotonic() > deadline_s:
                return False
            await asyncio.sleep(_POLL_S)
        return True

    def stop(self) -> None:
        for worker in list(self.workers.values()):
            if worker.process.poll() is None:
                self._stop(worker)
        self.workers.clear()

    def kill(self) -> None:
        """Whatever happened, none is left."""
        for worker in self.workers.values():
            worker.process.kill()
            worker.process.wait()
