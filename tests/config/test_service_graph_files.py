"""``kind: ServiceGraph``: what it means, every problem at once, and the schema that editors use."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from stream.config import check_paths, render_json, render_text
from stream.config.graph import MAX_UNKNOWN
from stream.model.graph import MAX_SERVICES, Node

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "schemas" / "service-graph.schema.json").read_text(encoding="utf-8"))
HEAD = """\
apiVersion: sre.example.com/v1
kind: ServiceGraph
metadata: {name: NAME, namespace: shop}
spec:
  services:
"""


@pytest.fixture(autouse=True)
def _in_a_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(services: str, file: str = "graph.yaml", name: str = "all") -> Path:
    lines = "".join(f"    - {line}\n" for line in services.strip().splitlines())
    Path(file).write_text(HEAD.replace("NAME", name) + lines)
    return Path(file)


def problems(*paths: Path) -> list[str]:
    return [str(problem) for problem in check_paths(paths or [Path()]).problems]


def schema_accepts(path: Path) -> bool:
    validator: Any = Draft202012Validator(SCHEMA)
    return all(validator.is_valid(document) for document in yaml.safe_load_all(path.read_text()))


def test_a_graph_says_who_calls_whom_what_is_shared_and_what_is_critical() -> None:
    path = write("{name: a, dependsOn: [b, b], resources: [db, cache], critical: true}\n{name: b}")
    (graph,) = check_paths([path]).graphs
    assert graph.identity == "shop/all"
    assert graph.services == (Node("a", ("b",), ("db", "cache"), True), Node("b"))
    assert schema_accepts(path)


def test_every_problem_is_listed_at_its_place() -> None:
    path = write(
        "{name: a, dependson: [b], critical: yes}\n{name: a}\n{name: b, dependsOn: [b, '']}\n{resources: x}"
    )
    assert problems(path) == [
        "graph.yaml:6:17: spec.services[0].dependson: unknown key "
        "(did you mean dependsOn? allowed: critical, dependsOn, name, resources)",
        "graph.yaml:6:43: spec.services[0].critical: must be true or false, found yes (a boolean)",
        "graph.yaml:7:7: spec.services[1]: the service a is already on line 6",
        "graph.yaml:8:29: spec.services[2].dependsOn[0]: b cannot depend on itself",
        "graph.yaml:8:32: spec.services[2].dependsOn[1]: must be a name of 1 to 200 characters, "
        "found 0 characters",
        "graph.yaml:9:7: spec.services[3].name: required, but missing",
        'graph.yaml:9:19: spec.services[3].resources: must be a list, found "x"',
    ]
    assert not schema_accepts(path)


@pytest.mark.parametrize("services", ["[]", "x", "null"])
def test_a_graph_without_a_service_is_a_problem(services: str) -> None:
    Path("graph.yaml").write_text(HEAD.rstrip().replace("NAME", "all") + f" {services}\n")
    (line,) = problems()
    assert line.startswith("graph.yaml:5:")
    assert not schema_accepts(Path("graph.yaml"))


def test_a_service_that_is_called_but_in_no_file_of_the_namespace_is_a_problem_with_a_hint() -> None:
    write("{name: checkout, dependsOn: [paymnet, search, mail]}\n{name: payment}", "a.yaml", "a")
    write("{name: search}", "b.yaml", "b")
    assert problems() == [
        "a.yaml:6:36: spec.services[0].dependsOn[0]: there is no service paymnet in a graph of shop "
        "(did you mean payment?)",
        "a.yaml:6:53: spec.services[0].dependsOn[2]: there is no service mail in a graph of shop "
        "(declare it, if only by its name)",
    ]


def test_a_service_of_a_faulty_file_is_declared_all_the_same() -> None:
    write("{name: checkout, dependsOn: [payment]}", "a.yaml", "a")
    write("{name: payment, critical: 1}", "b.yaml", "b")
    assert [line.split(": ")[1] for line in problems()] == ["spec.services[0].critical"]


def test_a_service_of_another_namespace_does_not_count() -> None:
    write("{name: checkout, dependsOn: [payment]}", "a.yaml", "a")
    Path("b.yaml").write_text(HEAD.replace("NAME", "b").replace("shop", "bank") + "    - {name: payment}\n")
    assert len(problems()) == 1


def test_files_may_tell_of_one_service_unless_they_contradict() -> None:
    write("{name: a, dependsOn: [b]}\n{name: b, critical: true}", "a.yaml", "a")
    write("{name: a, resources: [db], critical: true}", "b.yaml", "b")
    assert problems() == []
    write("{name: b, critical: false}", "c.yaml", "c")
    assert problems() == ["c.yaml:6:27: spec.services[0].critical: contradicts a.yaml:7:27, where b is true"]


def test_two_graphs_of_one_name_are_a_problem() -> None:
    write("{name: a}", "a.yaml"), write("{name: b}", "b.yaml")
    assert problems() == [
        "b.yaml:3:18: metadata.name: the service graph shop/all is already defined at a.yaml:3:18"
    ]


def test_there_are_bounds() -> None:
    half = MAX_SERVICES // 2 + 1
    for file in "ab":
        write("\n".join(f"{{name: {file}{i}}}" for i in range(half)), f"{file}.yaml", file)
    assert problems() == [f"b.yaml:1:1: shop has {2 * half} services in its graphs, more than {MAX_SERVICES}"]
    write("\n".join(f"{{name: a{i}}}" for i in range(MAX_SERVICES + 1)), "a.yaml", "a")
    assert f"must name at most {MAX_SERVICES} services, found {MAX_SERVICES + 1}" in problems()[0]


def test_of_many_unknown_services_not_all_are_listed_and_that_is_said() -> None:
    called = ", ".join(f"s{i}" for i in range(MAX_UNKNOWN + 5))
    lines = problems(write(f"{{name: a, dependsOn: [{called}]}}"))
    assert len(lines) == MAX_UNKNOWN + 1
    assert lines[0] == "graph.yaml:1:1: 5 further services that are called are in no graph"


def test_the_report_counts_graphs_and_shows_each() -> None:
    report = check_paths([ROOT / "deploy" / "slos" / "services.yaml"])
    assert render_text(report).splitlines() == [
        "shop/shop: service graph of 4 services, 3 calls, 5 resources; 2 critical",
        "0 SLOs and 1 service graph in 1 file, no problem",
    ]
    (shown,) = render_json(report)["graphs"]  # type: ignore[misc]
    assert shown["services"] == ["checkout", "payment", "search", "catalogue"]
    assert (shown["namespace"], shown["name"], shown["calls"], shown["resources"]) == ("shop", "shop", 3, 5)


def test_the_example_passes_its_schema_and_every_key_is_described() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert schema_accepts(ROOT / "deploy" / "slos" / "services.yaml")
    for form in (
        SCHEMA,
        SCHEMA["properties"]["metadata"],
        SCHEMA["properties"]["spec"],
        SCHEMA["$defs"]["service"],
    ):
        assert all(key["description"].endswith(".") for key in form["properties"].values())
