"""A worker's look for changed SLO files meets files that come, go and change under its hands."""

from __future__ import annotations

import asyncio
import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from stream.agents import slo_files
from stream.agents.slo_files import MOST_LOOKS, SloFiles
from stream.config import load_rules
from stream.errors import UserError
from stream.model.ruleset import Ruleset


def slo(name: str, target: float = 99) -> str:
    return f"""\
apiVersion: sre.example.com/v1
kind: ServiceLevelObjective
metadata: {{name: {name}, namespace: shop}}
spec:
  service: payment
  sli: {{metric: availability}}
  target: {target}
  timeWindow: {{type: rolling, duration: 1h}}
"""


def look(files: SloFiles) -> Ruleset | UserError | None:
    return asyncio.run(files.look())


def names(found: object) -> list[str]:
    assert isinstance(found, Ruleset), found
    return [objective.name for objective in found.objectives]


class ConfigMap:
    """A mounted one, as Kubernetes changes it: a new directory, a link that moves there, the old one gone."""

    def __init__(self, mount: Path) -> None:
        self.mount = mount
        self.count = 0
        mount.mkdir()

    def put(self, *slos: str) -> None:
        self.count += 1
        data, old = self.mount / f"..2026_{self.count}", self.mount / "..data"
        data.mkdir()
        (data / "team").mkdir()
        for number, text in enumerate(slos):
            (data / "team" / f"{number}.yaml").write_text(text)
        link = self.mount / "..data_tmp"
        link.symlink_to(data.name)
        before = os.readlink(old) if old.is_symlink() else None
        link.rename(old)
        if not (self.mount / "team").is_symlink():
            (self.mount / "team").symlink_to("..data/team")
        if before:
            shutil.rmtree(self.mount / before)


def test_a_config_map_that_moves_is_loaded_once_and_then_left_alone(tmp_path: Path) -> None:
    mounted = ConfigMap(tmp_path / "slos")
    mounted.put(slo("a"))
    files = SloFiles([mounted.mount])
    assert names(files.load()) == ["a"]
    assert look(files) is None
    mounted.put(slo("a"), slo("b"))
    assert names(look(files)) == ["a", "b"]
    assert look(files) is None


def test_config_maps_that_are_swapped_all_the_time_end_nothing_and_what_is_taken_is_whole(
    tmp_path: Path,
) -> None:
    """Each version has three SLOs of its own; none of another may be among them."""
    mounted = ConfigMap(tmp_path / "slos")

    def put(version: int) -> None:
        mounted.put(*(slo(f"v{version}-{part}") for part in range(3)))

    put(0)
    files, stopped = SloFiles([mounted.mount]), threading.Event()
    files.load()

    def churn() -> None:
        version = 0
        while not stopped.is_set():
            version += 1
            put(version)

    churning = threading.Thread(target=churn)
    churning.start()
    try:
        deadline_s = time.monotonic() + 3
        found = []
        while time.monotonic() < deadline_s:
            found.append(look(files))
    finally:
        stopped.set()
        churning.join()
    for one in found:
        if isinstance(one, Ruleset):
            assert len({name.partition("-")[0] for name in names(one)}) == 1
            assert len(one.objectives) == 3
    put(1_000_000)
    assert names(look(files)) == [f"v1000000-{part}" for part in range(3)]


def test_a_directory_that_vanishes_while_it_is_listed_is_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "slo.yaml").write_text(slo("a"))
    (tmp_path / "more").mkdir()
    files = SloFiles([tmp_path])
    files.load()
    listed = Path.iterdir

    def vanishing(self: Path):
        if self.name == "more":
            raise FileNotFoundError(2, "No such file or directory", str(self))
        return listed(self)

    monkeypatch.setattr(Path, "iterdir", vanishing)
    assert isinstance(look(files), UserError)
    monkeypatch.undo()
    assert names(look(files)) == ["a"]


def test_a_directory_behind_a_link_is_watched(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "slo.yaml").write_text(slo("a"))
    (tmp_path / "slos").mkdir()
    (tmp_path / "slos" / "linked").symlink_to(tmp_path / "elsewhere")
    files = SloFiles([tmp_path / "slos"])
    assert names(files.load()) == ["a"]
    (tmp_path / "elsewhere" / "other.yml").write_text(slo("b"))
    assert names(look(files)) == ["b", "a"]


