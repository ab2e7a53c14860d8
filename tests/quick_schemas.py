"""The published schemas as plain functions: as strict as ``jsonschema``, a hundred times as fast.

Every keyword that the output schemas use is here; any other is an error, so none is passed over.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from schemas import validator

Check = Callable[[Any], bool]
_TYPES: dict[str, Check] = {
    "null": lambda x: x is None,
    "boolean": lambda x: x is True or x is False,
    "string": lambda x: isinstance(x, str),
    "array": lambda x: isinstance(x, list),
    "object": lambda x: isinstance(x, dict),
    "number": lambda x: isinstance(x, int | float) and not isinstance(x, bool),
    "integer": lambda x: (
        (isinstance(x, int) and not isinstance(x, bool)) or (isinstance(x, float) and x.is_integer())
    ),
}
_NOTES = {"$schema", "$id", "$defs", "title", "description", "examples", "contentEncoding"}
_number, _text, _list, _mapping = (_TYPES[name] for name in ("number", "string", "array", "object"))


@cache
def is_valid(topic: str) -> Check:
    """Of the records of an output topic."""
    schema = validator(topic).schema
    return _compiled(schema, schema)


def _compiled(schema: Any, root: Mapping[str, Any]) -> Check:
    if isinstance(schema, bool):
        return lambda _: schema
    checks = [_keyword(name, value, schema, root) for name, value in schema.items() if name not in _NOTES]
    checks = [check for check in checks if check is not None]
    if len(checks) == 1:
        return checks[0]
    return lambda x: all(check(x) for check in checks)


def _keyword(name: str, value: Any, schema: Mapping[str, Any], root: Mapping[str, Any]) -> Check | None:
    match name:
        case "type":
            kinds = [_TYPES[kind] for kind in ([value] if isinstance(value, str) else value)]
            return kinds[0] if len(kinds) == 1 else lambda x: any(kind(x) for kind in kinds)
        case "$ref":
            target: Any = root
            for part in value.removeprefix("#/").split("/"):
                target = target[part]
            return _compiled(target, root)
        case "const":
            return lambda x: x == value and isinstance(x, bool) == isinstance(value, bool)
        case "enum":
            return lambda x: any(x == one and isinstance(x, bool) == isinstance(one, bool) for one in value)
        case "minimum":
            return lambda x: not _number(x) or x >= value
        case "maximum":
            return lambda x: not _number(x) or x <= value
        case "exclusiveMinimum":
            return lambda x: not _number(x) or x > value
        case "exclusiveMaximum":
            return lambda x: not _number(x) or x < value
        case "multipleOf":
            return lambda x: not _number(x) or x % value == 0
        case "minLength":
            return lambda x: not _text(x) or len(x) >= value
        case "maxLength":
            return lambda x: not _text(x) or len(x) <= value
        case "pattern":
            search = re.compile(value).search
            return lambda x: not _text(x) or search(x) is not None
        case "minItems":
            return lambda x: not _list(x) or len(x) >= value
        case "maxItems":
            return lambda x: not _list(x) or len(x) <= value
        case "items":
            each = _compiled(value, root)
            return lambda x: not _list(x) or all(each(one) for one in x)
        case "required":
            return lambda x: not _mapping(x) or all(key in x for key in value)
        case "propertyNames":
            names = _compiled(value, root)
            return lambda x: not _mapping(x) or all(names(key) for key in x)
        case "properties":
            known = {key: _compiled(one, root) for key, one in value.items()}
            return lambda x: not _mapping(x) or all(known[key](one) for key, one in x.items() if key in known)
        case "additionalProperties":
            declared, rest = schema.get("properties", {}), _compiled(value, root)
            return lambda x: (
                not _mapping(x) or all(rest(one) for key, one in x.items() if key not in declared)
            )
        case "anyOf" | "oneOf" | "allOf":
            parts = [_compiled(one, root) for one in value]
            if name == "anyOf":
                return lambda x: any(part(x) for part in parts)
            if name == "allOf":
                return lambda x: all(part(x) for part in parts)
            return lambda x: sum(part(x) for part in parts) == 1
        case "if":
            when, then, other = (_compiled(schema.get(key, True), root) for key in ("if", "then", "else"))
            return lambda x: then(x) if when(x) else other(x)
        case "then" | "else":
            return None
    raise NotImplementedError(f"the keyword {name} of a schema")
