"""Where the worker's settings come from: options beat the environment, the environment beats the defaults.

Faults are reported all at once, in the users' words.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError, create_model
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from stream.setting_values import SettingsError, is_pair, is_web_address
from stream.settings import OTHER_VARIABLES, PREFIX, FromEnvironment, Setting, Settings, definitions, shown
from stream.words import printable

# What Kubernetes adds to the environment for a Service whose name begins like our variables.
_SERVICE_LINK = re.compile(r"(.+_)?(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT_[0-9]+_(TCP|UDP)(_[A-Z]+)?)")
_SERVICE_ADDRESS = re.compile(r"(tcp|udp)://.+")
_LINK_HINT = "set by Kubernetes for a Service of that name? Switch that off with enableServiceLinks: false"


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
    "sasl_username", "sasl_password", "oauth_token_url", "oauth_client_id", "oauth_client_secret",
    "oauth_scope", "oauth_extensions", "ssl_cafile", "ssl_certfile", "ssl_keyfile",
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
    part = create_model("Part", __base__=FromEnvironment, **fields)(**given)
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
    return None, "not set" if setting.required else "default"


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
        yield f"{printable(name)}: there is no such setting" + (
            f" (did you mean {PREFIX}{close[0]}?)" if close else ""
        )


def _contradictions(settings: Settings) -> Iterator[str]:
    """Settings that mean nothing without, or beside, each other."""
    yield from _contradictory_logins(settings)
    if not settings.security_protocol.endswith("SSL"):
        for name in ("ssl_cafile", "ssl_certfile", "ssl_keyfile"):
            if getattr(settings, name) is not None:
                yield f"--{name.replace('_', '-')} needs --security-protocol SSL or SASL_SSL"
    if settings.ssl_keyfile is not None and settings.ssl_certfile is None:
        yield "--ssl-keyfile needs --ssl-certfile"


def _contradictory_logins(settings: Settings) -> Iterator[str]:
    sasl = settings.security_protocol.startswith("SASL_")
    oauth = settings.sasl_mechanism == "OAUTHBEARER"
    for name, value in (("USERNAME", settings.sasl_username), ("PASSWORD", settings.sasl_password)):
        if sasl and not oauth and value is None:
            yield f"{PREFIX}SASL_{name} is missing: {settings.security_protocol} logs in with it"
        if not sasl and value is not None:
            yield f"{PREFIX}SASL_{name} needs --security-protocol SASL_SSL (or SASL_PLAINTEXT)"
        if sasl and oauth and value is not None:
            yield f"{PREFIX}SASL_{name} means nothing with OAUTHBEARER"
    if oauth and not sasl:
        yield "--sasl-mechanism OAUTHBEARER needs --security-protocol SASL_SSL (or SASL_PLAINTEXT)"
    if oauth:
        yield from _faulty_oauth(settings)


def _faulty_oauth(settings: Settings) -> Iterator[str]:
    for name in ("oauth_token_url", "oauth_client_id", "oauth_client_secret"):
        if getattr(settings, name) is None:
            yield f"{PREFIX}{name.upper()} is missing: OAUTHBEARER logs in with it"
    url = settings.oauth_token_url
    if url is not None and not is_web_address(url):
        yield (
            f"{PREFIX}OAUTH_TOKEN_URL: {url!r}: an address such as https://login.example.com/oauth2/token "
            "is expected"
        )
    for extension in settings.oauth_extensions:
        if not is_pair(extension):
            yield f"{PREFIX}OAUTH_EXTENSIONS: NAME=VALUE is expected, found {extension!r}"
