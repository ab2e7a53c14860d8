"""What is under deploy/ and docker-compose.yml agrees with itself and with the program.

No Docker engine is needed, and none was there: these are the mistakes that can be seen without one.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator, Draft202012Validator

from stream.config import load_objectives, load_rules
from stream.export.server import MetricsServer
from stream.load import SHOP_SLOS
from stream.load.shop import ENDPOINTS, NAMESPACE
from stream.load.story import PLANS
from stream.model.stats import Stats
from stream.settings import PREFIX, Settings, definitions

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
SLO_FILES = sorted((DEPLOY / "slos").glob("*.yaml"))
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
PROMETHEUS: dict[str, Any] = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())
OWN_IMAGE = "burngate:local"
METRICS_PORT = Settings.model_fields["metrics_port"].default

# Of the Compose Specification, what is used here.
SERVICE_KEYS = {
    "image", "build", "pull_policy", "command", "environment", "volumes", "ports", "depends_on",
    "healthcheck", "restart", "stop_grace_period", "read_only", "tmpfs", "cap_drop", "security_opt",
}  # fmt: skip
HEALTH_KEYS = {"test", "interval", "timeout", "retries", "start_period", "disable"}
RESTARTS = re.compile(r"no|always|unless-stopped|on-failure(:[0-9]+)?")
DURATION = re.compile(r"([0-9]+(ms|s|m|h))+")

each_service = pytest.mark.parametrize("service", SERVICES.values(), ids=list(SERVICES))


def instructions() -> list[tuple[str, str]]:
    """(instruction, argument) of the Dockerfile, continued lines joined."""
    text = re.sub(r"^\s*#.*\n", "", (DEPLOY / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1]) for line in lines if line.strip()]


def stages() -> list[list[tuple[str, str]]]:
    found: list[list[tuple[str, str]]] = []
    for instruction in instructions():
        if instruction[0] == "FROM":
            found.append([])
        found[-1].append(instruction)
    return found


def test_the_compose_file_has_a_kafka_a_worker_a_load_and_prometheus() -> None:
    assert set(COMPOSE) == {"name", "x-burngate", "services", "volumes"}
    assert list(SERVICES) == ["kafka", "worker", "load", "prometheus"]


def test_the_compose_file_is_as_the_specifications_schema_says() -> None:
    schema = json.loads((Path(__file__).parent / "data" / "compose-spec.json").read_text())
    assert [error.message for error in Draft7Validator(schema).iter_errors(COMPOSE)] == []


@each_service
def test_a_service_uses_only_keys_that_the_specification_has(service: dict[str, Any]) -> None:
    assert set(service) <= SERVICE_KEYS
    assert RESTARTS.fullmatch(service["restart"])
    health = service.get("healthcheck", {})
    assert set(health) <= HEALTH_KEYS
    times = [health[key] for key in ("interval", "timeout", "start_period") if key in health]
    assert all(DURATION.fullmatch(time) for time in [*times, service.get("stop_grace_period", "1s")])
    assert health.get("disable") or not health or health["test"][0] in ("CMD", "CMD-SHELL")
    assert all(
        isinstance(value, str | int) and value is not True
        for value in service.get("environment", {}).values()
    )


@each_service
def test_images_are_pinned_or_built_here(service: dict[str, Any]) -> None:
    if service["image"] == OWN_IMAGE:
        assert "build" in service or service["pull_policy"] == "never"
    else:
        assert re.fullmatch(r"[a-z]+/[a-z]+:v?[0-9]+\.[0-9]+\.[0-9]+", service["image"])


def test_one_service_builds_our_image() -> None:
    builders = [service["build"] for service in SERVICES.values() if "build" in service]
    assert len(builders) == 1
    assert (ROOT / builders[0]["context"] / builders[0]["dockerfile"]).samefile(DEPLOY / "Dockerfile")


def test_the_kafka_is_the_one_that_we_test_with() -> None:
    coordinate = (ROOT / "stream" / "kafka" / "jars.txt").read_text()
    tested = re.search(r"org\.apache\.kafka:kafka-clients:(\S+)", coordinate)
    assert tested is not None
    assert SERVICES["kafka"]["image"] == f"apache/kafka:{tested[1]}"


@each_service
def test_ports_are_open_to_this_machine_only(service: dict[str, Any]) -> None:
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


@each_service
def test_volumes_are_declared_or_files_that_exist_and_are_read_only(service: dict[str, Any]) -> None:
    for volume in service.get("volumes", []):
        source, target, *mode = volume.split(":")
        assert target.startswith("/")
        if source.startswith("./"):
            assert (ROOT / source).exists()
            assert mode == ["ro"]
        else:
            assert source in COMPOSE["volumes"]


@each_service
def test_a_service_waits_only_for_what_tells_its_health(service: dict[str, Any]) -> None:
    for name, how in service.get("depends_on", {}).items():
        assert how == {"condition": "service_healthy"}
        tells = "healthcheck" in SERVICES[name] or SERVICES[name]["image"] == OWN_IMAGE
        assert tells
        assert not SERVICES[name].get("healthcheck", {}).get("disable")


@pytest.mark.parametrize("name", ["worker", "load"])
def test_our_containers_have_no_rights_and_nothing_to_write_but_tmp(name: str) -> None:
    service = SERVICES[name]
    assert (service["read_only"], service["tmpfs"], service["cap_drop"]) == (True, ["/tmp"], ["ALL"])
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["image"] == OWN_IMAGE


def test_the_workers_settings_are_ones_that_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = SERVICES["worker"]["environment"]
    assert set(environment) <= {setting.variable for setting in definitions()}
    for variable, value in environment.items():
        monkeypatch.setenv(variable, str(value))
    settings = Settings()  # type: ignore[call-arg]
    mounted = [volume.split(":")[1] for volume in SERVICES["worker"]["volumes"]]
    assert [str(path) for path in settings.slos] == mounted
    assert SERVICES["worker"]["ports"][0].endswith(f":{settings.metrics_port}")


def test_everyone_speaks_to_kafka_where_it_listens_for_them() -> None:
    kafka = SERVICES["kafka"]["environment"]
    advertised = dict(item.split("://") for item in kafka["KAFKA_ADVERTISED_LISTENERS"].split(","))
    listening = dict(item.split("://") for item in kafka["KAFKA_LISTENERS"].split(","))
    protocols = dict(item.split(":") for item in kafka["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"].split(","))
    assert set(protocols) == set(listening) == {"CONTROLLER", *advertised}
    assert SERVICES["worker"]["environment"][f"{PREFIX}BROKERS"] == advertised["INSIDE"]
    assert SERVICES["load"]["command"] == ["load", "--brokers", advertised["INSIDE"]]
    assert SERVICES["kafka"]["ports"] == [f"127.0.0.1:9092{listening['OUTSIDE']}"]
    assert advertised["OUTSIDE"] == "localhost:9092"
    assert kafka["KAFKA_CONTROLLER_QUORUM_VOTERS"] == f"{kafka['KAFKA_NODE_ID']}@{listening['CONTROLLER']}"
    assert f"localhost{listening['INSIDE']}" in SERVICES["kafka"]["healthcheck"]["test"]


def test_prometheus_scrapes_every_worker_on_the_metrics_port() -> None:
    found = {job["job_name"]: job for job in PROMETHEUS["scrape_configs"]}
    (discovery,) = found["burngate"]["dns_sd_configs"]
    assert all(name in SERVICES for name in discovery["names"])
    assert (discovery["type"], discovery["port"]) == ("A", METRICS_PORT)
    assert found["burngate"].get("metrics_path", "/metrics") == "/metrics"


@pytest.mark.interop
def test_promtool_takes_the_scrape_configuration() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian: prometheus)")
    done = subprocess.run(
        [promtool, "check", "config", DEPLOY / "prometheus.yml"], capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_image_is_built_in_two_stages_from_one_pinned_base() -> None:
    build, final = stages()
    assert build[0] == ("FROM", "python:3.12-slim-bookworm AS build")
    assert final[0] == ("FROM", "python:3.12-slim-bookworm")
    assert [argument for name, argument in final if name == "COPY"] == [
        "--from=build /opt/burngate /opt/burngate"
    ]


def test_the_image_installs_what_is_locked_and_compiles_nothing_but_its_own_scanner() -> None:
    build, final = stages()
    runs = " ".join(argument for name, argument in build if name == "RUN")
    assert "--require-hashes --only-binary :all: --requirement requirements.lock" in runs
    assert "pip install --no-deps ." in runs
    compiler = "apt-get install --yes --no-install-recommends gcc libc6-dev "
    assert runs.count("apt-get install") == 1
    assert compiler in runs
    for _, argument in [*build, *final]:
        assert not re.search(r"\b(apk|build-essential|curl|wget)\b", argument)
    for _, argument in final:
        assert not re.search(r"\b(apt-get|gcc)\b", argument), "the image itself has no compiler"


def test_the_image_runs_as_nobody_in_particular_and_says_how_it_is() -> None:
    final = dict(stages()[-1])
    assert re.fullmatch(r"[1-9][0-9]{3,}:[1-9][0-9]{3,}", final["USER"])
    order = [name for name, _ in stages()[-1]]
    assert order.index("USER") > order.index("RUN")
    assert json.loads(final["ENTRYPOINT"]) == ["burngate"]
    assert json.loads(final["CMD"]) == ["worker"]
    assert final["EXPOSE"] == str(METRICS_PORT)
    assert f"'{METRICS_PORT}'" in final["HEALTHCHECK"]
    assert f"'{PREFIX}METRICS_PORT'" in final["HEALTHCHECK"]


@pytest.mark.parametrize("reason", [None, "stuck"])
def test_the_health_check_sees_what_healthz_says(reason: str | None) -> None:
    program, *arguments = json.loads(dict(stages()[-1])["HEALTHCHECK"].split(" CMD ", 1)[1])
    assert program == "python"

    async def check() -> int:
        async with MetricsServer(Stats(), host="127.0.0.1", port=0, healthy=lambda: reason) as server:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *arguments,
                env={**os.environ, f"{PREFIX}METRICS_PORT": str(server.port), "no_proxy": "127.0.0.1"},
                stderr=asyncio.subprocess.DEVNULL,
            )
            return await process.wait()

    assert asyncio.run(check()) == (0 if reason is None else 1)


def test_the_builder_gets_what_it_copies_and_nothing_else() -> None:
    _, everything, *rules = (ROOT / ".dockerignore").read_text().splitlines()
    assert everything == "*"
    let_through = [rule[1:].rstrip("/") for rule in rules if rule.startswith("!")]
    copied = [
        source.rstrip("/").removeprefix("./")
        for name, argument in stages()[0]
        if name == "COPY"
        for source in argument.split()[:-1]
    ]
    assert sorted(copied) == sorted(let_through)
    assert all((ROOT / path).exists() for path in copied)


@pytest.mark.parametrize("path", SLO_FILES, ids=lambda path: path.name)
def test_an_example_slo_is_completed_and_checked_by_editors(path: Path) -> None:
    first, *_ = path.read_text().splitlines()
    reference = re.fullmatch(r"# yaml-language-server: \$schema=(\S+)", first)
    assert reference is not None
    schema = json.loads((path.parent / reference[1]).read_text())
    for document in yaml.safe_load_all(path.read_text()):
        Draft202012Validator(schema).validate(document)


def test_the_example_slos_are_about_the_shop_that_the_load_plays() -> None:
    objectives = load_objectives([DEPLOY / "slos"])
    services = {endpoint.service for endpoint in ENDPOINTS}
    assert {objective.service for objective in objectives} == services
    assert {objective.namespace for objective in objectives} == {NAMESPACE}
    for objective in objectives:
        routes = [endpoint.route for endpoint in ENDPOINTS if endpoint.service == objective.service]
        for glob in objective.endpoints:
            assert any(fnmatch(route, glob) for route in routes), (objective.identity, glob)


@pytest.mark.parametrize("path", [DEPLOY / "slos", SHOP_SLOS], ids=["examples", "demo"])
def test_the_analyses_are_of_the_releases_that_the_shop_tells_of(path: Path) -> None:
    analyses = {analysis.service: analysis for analysis in load_rules([path]).analyses}
    assert set(analyses) == {service for service, plan in PLANS.items() if plan.verdict}
    for service, analysis in analyses.items():
        assert analysis.namespace == NAMESPACE
        assert float(analysis.stages_pct[0]) == PLANS[service].stages[0][1] * 100


def test_the_demo_has_the_analyses_that_are_shown_as_examples() -> None:
    assert set(load_rules([DEPLOY / "slos"]).analyses) == set(load_rules([SHOP_SLOS]).analyses)
