"""The published JSON Schemas of the output records, for every test that has records to check."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from stream.wire.signal import TOPICS

SCHEMAS = Path(__file__).parents[1] / "schemas"


@cache
def validator(topic: str) -> Draft202012Validator:
    """Of the records of an output topic, by its bare name such as ``slo-alerts``."""
    schema: dict[str, Any] = json.loads((SCHEMAS / TOPICS[topic].schema_file).read_text())
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def faults(topic: str, record: object) -> list[str]:
    """What is wrong with a record, one line each; none if it is as published."""
    return [f"{error.json_path}: {error.message}" for error in validator(topic).iter_errors(record)]
