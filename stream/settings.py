"""The worker's settings: one definition each, from which the command line's options, the ``BURNGATE_*``
variables, their help, ``burngate settings`` and the README's table follow.

Their values are put together in :mod:`stream.setting_sources`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, SettingsConfigDict

from stream.setting_values import (
    Brokers,
    Duration,
    KafkaName,
    Paths,
    ReadableFile,
    Texts,
    between,
    lower,
    shown_duration,
    upper,
)

PREFIX = "BURNGATE_"
OTHER_VARIABLES = {
    "BURNGATE_KAFKA": "HOST:PORT of a running Kafka, for the demo and the tests, instead of a local one. "
    "It is spoken to plainly.",
    "BURNGATE_REQUIRE_INTEROP": "With 1 a test that needs other programs fails where they are missing.",
}
"""Variables that are not the worker's, and what they are for."""

_S, _H = timedelta(seconds=1), timedelta(hours=1)


class FromEnvironment(BaseSettings):
    """What the values of settings are read with, all of them or a part."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, frozen=True, extra="forbid", validate_default=False
    )


class Settings(FromEnvironment):
    """Everything that a worker can be told. ``json_schema_extra`` has the option's metavar."""

    brokers: Brokers = Field(
        description="Kafka's brokers to start from, separated by commas.",
        json_schema_extra={"metavar": "HOST:PORT"},
    )
    slos: Paths = Field(
        description="SLO file, or directory of them; several times, or separated by commas in the variable. "
        "Reloaded when they change.",
        json_schema_extra={"metavar": "PATH"},
    )
    app: KafkaName = Field(
        "burngate",
        min_length=1,
        max_length=100,
        description="Names the consumer group, the transactional ids and the internal topics. "
        "Workers of one name share the work.",
        json_schema_extra={"metavar": "NAME"},
    )
    topic_prefix: KafkaName = Field(
        "",
        max_length=100,
        description="Goes before every topic's name.",
        json_schema_extra={"metavar": "PREFIX"},
    )
    partitions: int = Field(
        8,
        ge=1,
        le=10_000,
        description="Partitions of the topics that are created. Those of internal topics stay as they are.",
    )
    replication_factor: int | None = Field(
        None,
        ge=1,
        le=100,
        description="Copies of the topics that are created; by default 3, or as many as there are brokers.",
    )
    create_topics: bool = Field(
        True, description="Create the topics that are missing; otherwise a missing one is an error."
    )
    start: Annotated[Literal["earliest", "latest"], BeforeValidator(lower)] = Field(
        "earliest",
        description="Where an app reads from on its very first start.",
    )
    allowed_lateness: Annotated[Duration, between(0 * _S, 24 * _H)] = Field(
        5 * _S,
        description="How far out of order a partition's events may be; decisions wait for as long.",
    )
    max_series: int = Field(
        100_000,
        ge=1,
        le=10_000_000,
        description="Combinations of service, endpoint, method, version and track that are told apart; "
        "further ones are counted together.",
    )
    reload_interval: Annotated[Duration, between(_S, _H)] = Field(
        5 * _S, description="How often the SLO files are looked at for changes."
    )
    metrics_port: int = Field(
        9108,
        ge=0,
        le=65_535,
        description="Port of /metrics, /healthz and /readyz; 0 for none.",
    )
    metrics_host: str = Field(
        "0.0.0.0",  # noqa: S104 - Prometheus scrapes from elsewhere
        min_length=1,
        description="Address that the metrics port is opened on.",
        json_schema_extra={"metavar": "ADDRESS"},
    )
    log_format: Annotated[Literal["human", "json"], BeforeValidator(lower)] = Field(
        "human", description="Log lines for people or for machines."
    )
    log_level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(lower)] = Field(
        "info", description="The least severe messages to log."
    )
    connect_timeout: Annotated[Duration, between(_S, _H)] = Field(
        60 * _S, description="How long to wait at the start for a broker that answers."
    )
    session_timeout: Annotated[Duration, between(_S, _H)] = Field(
        10 * _S, description="After this silence of a worker the others take its partitions over."
    )
    security_protocol: Annotated[
        Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"], BeforeValidator(upper)
    ] = Field("PLAINTEXT", description="How to talk to the brokers.")
    sasl_mechanism: Annotated[
        Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"], BeforeValidator(upper)
    ] = Field("PLAIN", description="How to log in, with a SASL protocol.")
    sasl_username: str | None = Field(
        None, description="The user to log in as.", json_schema_extra={"metavar": "NAME"}
    )
    sasl_password: SecretStr | None = Field(
        None,
        description="The user's password. Only in the environment: a command line can be read by others.",
    )
    oauth_token_url: str | None = Field(
        None,
        description="With OAUTHBEARER: where the OpenID provider gives out tokens.",
        json_schema_extra={"metavar": "URL"},
    )
    oauth_client_id: str | None = Field(
        None, description="With OAUTHBEARER: the client's name.", json_schema_extra={"metavar": "NAME"}
    )
    oauth_client_secret: SecretStr | None = Field(
        None, description="With OAUTHBEARER: the client's secret. Only in the environment."
    )
    oauth_scope: str | None = Field(
        None,
        description="With OAUTHBEARER: what the token is asked to be good for.",
        json_schema_extra={"metavar": "SCOPE"},
    )
    oauth_extensions: Texts = Field(
        (),
        description="With OAUTHBEARER: what brokers want to know beside the token, such as "
        "`logicalCluster=lkc-1,identityPoolId=pool-1`.",
        json_schema_extra={"metavar": "NAME=VALUE"},
    )
    ssl_cafile: ReadableFile | None = Field(
        None,
        description="Certificates of the authorities to trust (PEM), instead of the system's.",
        json_schema_extra={"metavar": "FILE"},
    )
    ssl_certfile: ReadableFile | None = Field(
        None, description="The client's own certificate (PEM).", json_schema_extra={"metavar": "FILE"}
    )
    ssl_keyfile: ReadableFile | None = Field(
        None, description="The key of the client's certificate (PEM).", json_schema_extra={"metavar": "FILE"}
    )


