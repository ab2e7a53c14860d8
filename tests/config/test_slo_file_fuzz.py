"""Whatever a file holds, reading it ends in objectives or in a ConfigError that can be printed."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from stream.config import check_paths, load_objectives, render_json, render_text, tree
from stream.errors import ConfigError

DATA = Path(__file__).parent / "data"
TEXT = (DATA / "good" / "every-key.yaml").read_text(encoding="utf-8")
DOCUMENT = next(yaml.safe_load_all(TEXT))


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "slo.yaml"


def read(file: Path, data: bytes) -> None:
    file.write_bytes(data)
    report = check_paths([file])
    render_text(report).encode()
    json.dumps(render_json(report), allow_nan=False)
    if report.problems:
        assert all(
            problem.line >= 1 and problem.column >= 1 and problem.message for problem in report.problems
        )
        with pytest.raises(ConfigError) as raised:
            load_objectives([file])
        assert raised.value.problems == report.problems
    else:
        assert load_objectives([file]) == report.objectives != ()


@pytest.mark.parametrize("loader", [yaml.SafeLoader, tree._LOADER])
@pytest.mark.parametrize(
    "text",
    ['a: "\\UFFFFFFFF"', "%TAG ! %FF\n---\n!a b", "a: !<%ff> b", "*a : 1", "a: &", "%YAML 1.9999999999\n---"],
)
def test_oddities_that_the_parsers_treat_differently(file: Path, monkeypatch, text: str, loader: Any):
    monkeypatch.setattr(tree, "_LOADER", loader)
    read(file, text.encode())


@given(st.binary(max_size=200))
def test_any_bytes(file: Path, data: bytes):
    read(file, data)


@given(st.data())
def test_a_good_file_with_pieces_replaced_moved_and_left_out(file: Path, data: st.DataObject):
    text = TEXT
    for _ in range(data.draw(st.integers(1, 4))):
        start, end = sorted((data.draw(st.integers(0, len(text))), data.draw(st.integers(0, len(text)))))
        end = min(end, start + data.draw(st.integers(0, 60)))
        yaml_marks = st.text(alphabet="-:?,[]{}#&*!|>'\"%@` \n\t<~=0159.eEmMsdxé\u2028\ufeff\0", max_size=6)
        piece = data.draw(st.one_of(yaml_marks, st.just(text[start:end] * 2), st.text(max_size=6)))
        text = text[:start] + piece + text[end:]
    read(file, text.encode("utf-8", "surrogatepass"))


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.dates(),
    st.text(max_size=12),
    st.binary(max_size=4),
    st.sampled_from(["5m", "0s", "1M", "off", "2xx", "99.9", "1e5", "rolling", "latency", "UTC", "x" * 300]),
)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(scalars, inner, max_size=3),
    max_leaves=6,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, part in inner for place in places(part, (*path, key)))]


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(value[path[0]], path[1:], new)
    return copy


@given(place=st.sampled_from(places(DOCUMENT)), value=anything)
def test_a_good_file_with_anything_in_the_place_of_a_value(file: Path, place: tuple[Any, ...], value: Any):
    read(
        file, yaml.safe_dump(replaced(DOCUMENT, place, value), allow_unicode=True).encode("utf-8", "replace")
    )
