"""Options, environment, defaults: which one counts, and what is said about faults."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from stream.pipeline import ALLOWED_LATENESS, MAX_SERIES
from stream.setting_sources import LOAD_NAMES, REPLAY_NAMES, explain, load, load_part
from stream.setting_values import SettingsError
from stream.settings import OTHER_VARIABLES, Settings, definitions, markdown_table

NEEDED = {"brokers": ["kafka:9092"], "slos": ["slos"]}


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("BURNGATE_"):
            monkeypatch.delenv(name)


def problems(**options: Any) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load({**NEEDED, **options})
    assert caught.value.exit_code == 1
    return str(caught.value).splitlines()


def test_an_option_beats_the_environment_which_beats_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(NEEDED).partitions == 8
    monkeypatch.setenv("BURNGATE_PARTITIONS", "16")
    assert load(NEEDED).partitions == 16
    assert load({**NEEDED, "partitions": "32"}).partitions == 32


def test_every_setting_can_be_set_in_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "file.pem"
    file.write_text("")
    values = {
        "brokers": "a:1, b:2",
        "slos": "x.yaml, y",
        "create_topics": "false",
        "start": "latest",
        "log_format": "json",
        "log_level": "WARNING",
        "security_protocol": "sasl_ssl",
        "sasl_mechanism": "SCRAM-SHA-256",
        "metrics_host": "127.0.0.1",
        "ssl_cafile": str(file),
        "ssl_certfile": str(file),
        "ssl_keyfile": str(file),
    }
    for setting in definitions():
        kind = {"INTEGER": "3", "DURATION": "90s"}.get(setting.metavar, "some")
        monkeypatch.setenv(setting.variable, values.get(setting.name, kind))
    settings = load({})
    assert settings.model_fields_set == set(Settings.model_fields)
    assert settings.brokers == ("a:1", "b:2")
    assert settings.slos == (Path("x.yaml"), Path("y"))
    assert settings.create_topics is False
    assert settings.log_level == "warning"
    assert settings.security_protocol == "SASL_SSL"
    assert settings.allowed_lateness == timedelta(seconds=90)
    assert settings.sasl_password is not None
    assert settings.sasl_password.get_secret_value() == "some"


def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BURNGATE_PARTITIONS", "")
    assert load(NEEDED).partitions == 8


def test_a_path_given_as_an_option_may_hold_a_comma() -> None:
    assert load({**NEEDED, "slos": ["a,b"]}).slos == (Path("a,b"),)


@pytest.mark.parametrize(
    ("text", "length_s"),
    [("0s", 0), ("250ms", 0.25), ("5s", 5), ("2m", 120), ("24h", 86_400)],
)
def test_durations_have_a_unit(text: str, length_s: float) -> None:
    assert load({**NEEDED, "allowed_lateness": text}).allowed_lateness == timedelta(seconds=length_s)


def test_every_fault_is_listed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BURNGATE_PARTITIONS", "many")
    monkeypatch.setenv("BURNGATE_CREATE_TOPICS", "perhaps")
    monkeypatch.setenv("BURNGATE_METRIC_PORT", "1")
    found = problems(
        brokers=["kafka"], slos=None, app="a b", allowed_lateness="5", session_timeout="0s", start="now"
    )
    assert found == [
        "BURNGATE_METRIC_PORT: there is no such setting (did you mean BURNGATE_METRICS_PORT?)",
        "--brokers: 'kafka': HOST:PORT is expected, found 'kafka'",
        "--slos is missing (or BURNGATE_SLOS): " + next(s.help for s in definitions() if s.name == "slos"),
        "--app: 'a b': only letters, digits, '.', '_' and '-' can be in Kafka's names",
        "BURNGATE_PARTITIONS: 'many': must be an integer",
        "BURNGATE_CREATE_TOPICS: 'perhaps': must be true or false",
        "--start: 'now': must be 'earliest' or 'latest'",
        "--allowed-lateness: '5': a duration such as 500ms, 30s, 5m or 1h is expected",
        "--session-timeout: '0s': 1s to 1h is expected",
    ]


def test_a_command_with_some_settings_reads_those_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SLOS", "BROKERS"):
        monkeypatch.setenv(f"BURNGATE_{name}", ",")
    for name in ("PARTITIONS", "SSL_CAFILE"):
        monkeypatch.setenv(f"BURNGATE_{name}", "/no/such/thing")
    monkeypatch.setenv("BURNGATE_MAX_SERIES", "7")
    settings = load_part({"allowed_lateness": "2m"}, REPLAY_NAMES)
    assert (settings.allowed_lateness, settings.max_series) == (timedelta(minutes=2), 7)
    assert settings.partitions == 8
    with pytest.raises(SettingsError) as caught:
        load_part({"topic_prefix": "a/b"}, LOAD_NAMES)
    assert [line.split(":")[0] for line in str(caught.value).splitlines()] == [
        "BURNGATE_BROKERS",
        "--topic-prefix",
        "BURNGATE_PARTITIONS",
        "BURNGATE_SSL_CAFILE",
    ]
    with pytest.raises(SettingsError, match="BURNGATE_SASL_PASSWORD is missing"):
        load_part(
            {"brokers": ["a:1"], "partitions": "1", "security_protocol": "SASL_SSL", "sasl_username": "me",
             "ssl_cafile": __file__},
            LOAD_NAMES,
        )  # fmt: skip


def test_replay_has_the_workers_defaults() -> None:
    settings = load(NEEDED)
    assert (settings.allowed_lateness, settings.max_series) == (ALLOWED_LATENESS, MAX_SERIES)


def test_no_fault_is_told_in_the_words_of_the_programs_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BURNGATE_SLOS", ",")
    found = problems(
        brokers=[","], slos=None, app="", topic_prefix="x" * 101, partitions="1.5", replication_factor="0",
        metrics_port="70000", ssl_cafile="/no/such/file", connect_timeout="2h",
    )  # fmt: skip
    assert [problem.partition(": ")[2].rpartition("': ")[2] for problem in found] == [
        "must name at least one",
        "must name at least one",
        "must not be empty",
        "must have at most 100 characters",
        "must be an integer",
        "must be greater than or equal to 1",
        "must be less than or equal to 65535",
        "1s to 1h is expected",
        "cannot read the file /no/such/file",
    ]


@pytest.mark.parametrize(
    "broker", ["kafka", "kafka:0", "kafka:65536", "kafka:x", ":9092", "http://kafka:9092", " "]
)
def test_a_broker_is_host_and_port(broker: str) -> None:
    assert problems(brokers=[broker])


@pytest.mark.parametrize("broker", ["kafka:9092", "10.0.0.1:1", "[::1]:9092", "a-b.example:65535"])
def test_names_and_addresses_of_brokers_are_taken(broker: str) -> None:
    assert load({**NEEDED, "brokers": [broker]}).brokers == (broker,)


def test_a_variable_that_is_not_the_workers_is_not_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in OTHER_VARIABLES:
        monkeypatch.setenv(name, "1")
    assert load(NEEDED)


def test_what_kubernetes_adds_for_a_service_of_that_name_is_passed_over_or_explained(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in (
        "SERVICE_HOST",
        "SERVICE_PORT",
        "SERVICE_PORT_HTTP",
        "PORT",
        "PORT_80_TCP",
        "PORT_80_TCP_ADDR",
    ):
        monkeypatch.setenv(f"BURNGATE_{name}", "tcp://10.0.0.1:80")
    assert load(NEEDED)
    monkeypatch.setenv("BURNGATE_METRICS_PORT", "tcp://10.0.0.1:9108")
    (problem,) = problems()
    assert "enableServiceLinks" in problem


def test_settings_that_contradict_each_other_are_named(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_text("")
    assert problems(security_protocol="SASL_SSL") == [
        "BURNGATE_SASL_USERNAME is missing: SASL_SSL logs in with it",
        "BURNGATE_SASL_PASSWORD is missing: SASL_SSL logs in with it",
    ]
    assert problems(sasl_username="me", ssl_cafile=str(file)) == [
        "BURNGATE_SASL_USERNAME needs --security-protocol SASL_SSL (or SASL_PLAINTEXT)",
        "--ssl-cafile needs --security-protocol SSL or SASL_SSL",
    ]
    assert problems(security_protocol="SSL", ssl_keyfile=str(file)) == ["--ssl-keyfile needs --ssl-certfile"]
    assert "cannot read the file" in problems(security_protocol="SSL", ssl_cafile=str(tmp_path))[0]


def test_a_login_with_oauth_needs_its_own_settings_and_no_others() -> None:
    oauth = {
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "oauthbearer",
        "oauth_token_url": "https://login.example.com/oauth2/token?tenant=1",
        "oauth_client_id": "me",
        "oauth_client_secret": "geheim",
        "oauth_extensions": "logicalCluster=lkc-1, identityPoolId=pool=1",
    }
    settings = load({**NEEDED, **oauth})
    assert settings.oauth_extensions == ("logicalCluster=lkc-1", "identityPoolId=pool=1")
    assert "geheim" not in repr(settings)
    assert problems(security_protocol="SASL_SSL", sasl_mechanism="OAUTHBEARER", sasl_username="me") == [
        "BURNGATE_SASL_USERNAME means nothing with OAUTHBEARER",
        "BURNGATE_OAUTH_TOKEN_URL is missing: OAUTHBEARER logs in with it",
        "BURNGATE_OAUTH_CLIENT_ID is missing: OAUTHBEARER logs in with it",
        "BURNGATE_OAUTH_CLIENT_SECRET is missing: OAUTHBEARER logs in with it",
    ]
    assert problems(**(oauth | {"security_protocol": "SSL"})) == [
        "--sasl-mechanism OAUTHBEARER needs --security-protocol SASL_SSL (or SASL_PLAINTEXT)"
    ]
    for url in (
        "login.example.com",
        "ftp://a/b",
        "https://",
        "https://me:it@a/b",
        "https://a/b#c",
        "file:///etc",
    ):
        (problem,) = problems(**(oauth | {"oauth_token_url": url}))
        assert "an address such as https://" in problem
    for extension in ("a", "=b", "1=b", "auth=b", "a=\x01"):
        (problem,) = problems(**(oauth | {"oauth_extensions": extension}))
        assert "NAME=VALUE is expected" in problem


def test_a_password_is_shown_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BURNGATE_SASL_PASSWORD", "geheim")
    rows, found = explain({})
    assert "geheim" not in repr(rows)
    assert "geheim" not in repr(found)
    assert "geheim" not in "\n".join(problems())
    assert "geheim" not in repr(load({**NEEDED, "security_protocol": "SASL_SSL", "sasl_username": "me"}))
    assert {row.setting.name: row.value for row in rows}["sasl_password"] == "********"


def test_explain_tells_where_each_value_comes_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BURNGATE_LOG_LEVEL", "ERROR")
    rows, found = explain({**NEEDED, "slos": None, "session_timeout": "120s"})
    assert [problem.split()[0] for problem in found] == ["--slos"]
    told = {row.setting.name: (row.value, row.source) for row in rows}
    assert told["brokers"] == ("kafka:9092", "--brokers")
    assert told["slos"] == ("", "not set")
    assert told["session_timeout"][1] == "--session-timeout"
    assert told["log_level"][1] == "BURNGATE_LOG_LEVEL"
    assert told["partitions"] == ("8", "default")
    rows, _ = explain({**NEEDED, "session_timeout": "120s"})
    assert {row.setting.name: row.value for row in rows}["session_timeout"] == "2m"


def test_the_table_for_the_readme_has_every_setting() -> None:
    table = markdown_table()
    for setting in definitions():
        assert f"`{setting.variable}`" in table
        assert setting.help in table
    assert "--sasl-password" not in table
    assert all(line.replace("\\|", "").count("|") == 5 for line in table.splitlines())


def test_every_setting_has_a_help_and_a_metavar() -> None:
    for setting in definitions():
        assert setting.help.endswith(".")
        assert setting.metavar
