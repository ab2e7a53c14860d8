"""The worker's settings: one definition each, from which the command line's options, the ``BURNGATE_*``
variables, their help, ``burngate settings`` and the README's table follow.

An option beats the environment, the environment beats the default. Faults are reported all at once.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, create_model
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict

from stream.setting_values import (
    Brokers,
    Duration,
    KafkaName,
    Paths,
    ReadableFile,
    SettingsError,
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

# What Kubernetes adds to the environment for a Service whose name begins like our variables.
_SERVICE_LINK = re.compile(r"(.+_)?(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT_[0-9]+_(TCP|UDP)(_[A-Z]+)?)")
_SERVICE_ADDRESS = re.compile(r"(tcp|udp)://.+")
_LINK_HINT = "set by Kubernetes for a Service of that name? Switch that off with enableServiceLinks: false"


_S, _H = timedelta(seconds=1), timedelta(hours=1)


class _FromEnvironment(BaseSettings):
    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, frozen=True, extra="forbid", validate_default=False
    )


class Settings(_FromEnvironment):
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
    sasl_mechanism: Annotated[Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"], BeforeValidator(upper)] = (
        Field("PLAIN", description="How to log in, with a SASL protocol.")
    )
    sasl_username: str | None = Field(
        None, description="The user to log in as.", json_schema_extra={"metavar": "NAME"}
    )
    sasl_password: SecretStr | None = Field(
        None,
        description="The user's password. Only in the environment: a command line can be read by others.",
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
        return "" if self.field.is_required() else shown(self.field.default)


def definitions() -> tuple[Setting, ...]:
    """Every setting, in order."""
    return tuple(Setting(name, field) for name, field in Settings.model_fields.items())


def load(options: Mapping[str, Any]) -> Settings:
    """The settings from options (by setting's name; None: not given), the environment and the defaults.

    Raises :class:`SettingsError` with every fault: bad values, missing ones, unknown variables.
    """
    settings, problems = _read(options)
    if settings is None or problems:
        raise SettingsError("\n".join(problems))
    return settings


LOAD_NAMES = (
    "brokers", "topic_prefix", "partitions", "connect_timeout", "security_protocol", "sasl_mechanism",
    "sasl_username", "sasl_password", "ssl_cafile", "ssl_certfile", "ssl_keyfile",
)  # fmt: skip
"""The settings that ``burngate load`` shares with the worker."""
REPLAY_NAMES = ("allowed_lateness", "max_series")
"""Those that ``burngate replay`` does."""


def load_part(options: Mapping[str, Any], names: Sequence[str]) -> Settings:
    """As :func:`load` for a command that has these settings alone.

    The rest is as by default whatever the environment says; what has no default is not there.
    """
    settings, problems = _read(options, names)
    if settings is None or problems:
        raise SettingsError("\n".join(problems))
    return settings


@dataclass(frozen=True, slots=True)
class Row:
    """One line of ``burngate settings``. ``source``: the option, the variable, ``default`` or ``not set``."""

    setting: Setting
    value: str
    source: str

    def as_json(self) -> dict[str, str | None]:
        """The same for programs; null is what there is none of."""
        return {
            "name": self.setting.name,
            "option": self.setting.option,
            "variable": self.setting.variable,
            "value": self.value or None,
            "source": self.source,
            "help": self.setting.help,
        }


def explain(options: Mapping[str, Any]) -> tuple[tuple[Row, ...], tuple[str, ...]]:
    """Every setting with its value and where that comes from, secrets masked; and every fault."""
    settings, problems = _read(options)
    rows = []
    for setting in definitions():
        raw, source = _raw(setting, options)
        if setting.secret and raw is not None:
            value = "********"
        elif settings is not None and setting.name in settings.model_fields_set:
            value = shown(getattr(settings, setting.name))
        else:
            value = setting.default if raw is None else shown(raw)
        rows.append(Row(setting, value, source))
    return tuple(rows), tuple(problems)


def markdown_table() -> str:
    """The README's table of settings."""
    lines = ["| Option | Variable | Default | What it does |", "|---|---|---|---|"]
    for setting in definitions():
        default = f"`{setting.default}`" if setting.default else ("required" if _required(setting) else "")
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


def _read(
    options: Mapping[str, Any], names: Sequence[str] | None = None
) -> tuple[Settings | None, list[str]]:
    given = {name: value for name, value in options.items() if value not in (None, [], ())}
    problems = [*_unknown_variables()]
    settings = None
    try:
        settings = Settings(**given) if names is None else _part(given, names)
        problems += _contradictions(settings)
    except ValidationError as error:
        by_name = {setting.name: setting for setting in definitions()}
        faults = error.errors(include_url=False)
        for fault in faults:
            setting = by_name[str(fault["loc"][0])]
            if fault["type"] == "too_short" and sum(other["loc"][0] == setting.name for other in faults) > 1:
                continue  # its items, left out, have been named
            if fault["type"] == "missing":
                problems.append(f"{setting.option} is missing (or {setting.variable}): {setting.help}")
            else:
                problems.append(_faulty(setting, options, fault))
    return settings, problems


def _part(given: Mapping[str, Any], names: Sequence[str]) -> Settings:
    fields: dict[str, Any] = {name: _annotated(Settings.model_fields[name]) for name in names}
    part = create_model("Part", __base__=_FromEnvironment, **fields)(**given)
    return Settings.model_construct(part.model_fields_set, **{name: getattr(part, name) for name in names})


def _annotated(field: FieldInfo) -> tuple[Any, FieldInfo]:
    return field.annotation, copy(field)


_WORDS = {
    "int_parsing": "must be an integer",
    "int_from_float": "must be an integer",
    "bool_parsing": "must be true or false",
    "too_short": "must name at least one",
    "string_too_short": "must not be empty",
    "string_too_long": "must have at most {max_length} characters",
    "value_error": "{error}",
    "assertion_error": "{error}",
}
"""What we say of pydantic's kinds of faults, where its own words are those of a programmer."""


def _faulty(setting: Setting, options: Mapping[str, Any], fault: ErrorDetails) -> str:
    raw, source = _raw(setting, options)
    text = re.sub(r"^(Value|Input) should be ", "must be ", fault["msg"])
    if fault["type"] in _WORDS:
        text = _WORDS[fault["type"]].format(**fault.get("ctx", {}))
    value = "" if setting.secret else f" {shown(raw)!r}:"
    hint = f" ({_LINK_HINT})" if _SERVICE_ADDRESS.match(str(raw)) else ""
    return f"{source}:{value} {text}{hint}"


def _raw(setting: Setting, options: Mapping[str, Any]) -> tuple[Any, str]:
    """The value as given, and where."""
    if (value := options.get(setting.name)) not in (None, [], ()):
        return value, str(setting.option)
    if text := _environment().get(setting.variable):
        return text, setting.variable
    return None, "not set" if _required(setting) else "default"


def _environment() -> dict[str, str]:
    return {name.upper(): text for name, text in os.environ.items() if name.upper().startswith(PREFIX)}


def _unknown_variables() -> Iterator[str]:
    known = [*(setting.variable for setting in definitions()), *OTHER_VARIABLES]
    for name, text in sorted(_environment().items()):
        if name in known or _SERVICE_LINK.fullmatch(name) or _SERVICE_ADDRESS.match(text):
            continue
        # Without what all have in common, which would make any two names look alike.
        rest = name.removeprefix(PREFIX)
        close = difflib.get_close_matches(rest, [one.removeprefix(PREFIX) for one in known], n=1)
        yield f"{name}: there is no such setting" + (f" (did you mean {PREFIX}{close[0]}?)" if close else "")


def _contradictions(settings: Settings) -> Iterator[str]:
    """Settings that mean nothing without, or beside, each other."""
    sasl = settings.security_protocol.startswith("SASL_")
    for name, value in (("USERNAME", settings.sasl_username), ("PASSWORD", settings.sasl_password)):
        if sasl and value is None:
            yield f"{PREFIX}SASL_{name} is missing: {settings.security_protocol} logs in with it"
        if not sasl and value is not None:
            yield f"{PREFIX}SASL_{name} needs --security-protocol SASL_SSL (or SASL_PLAINTEXT)"
    if not settings.security_protocol.endswith("SSL"):
        for name in ("ssl_cafile", "ssl_certfile", "ssl_keyfile"):
            if getattr(settings, name) is not None:
                yield f"--{name.replace('_', '-')} needs --security-protocol SSL or SASL_SSL"
    if settings.ssl_keyfile is not None and settings.ssl_certfile is None:
        yield "--ssl-keyfile needs --ssl-certfile"


def _required(setting: Setting) -> bool:
    return setting.field.is_required()


def _types(annotation: Any) -> list[Any]:
    """The leaves and origins of an annotation: ``int | None`` → int, ``Literal["a", "b"]`` → "a", "b"."""
    arguments = get_args(annotation)
    if not arguments:
        return [] if annotation in (None, type(None), Ellipsis) else [annotation]
    origin = [tuple] if getattr(annotation, "__origin__", None) is tuple else []
    return [*origin, *(leaf for argument in arguments for leaf in _types(argument))]
