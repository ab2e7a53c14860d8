"""What every measurement needs: a broker, a directory, the number of rounds, a way to show what it saw."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import producing
from benchmarks.traffic import Traffic, write_slos
from benchmarks.worker import Worker


@dataclass(slots=True)
class Lab:
    broker: str
    directory: Path
    rounds: int
    quick: bool
    console: Console
    _workers: int = field(default=0)

    def say(self, text: str) -> None:
        self.console.print(text, style="dim", highlight=False)

    def show(self, table: Table) -> None:
        self.console.print(table)

    def slos(self, name: str, documents: Iterable[str]) -> Path:
        return write_slos(self.directory / f"slos-{name}", documents)

    def fill(self, topic: str, traffic: Traffic) -> int:
        self.say(f"producing {traffic.count:,} events to {topic}")
        return asyncio.run(producing.fill(self.broker, topic, traffic))

    def clear(self, *keep: str) -> None:
        """Every topic goes but these."""
        asyncio.run(producing.clear(self.broker, keep))

    def clear_input_for(self, app: str) -> None:
        """Every topic goes but those of an app's state and partials."""
        self.clear(f"{app}-state", f"{app}-partials")

    def worker(
        self, slos: Path, options: Sequence[str] = (), app: str | None = None, module: str = "stream"
    ) -> Worker:
        """A worker of a new app, or of a given one; its log stays in the directory."""
        self._workers += 1
        log = self.directory / f"worker-{self._workers}.log"
        return Worker(self.broker, app or f"bench-{self._workers}", slos, log, options, module=module)

    def child(self, module: str, *arguments: str) -> Any:
        """The JSON that a module of ours prints as its last line, run in a process of its own."""
        command = [sys.executable, "-m", f"benchmarks.{module}", *arguments]
        ended = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        return json.loads(ended.stdout.splitlines()[-1])


def spread(values: Sequence[float], form: str = "{:.2f}") -> list[str]:
    """Minimum, median and maximum as text."""
    return [form.format(value) for value in (min(values), median(values), max(values))]