def test_what_the_loader_passes_over_wakes_nobody(tmp_path: Path) -> None:
    (tmp_path / "slo.yaml").write_text(slo("a"))
    files = SloFiles([tmp_path])
    files.load()
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "slo.yaml").write_text(slo("b"))
    (tmp_path / "notes.yxml").write_text("no SLO")
    assert look(files) is None


@pytest.mark.parametrize("change", ["content", "time"])
def test_a_change_that_keeps_the_time_or_the_length_is_seen(tmp_path: Path, change: str) -> None:
    file = tmp_path / "slo.yaml"
    file.write_text(slo("a"))
    files = SloFiles([tmp_path])
    files.load()
    times = file.stat()
    time.sleep(0.02)
    file.write_text(slo("b"))
    if change == "time":
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert names(look(files)) == ["b"]


def refuse_to_read(monkeypatch: pytest.MonkeyPatch, times: int) -> Callable[[], int]:
    """So often opening a file fails; says how often it was tried."""
    opened, tried = Path.open, [0]

    def failing(self: Path, *values, **options):
        tried[0] += 1
        if tried[0] <= times:
            raise OSError(5, "Input/output error")
        return opened(self, *values, **options)

    monkeypatch.setattr(Path, "open", failing)
    return lambda: tried[0]


def test_a_failure_that_passes_is_tried_again_although_nothing_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "slo.yaml").write_text(slo("a"))
    files = SloFiles([tmp_path])
    files.load()
    (tmp_path / "slo.yaml").write_text(slo("b"))
    refuse_to_read(monkeypatch, times=3)
    found = [look(files) for _ in range(10)]
    assert isinstance(found[0], UserError)
    assert sum(isinstance(one, Ruleset) for one in found) == 1
    assert names(next(one for one in found if isinstance(one, Ruleset))) == ["b"]
    complaints = [
        record for record in caplog.records if "cannot be read: input/output error" in record.message
    ]
    assert len(complaints) == 1, "the same complaint is made once"
    assert found[-1] is None


def test_what_stays_unreadable_is_tried_ever_more_seldom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "slo.yaml").write_text(slo("a"))
    files = SloFiles([tmp_path])
    files.load()
    (tmp_path / "slo.yaml").write_text(slo("b"))
    tried = refuse_to_read(monkeypatch, times=10**9)
    for _ in range(20 * MOST_LOOKS):
        look(files)
    assert 20 <= tried() <= 20 + 6


def test_files_that_are_wrong_are_told_once_and_loaded_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "slo.yaml").write_text(slo("a"))
    files = SloFiles([tmp_path])
    files.load()
    (tmp_path / "slo.yaml").write_text(slo("a").replace("availability", "availabilty"))
    assert isinstance(look(files), UserError)
    assert "the changed SLO files are invalid, the old ones stay in use" in caplog.text
    monkeypatch.setattr(slo_files, "load_rules", None)
    assert look(files) is None


def test_a_change_between_the_load_and_the_first_look_is_not_lost(tmp_path: Path) -> None:
    """A worker waits for Kafka in between, for minutes if need be."""
    (tmp_path / "slo.yaml").write_text(slo("a"))
    files = SloFiles([tmp_path])
    files.load()
    (tmp_path / "slo.yaml").write_text(slo("changed"))
    assert names(look(files)) == ["changed"]


def test_a_file_that_is_written_while_it_is_read_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "slo.yaml"
    file.write_text(slo("a"))
    files = SloFiles([tmp_path])
    files.load()
    file.write_text(slo("a") + "---\n")

    def written_meanwhile(paths):
        found = load_rules(paths)
        if file.read_text().endswith("---\n"):
            file.write_text(slo("a") + "---\n" + slo("b"))
        return found

    monkeypatch.setattr(slo_files, "load_rules", written_meanwhile)
    assert names(look(files)) == ["a", "b"]


def test_the_loop_goes_on_while_files_are_parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And whoever stops does not wait for the end of it."""
    (tmp_path / "slo.yaml").write_text(slo("a"))
    files = SloFiles([tmp_path])
    files.load()
    (tmp_path / "slo.yaml").write_text(slo("b"))
    go_on = threading.Event()

    def long(paths):
        go_on.wait(60)
        return load_rules(paths)

    monkeypatch.setattr(slo_files, "load_rules", long)

    async def life() -> None:
        looking = asyncio.create_task(files.look())
        for _ in range(10):
            await asyncio.sleep(0.01)
        assert not looking.done()
        looking.cancel()

    started_s = time.monotonic()
    asyncio.run(life())
    assert time.monotonic() - started_s < 5
    go_on.set()