@dataclass(frozen=True, slots=True)
class Setting:
    """How one setting is written and what it is for, derived from its field."""

    name: str
    field: FieldInfo

    @property
    def variable(self) -> str:
        return PREFIX + self.name.upper()

    @property
    def option(self) -> str | None:
        """``--metrics-port``; None for a secret."""
        return None if self.secret else "--" + self.name.replace("_", "-")

    @property
    def secret(self) -> bool:
        return SecretStr in _types(self.field.annotation)

    @property
    def required(self) -> bool:
        return self.field.is_required()

    @property
    def boolean(self) -> bool:
        return bool in _types(self.field.annotation)

    @property
    def repeated(self) -> bool:
        return any(kind is tuple for kind in _types(self.field.annotation))

    @property
    def metavar(self) -> str:
        """``HOST:PORT``, ``INTEGER``, ``human|json`` …: what the option's value looks like."""
        extra = self.field.json_schema_extra
        if isinstance(extra, dict):
            return str(extra["metavar"])
        kinds = _types(self.field.annotation)
        words = {timedelta: "DURATION", int: "INTEGER", bool: "true|false", SecretStr: "SECRET"}
        known = [word for kind, word in words.items() if kind in kinds]
        return known[0] if known else "|".join(str(kind) for kind in kinds)

    @property
    def help(self) -> str:
        return self.field.description or ""

    @property
    def default(self) -> str:
        """The default as a user would write it; empty text when there is none."""
        return "" if self.required else shown(self.field.default)


def definitions() -> tuple[Setting, ...]:
    """Every setting, in order."""
    return tuple(Setting(name, field) for name, field in Settings.model_fields.items())


def markdown_table() -> str:
    """The README's table of settings."""
    lines = ["| Option | Variable | Default | What it does |", "|---|---|---|---|"]
    for setting in definitions():
        default = f"`{setting.default}`" if setting.default else ("required" if setting.required else "")
        metavar = setting.metavar.replace("|", "\\|")
        option = f"`{setting.option} {metavar}`" if setting.option and not setting.boolean else ""
        if setting.option and setting.boolean:
            option = f"`{setting.option}` / `--no-{setting.option.removeprefix('--')}`"
        lines.append(f"| {option} | `{setting.variable}` | {default} | {setting.help} |")
    return "\n".join(lines) + "\n"


def markdown_table_of_others() -> str:
    """The README's table of variables that are not the worker's."""
    lines = ["| Variable | What it does |", "|---|---|"]
    lines += [f"| `{name}` | {what} |" for name, what in OTHER_VARIABLES.items()]
    return "\n".join(lines) + "\n"


def shown(value: Any) -> str:
    """A value as a user would write it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, timedelta):
        return shown_duration(value)
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return str(value)


def _types(annotation: Any) -> list[Any]:
    """The leaves and origins of an annotation: ``int | None`` → int, ``Literal["a", "b"]`` → "a", "b"."""
    arguments = get_args(annotation)
    if not arguments:
        return [] if annotation in (None, type(None), Ellipsis) else [annotation]
    origin = [tuple] if getattr(annotation, "__origin__", None) is tuple else []
    return [*origin, *(leaf for argument in arguments for leaf in _types(argument))]
