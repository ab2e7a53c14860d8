"""A worker on a Kafka that wants TLS and a login: every one of its clients gets in, or it says why not."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from stream.errors import UsageError
from stream.kafka import data_directory, local
from stream.kafka.feed import Feed
from stream.kafka.local import LocalBroker
from stream.kafka.security import Security
from stream.kafka.tail import Tail, TailError
from stream.kafka.topics import declare_topics

USER, PASSWORD = "burngate", "not \"quite' simple"
JAAS = 'org.apache.kafka.common.security.plain.PlainLoginModule required user_{user}="{password}";'
SLO = """\
apiVersion: sre.example.com/v1
kind: ServiceLevelObjective
metadata: {name: pay}
spec:
  service: payment
  sli: {metric: availability}
  target: 99
  timeWindow: {type: rolling, duration: 1h}
"""
LIMIT_S = 60

pytestmark = pytest.mark.broker


class SecureBroker(LocalBroker):
    """A local Kafka with a second way in."""

    secure = ""


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Key and self-signed certificate of 127.0.0.1 in one file."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed: no certificate can be made")
    directory = tmp_path_factory.mktemp("tls")
    key, own = directory / "key.pem", directory / "cert.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=127.0.0.1",
    ]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(own)]
    subprocess.run(command, check=True, capture_output=True)
    both = directory / "both.pem"
    both.write_text(key.read_text() + own.read_text())
    return both


@pytest.fixture(scope="module")
def secured(certificate: Path) -> Iterator[SecureBroker]:
    port = local._free_port()
    password = PASSWORD.replace('"', '\\\\"')
    properties = data_directory.PROPERTIES.replace(
        "PLAINTEXT://{host}:{port}", f"PLAINTEXT://{{host}}:{{port}},SECURE://{{host}}:{port}"
    )
    properties = properties.replace("PLAINTEXT:PLAINTEXT\n", "PLAINTEXT:PLAINTEXT,SECURE:SASL_SSL\n")
    properties += (
        "sasl.enabled.mechanisms=PLAIN\n"
        f"listener.name.secure.plain.sasl.jaas.config={JAAS.format(user=USER, password=password)}\n"
        "listener.name.secure.ssl.keystore.type=PEM\n"
        f"listener.name.secure.ssl.keystore.location={certificate}\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data_directory, "PROPERTIES", properties)
        with SecureBroker() as broker:
            broker.secure = f"{local.HOST}:{port}"
            yield broker


def load(secured: SecureBroker, certificate: Path, prefix: str, password: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "stream", "load", "--brokers", secured.secure, "--topic-prefix", prefix]
    command += ["--security-protocol", "SASL_SSL", "--ssl-cafile", str(certificate), "--sasl-username", USER]
    command += ["--duration", "2", "--connect-timeout", "1s"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("BURNGATE_")}
    environment["BURNGATE_SASL_PASSWORD"] = password
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)


def worker(
    secured: SecureBroker, certificate: Path, directory: Path, prefix: str, password: str, *options: str
) -> subprocess.Popen[bytes]:
    (directory / "slo.yaml").write_text(SLO)
    command = [
        sys.executable,
        "-m",
        "stream",
        "worker",
        "--brokers",
        secured.secure,
        "--slos",
        str(directory),
    ]
    command += ["--security-protocol", "SASL_SSL", "--ssl-cafile", str(certificate), "--sasl-username", USER]
    command += [
        "--app",
        prefix,
        "--topic-prefix",
        prefix,
        "--metrics-port",
        "0",
        "--partitions",
        "1",
        *options,
    ]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("BURNGATE_")}
    environment["BURNGATE_SASL_PASSWORD"] = password
    with (directory / "log").open("wb") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, cwd=directory, env=environment)


def test_a_worker_reads_decides_and_checkpoints_over_tls_with_a_login(
    secured: SecureBroker, certificate: Path, tmp_path: Path, prefix: str
) -> None:
    now_ms = int(time.time() * 1000) - 600_000
    events = [
        orjson.dumps({"ts": now_ms + i * 1000, "service": "payment", "status": 200}) for i in range(200)
    ]

    async def budgets() -> int:
        topic = declare_topics(prefix, 1, prefix).requests
        async with asyncio.timeout(LIMIT_S):
            async with Feed([secured.bootstrap], topic) as feed:
                await feed.send([*events, b"poison"])
            names = {name: prefix + name for name in ("slo-budgets", "dead-letters")}
            found: set[str] = set()
            while found != set(names):
                assert process.poll() is None, (tmp_path / "log").read_text()
                try:
                    async with Tail([secured.bootstrap], names) as tail:
                        while found != set(names):
                            found |= {signal.topic for signal in await tail.read(1.0)}
                except TailError:  # the worker has not made the topics yet
                    await asyncio.sleep(0.2)
            return len(found)

    process = worker(secured, certificate, tmp_path, prefix, PASSWORD)
    try:
        assert asyncio.run(budgets()) == 2
        process.terminate()
        assert process.wait(30) == 0, (tmp_path / "log").read_text()
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    ("password", "status", "says"),
    [(PASSWORD, 0, "events sent to"), ("wrong", 1, f"that lets us in (with SASL_SSL as {USER})")],
)
def test_the_load_gets_in_with_its_password_alone(
    secured: SecureBroker, certificate: Path, prefix: str, password: str, status: int, says: str
) -> None:
    process = load(secured, certificate, prefix, password)
    _, said = process.communicate(timeout=LIMIT_S)
    assert (process.returncode, says in said, "Traceback" in said) == (status, True, False), said


def test_a_wrong_password_ends_the_worker_with_a_line_that_says_so(
    secured: SecureBroker, certificate: Path, tmp_path: Path, prefix: str
) -> None:
    process = worker(secured, certificate, tmp_path, prefix, "wrong", "--connect-timeout", "2s")
    try:
        assert process.wait(LIMIT_S) == 1
    finally:
        process.kill()
        process.wait()
    log = (tmp_path / "log").read_text()
    assert f"no Kafka that lets us in (with SASL_SSL as {USER})" in log
    assert "Traceback" not in log


def test_certificates_that_are_none_are_named(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_text("no certificate")
    with pytest.raises(UsageError, match=r"ca\.pem"):
        Security("SSL", cafile=file).options()


def test_a_password_is_not_shown() -> None:
    assert PASSWORD not in repr(Security("SASL_SSL", username=USER, password=PASSWORD))
