"""The schema that editors use and the loader agree."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from stream.config import check_paths
from stream.model.objective import GRPC_CODES, TRACKS, Period

DATA = Path(__file__).parent / "data"
SCHEMA = json.loads((Path(__file__).parents[2] / "schemas" / "slo.schema.json").read_text(encoding="utf-8"))
VALIDATOR = Draft202012Validator(SCHEMA)


def documents(path: Path) -> list[Any]:
    loaded = yaml.safe_load_all(path.read_text(encoding="utf-8"))
    return [document for document in loaded if document is not None]


def schema_accepts(path: Path) -> bool:
    return all(VALIDATOR.is_valid(document) for document in documents(path))


def named(room: str) -> list[Any]:
    return [pytest.param(path, id=path.stem) for path in sorted((DATA / room).glob("*.yaml"))]


def test_the_schema_is_a_schema():
    Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("path", [*named("good"), *named(".")])
def test_good_files_pass_both(path: Path):
    assert check_paths([path]).problems == ()
    assert schema_accepts(path)


@pytest.mark.parametrize("path", named("bad"))
def test_files_that_break_the_form_are_refused_by_both(path: Path):
    assert check_paths([path]).problems
    assert not schema_accepts(path)


@pytest.mark.parametrize("path", named("beyond_schema"))
def test_faults_that_no_schema_can_see_are_seen_by_the_loader(path: Path):
    assert check_paths([path]).problems
    assert schema_accepts(path)


def every_property(schema: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(schema, dict):
        yield from schema.get("properties", {}).items()
        for part in schema.values():
            yield from every_property(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from every_property(part)


def every_key(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from value
        for part in value.values():
            yield from every_key(part)
    elif isinstance(value, list):
        for part in value:
            yield from every_key(part)


def test_the_good_fixtures_use_every_key_of_the_schema():
    used = {key for path in (DATA / "good").glob("*.yaml") for key in every_key(documents(path))}
    assert {name for name, _ in every_property(SCHEMA)} <= used


def test_every_key_is_described():
    undescribed = [
        name
        for name, schema in every_property(SCHEMA)
        if "description" not in schema and "description" not in SCHEMA["$defs"][schema["$ref"].split("/")[-1]]
    ]
    assert undescribed == []


def test_the_lists_of_words_are_those_of_the_model():
    spec, availability = SCHEMA["$defs"]["spec"], SCHEMA["$defs"]["availability"]
    criteria = availability["properties"]["successCriteria"]["properties"]
    assert tuple(spec["properties"]["tracks"]["items"]["enum"]) == TRACKS
    assert tuple(SCHEMA["$defs"]["calendar"]["properties"]["duration"]["enum"]) == tuple(Period)
    assert tuple(criteria["grpcStatusCodes"]["items"]["anyOf"][2]["enum"]) == GRPC_CODES
