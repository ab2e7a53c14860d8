"""A worker on a Kafka that takes tokens, checks them itself, and ends connections with their token."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from provider import CLIENT, SECRET, Provider, provider
from test_security import SLO, SecureBroker

from stream.kafka import data_directory, local
from stream.kafka.feed import Feed
from stream.kafka.tail import Tail, TailError
from stream.kafka.topics import declare_topics

LIMIT_S = 90
TOKEN_S = 6.0
MODULE = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule"

pytestmark = pytest.mark.broker


@pytest.fixture(scope="module")
def taking_tokens() -> Iterator[SecureBroker]:
    port = local._free_port()
    properties = data_directory.PROPERTIES.replace(
        "PLAINTEXT://{host}:{port}", f"PLAINTEXT://{{host}}:{{port}},SECURE://{{host}}:{port}"
    )
    properties = properties.replace("PLAINTEXT:PLAINTEXT\n", "PLAINTEXT:PLAINTEXT,SECURE:SASL_PLAINTEXT\n")
    properties += (
        "sasl.enabled.mechanisms=OAUTHBEARER\n"
        "listener.name.secure.oauthbearer.sasl.jaas.config="
        f'{MODULE} required unsecuredLoginStringClaim_sub="broker";\n'
        "listener.name.secure.oauthbearer.connections.max.reauth.ms=600000\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data_directory, "PROPERTIES", properties)
        with SecureBroker() as broker:
            broker.secure = f"{local.HOST}:{port}"
            yield broker


def worker(
    broker: SecureBroker, idp: Provider, directory: Path, app: str, secret: str, *options: str
) -> subprocess.Popen[bytes]:
    (directory / "slo.yaml").write_text(SLO)
    command = [sys.executable, "-m", "stream", "worker", "--brokers", broker.secure]
    command += ["--slos", str(directory / "slo.yaml"), "--app", app, "--topic-prefix", app]
    command += ["--security-protocol", "SASL_PLAINTEXT", "--sasl-mechanism", "OAUTHBEARER"]
    command += ["--oauth-token-url", idp.url, "--oauth-client-id", CLIENT, "--oauth-scope", "kafka"]
    command += ["--metrics-port", "0", "--partitions", "1", *options]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("BURNGATE_")}
    environment["BURNGATE_OAUTH_CLIENT_SECRET"] = secret
    with (directory / "log").open("wb") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, cwd=directory, env=environment)


async def newest_total(broker: SecureBroker, app: str, expected: float) -> None:
    """Returns once the newest budget counts so many."""
    async with asyncio.timeout(LIMIT_S):
        while True:
            try:
                async with Tail([broker.bootstrap], {"slo-budgets": f"{app}slo-budgets"}) as tail:
                    while True:
                        for signal in await tail.read(1.0):
                            if signal.record["total"] == expected:
                                return
            except TailError:  # the worker has not made the topics yet
                await asyncio.sleep(0.2)


@pytest.mark.timeout(240)
def test_a_worker_logs_in_with_tokens_and_goes_on_when_they_are_over(
    taking_tokens: SecureBroker, tmp_path: Path, prefix: str
) -> None:
    start_ms = (int(time.time()) // 60 - 60) * 60_000

    def events(minute: int, count: int) -> list[bytes]:
        return [
            orjson.dumps({"ts": start_ms + minute * 60_000 + i, "service": "payment", "status": 200})
            for i in range(count)
        ]

    async def story(idp: Provider) -> None:
        topic = declare_topics(prefix, 1, prefix).requests
        async with Feed([taking_tokens.bootstrap], topic) as feed:
            await feed.send([*events(0, 50), *events(2, 1)])
            await newest_total(taking_tokens, prefix, 50)
            await asyncio.sleep(4 * TOKEN_S)
            await feed.send([*events(4, 50), *events(6, 1)])
            await newest_total(taking_tokens, prefix, 101)

    with provider(TOKEN_S) as idp:
        process = worker(taking_tokens, idp, tmp_path, prefix, SECRET)
        try:
            asyncio.run(story(idp))
            assert process.poll() is None, (tmp_path / "log").read_text()
            process.terminate()
            assert process.wait(60) == 0, (tmp_path / "log").read_text()
        finally:
            process.kill()
            process.wait()
        assert len(idp.asked) >= 3, "renewed again and again"
    assert "Traceback" not in (tmp_path / "log").read_text()


def test_a_secret_that_is_wrong_ends_the_worker_with_what_the_provider_says(
    taking_tokens: SecureBroker, tmp_path: Path, prefix: str
) -> None:
    with provider() as idp:
        process = worker(taking_tokens, idp, tmp_path, prefix, "wrong", "--connect-timeout", "2s")
        try:
            assert process.wait(LIMIT_S) == 1
        finally:
            process.kill()
            process.wait()
    log = (tmp_path / "log").read_text()
    assert f"no token from {idp.url}: 401 Unauthorized" in log
    assert "invalid_client" in log
    assert "Traceback" not in log
