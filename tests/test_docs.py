"""The documentation says what the program does: tables, excerpts, records, commands, names, links."""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from schemas import SCHEMAS, faults
from stream import settings
from stream.canary.shadow import Shadow
from stream.config import check_paths, load_rules
from stream.export import names
from stream.kafka.topics import declare_topics
from stream.replay import replay
from stream.slo.catalog import glob_pattern
from stream.wire.decode import decode
from stream.wire.event import Event
from stream.wire.frame import Interner
from stream.wire.reject import ERRORS
from stream.wire.signal import TOPICS, Signal, headers

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
README = ROOT / "README.md"
PAGES = [README, ROOT / "CHANGELOG.md", *sorted(DOCS.glob("*.md"))]
TEXT = {page: page.read_text(encoding="utf-8") for page in PAGES}
EVERYTHING = "\n".join(TEXT.values())
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCED = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*[a-z]")
COMMANDS = ("worker", "replay", "validate", "demo", "load", "kafka", "settings")
FIRST_TS_MS = 1_795_410_000_000


def marked(page: Path, name: str) -> str:
    """What stands between the markers of a part that comes from the program."""
    before, after = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    assert before in TEXT[page], f"{page.name} has no part {name}"
    assert after in TEXT[page], f"the part {name} of {page.name} does not end"
    return TEXT[page].split(before)[1].split(after)[0]


def blocks(kind: str) -> list[tuple[str, str]]:
    """(page, text) of every fenced block of a language."""
    return [
        (page.name, text) for page in PAGES for found, text in FENCED.findall(TEXT[page]) if found == kind
    ]


def excerpts(page: str, part: str) -> list[str]:
    """The fenced blocks of a marked part of a page of the docs."""
    return [text for _, text in FENCED.findall(marked(DOCS / page, part))]


def rows(table: str) -> list[list[str]]:
    """The cells of a table's rows, without its head."""
    lines = [line for line in table.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def section(page: Path, heading: str) -> str:
    """What stands below a heading, up to the next one of its level or above."""
    level = heading.split(" ")[0]
    after = TEXT[page].split(f"\n{heading}\n")[1]
    return re.split(rf"^#{{1,{len(level)}}} ", after, flags=re.MULTILINE)[0]


def codes(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def prose(page: Path) -> str:
    return FENCED.sub("", TEXT[page])


def burngate(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BURNGATE_")}
    return subprocess.run(
        [sys.executable, "-m", "stream", *arguments],
        check=False,
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**kept, "PYTHONPATH": str(ROOT)},
        timeout=60,
    )


@cache
def options_of(command: str) -> frozenset[str]:
    return frozenset(OPTION.findall(burngate(*command.split(), "--help").stdout))


# --- links -------------------------------------------------------------------------------------------------


def anchors(page: Path) -> set[str]:
    """As code hosts make them of headings: lower case, punctuation dropped, spaces to dashes."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {
        re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower()).replace(" ", "-") for heading in headings
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(prose(page)):
        if target.startswith(("https://", "http://")):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        if anchor:
            assert anchor in anchors(file), target


def test_sections_that_the_code_names_are_in_the_contract() -> None:
    numbers = {
        number
        for file in (ROOT / "stream").rglob("*.py")
        for number in re.findall(r"contract(?:'s)?,? +section\s+(\d+)", file.read_text(encoding="utf-8"))
    }
    headings = re.findall(r"^## (\d+)\. ", TEXT[DOCS / "contract.md"], re.MULTILINE)
    assert headings == list("1234567")
    assert numbers
    assert numbers <= set(headings)


# --- tables ------------------------------------------------------------------------------------------------


def test_the_readmes_tables_are_those_of_the_program() -> None:
    assert marked(README, "settings") == settings.markdown_table()
    assert marked(README, "other-variables") == settings.markdown_table_of_others()
    assert marked(README, "metrics") == names.markdown_table()


def test_the_table_of_errors_is_the_programs() -> None:
    shown = "".join(f"| `{error}` | {text} |\n" for error, text in ERRORS.items())
    assert marked(DOCS / "events.md", "errors") == f"| Error | When |\n|---|---|\n{shown}"


def test_the_contract_has_every_field_of_an_event() -> None:
    table = section(DOCS / "contract.md", "## 1. Request event")
    fields = [name for row in rows(table) for name in codes(row[0])]
    assert sorted(fields) == sorted(Event.__struct_fields__)


@pytest.mark.parametrize("topic", TOPICS)
def test_the_contract_has_every_field_of_a_record(topic: str) -> None:
    schema = json.loads((SCHEMAS / TOPICS[topic].schema_file).read_text())
    text = section(DOCS / "contract.md", "## 5. Output records").split(f"\n**`{topic}`**")[1]
    table = text.split("| Field | Value |")[1].split("\n\n")[0]
    fields = [name for line in table.splitlines()[2:] for name in codes(line.split("|")[1])]
    assert sorted(fields) == sorted(schema["properties"])
    assert f'"{TOPICS[topic].schema}"' in table


def schema_keys(schema: dict[str, Any], at: dict[str, Any], path: str) -> Iterator[tuple[str, Any]]:
    """(path, default) of every key of an SLO file that holds no further ones of the form's own."""
    if "$ref" in at:
        yield from schema_keys(schema, schema["$defs"][at["$ref"].rpartition("/")[2]], path)
        return
    inner = [*at.get("oneOf", ()), *at.get("anyOf", ())]
    if at.get("properties"):
        for name, value in at["properties"].items():
            yield from schema_keys(schema, {**value, "default": value.get("default")}, f"{path}.{name}")
    elif at.get("items", {}).get("$ref", "").endswith("rule"):
        yield from schema_keys(schema, at["items"], f"{path}[]")
    elif any(
        part.get("$ref", "").endswith(("availability", "latency", "rolling", "calendar")) for part in inner
    ):
        for part in inner:
            yield from schema_keys(schema, part, path)
    else:
        yield path.removeprefix("."), at.get("default")


def test_the_table_of_keys_is_the_schemas() -> None:
    schema = json.loads((SCHEMAS / "slo.schema.json").read_text())
    table = {codes(key)[0]: default for key, default, _ in rows(marked(DOCS / "slo-files.md", "keys"))}
    found = dict(schema_keys(schema, schema, ""))
    assert set(table) == set(found)
    for key, default in found.items():
        if default not in (None, ""):
            assert table[key] == f"`{default}`", key


def test_globs_match_as_the_table_says() -> None:
    table = section(DOCS / "slo-files.md", "## Endpoints and tracks").split("| Glob |")[1].split("\n\n")[0]
    for line in table.splitlines()[2:]:
        glob, matches, others = (codes(cell) for cell in line.strip("|").split("|"))
        pattern = glob_pattern(glob)
        assert matches
        assert all(map(pattern.fullmatch, matches))
        assert others
        assert not any(map(pattern.fullmatch, others))


def test_the_table_of_topics_is_the_programs() -> None:
    table = section(DOCS / "operations.md", "## Topics")
    shown = {name: row for row in rows(table) for name in codes(row[0])}
    topics = declare_topics("<app>", 8)
    assert set(shown) == {topic.name for topic in topics}
    for topic in topics:
        _, cleanup, config = shown[topic.name]
        assert cleanup == topic.config.get("cleanup.policy", "the cluster's")
        rest = {f"{key}={value}" for key, value in topic.config.items() if key != "cleanup.policy"}
        assert set(codes(config)) == rest, topic.name


def test_every_output_topic_has_its_part_in_signals() -> None:
    assert set(TOPICS) <= anchors(DOCS / "signals.md")


# --- SLO files ---------------------------------------------------------------------------------------------


def test_every_slo_shown_is_valid_but_the_broken_one(tmp_path: Path) -> None:
    shown = [(page, text) for page, text in blocks("yaml") if "kind: ServiceLevelObjective" in text]
    assert len(shown) >= 5
    broken = excerpts("slo-files.md", "broken")[0]
    for page, text in shown:
        file = tmp_path / "slo.yaml"
        file.write_text(text)
        problems = check_paths([file]).problems
        assert bool(problems) == (text == broken), (page, problems)


def test_every_other_yaml_shown_can_be_read() -> None:
    for _, text in blocks("yaml"):
        assert list(yaml.safe_load_all(text))


@pytest.mark.parametrize("part", ["understood", "broken"])
def test_validate_prints_what_the_page_shows(part: str, tmp_path: Path) -> None:
    shown = excerpts("slo-files.md", part)
    source, printed = (
        shown if part == "broken" else (FENCED.findall(TEXT[DOCS / "slo-files.md"])[0][1], shown[0])
    )
    (tmp_path / "broken.yaml").write_text(source)
    ended = burngate("validate", "broken.yaml", cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (1 if part == "broken" else 0, printed)


# --- events and records ------------------------------------------------------------------------------------


def test_every_json_shown_is_an_event_or_a_record_that_its_schema_takes() -> None:
    event = Draft202012Validator(json.loads((SCHEMAS / "request-event.schema.json").read_text()))
    topic_of = {topic.schema: name for name, topic in TOPICS.items()}
    shown = [(text, json.loads(text)) for _, text in blocks("json")]
    for text, record in shown:
        if "schema" in record:
            assert faults(topic_of[record["schema"]], record) == []
        else:
            assert list(event.iter_errors(record)) == []
            assert decode([text.encode()], Interner(), [FIRST_TS_MS])[1] == []
    assert {record["schema"] for _, record in shown if "schema" in record} == set(topic_of)


def test_a_shadow_comparison_says_what_the_page_shows(tmp_path: Path) -> None:
    text = section(DOCS / "canary.md", "## Dual writes")
    (tmp_path / "shadow.yaml").write_text(FENCED.findall(text)[0][1])
    (comparison,) = load_rules([tmp_path / "shadow.yaml"]).comparisons
    shadow, said = Shadow(comparison), []
    for pane in range(30):
        mismatches = int(pane % 6 == 5)
        shadow.count("2.0.0", 2000, mismatches, 2000.0, float(mismatches))
        said += shadow.at(FIRST_TS_MS // 1000 + 10 * pane + 10)
    shown = json.loads(FENCED.findall(text)[1][1])
    assert list(flat(said[-1].value)) == pytest.approx(list(flat(shown)))


def test_every_case_of_bad_input_has_its_test() -> None:
    shown = {name for row in rows(section(DOCS / "canary.md", "## Bad input")) for name in codes(row[2])}
    there = {
        name
        for file in Path(__file__).parent.rglob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", file.read_text(), re.MULTILINE)
    }
    assert len(shown) > 20
    assert shown <= there


def test_events_in_shell_examples_are_events() -> None:
    shown = [
        event for _, text in blocks("sh") for event in re.findall(r"^echo '(\{.*?\})'", text, re.MULTILINE)
    ]
    assert shown
    assert decode([event.encode() for event in shown], Interner(), [FIRST_TS_MS] * len(shown))[1] == []


def test_records_are_refused_as_the_page_shows() -> None:
    (text,) = excerpts("events.md", "refused")
    for shown in text.strip().split("\n\n"):
        record, reason = shown.split("\n")
        _, (reject,) = decode([record.encode()], Interner())
        assert f"{reject.error}: {reject.detail}" == reason


def story() -> Iterator[str]:
    """What signals.md tells: 80 minutes of one service, of which a canary fails for three; and a bad line."""
    for i in range(80 * 60 * 20):
        ts_ms = FIRST_TS_MS + i * 50
        canary = 180 <= i / 20 < 480 and i % 4 == 0
        event = {
            "ts": ts_ms,
            "namespace": "shop",
            "service": "payment",
            "endpoint": "/v1/refunds" if i % 2 else "/v1/charges",
            "method": "POST",
            "status": 503 if canary and i / 20 >= 300 and i % 8 == 0 else 201,
            "latency_ms": 20 + i * 37 % 100 / 4 + (300 if i % 200 == 199 else 0),
            "version": "2.5.0" if canary else "2.4.0",
            "track": "canary" if canary else "stable",
        }
        yield json.dumps(event)
        if i == 4821:
            yield json.dumps({"ts": ts_ms, "service": "payment", "status": "201"})


def test_a_change_is_judged_as_the_page_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("slo.yaml").write_text(excerpts("signals.md", "story")[0].partition("\n---")[0])
    Path("graph.yaml").write_text(excerpts("change-impact.md", "graph")[0])
    Path("events.ndjson").write_text("\n".join(story()))
    lines = [
        {"change": named, "namespace": "shop", "service": "payment", "kind": "deploy", "version": version}
        | {"at": FIRST_TS_MS + minute * 60_000}
        for named, minute, version in (("4711", 3, "2.5.0"), ("4712", 70, "2.5.1"))
    ]
    Path("changes.ndjson").write_text("\n".join(map(json.dumps, lines)))
    replay([Path("slo.yaml"), Path("graph.yaml")], ["events.ndjson"], Path("out"), changes=["changes.ndjson"])
    printed = Path("out/change-impacts.ndjson").read_text().splitlines()
    (shown,) = excerpts("change-impact.md", "judgement")
    assert json.loads(shown) == json.loads(printed[-1])


def flat(value: Any) -> Iterator[Any]:
    """Names and single values, in order."""
    for part in value.items() if isinstance(value, dict) else enumerate(value):
        yield part[0]
        if isinstance(part[1], dict | list):
            yield from flat(part[1])
        else:
            yield part[1]


def test_the_records_of_signals_are_those_that_replay_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("slo.yaml").write_text(excerpts("signals.md", "story")[0])
    Path("events.ndjson").write_text("\n".join(story()))
    replay([Path("slo.yaml")], ["events.ndjson"], Path("out"))
    printed = [
        json.loads(line) for file in sorted(Path("out").iterdir()) for line in file.read_text().splitlines()
    ]
    shown = [json.loads(text) for kind, text in FENCED.findall(TEXT[DOCS / "signals.md"]) if kind == "json"]
    assert len(shown) == 11
    for record in shown:
        if record["schema"] == "burngate.canary/v1":  # evidence: sums of logarithms, in whatever order
            (like,) = [
                r
                for r in printed
                if r["schema"] == record["schema"] and r["evaluated_at"] == record["evaluated_at"]
            ]
            assert list(flat(like)) == pytest.approx(list(flat(record)))
        elif record["schema"] == "burngate.percentiles/v1":  # a digest: it may be improved
            same = ("schema", "endpoint", "window_s", "evaluated_at")
            (like,) = [r for r in printed if all(r.get(name) == record[name] for name in same)]
            numbers = {name: value for name, value in record.items() if isinstance(value, float)}
            assert {name: like[name] for name in numbers} == pytest.approx(numbers, rel=0.05)
        else:
            assert record in printed
        if record["schema"] == "burngate.alert/v1" and record["state"] == "firing":
            carried = headers(Signal("slo-alerts", "shop/payment", record))
            table = rows(marked(DOCS / "signals.md", "headers"))
            assert [(codes(name)[0], codes(value)[0].encode()) for name, value in table] == carried


# --- commands ----------------------------------------------------------------------------------------------


def commands(text: str) -> Iterator[list[str]]:
    """The words of each call of burngate in a script; its options that span lines belong to it."""
    for line in text.replace("\\\n", " ").splitlines():
        for part in re.split(r"[|;&]+", line.partition(" #")[0]):
            called = re.search(r"(?:^|[\s/(])burngate\s+((?:[a-z]+|-).*)", part)
            if called:
                yield shlex.split(called[1].replace("…", ""))


def test_every_call_shown_has_a_command_and_options_that_exist() -> None:
    calls = [words for _, text in blocks("sh") for words in commands(text)]
    calls += [words for _, text in blocks("") if text.startswith("burngate ") for words in commands(text)]
    calls += [
        shlex.split(call) for page in PAGES for call in re.findall(r"`burngate ([a-z][^`]*)`", prose(page))
    ]
    assert len(calls) >= 10
    for command, *words in calls:
        assert command in COMMANDS, command
        given = {word.partition("=")[0].strip("[]") for word in words if word.strip("[]").startswith("--")}
        assert given <= options_of(command), (command, words)


def test_every_option_named_exists() -> None:
    known = {"--no-cache"}.union(*map(options_of, COMMANDS))  # docker build
    foreign = {"--build", "--scale", "--volumes", "--reset-offsets"}  # docker compose, Kafka's own tools
    for page in PAGES:
        assert set(OPTION.findall(prose(page))) - foreign <= known, page


def test_shell_examples_are_shell() -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("bash is not installed")
    for page, text in blocks("sh"):
        checked = subprocess.run([bash, "-n"], input=text, check=False, capture_output=True, text=True)
        assert (checked.returncode, checked.stderr) == (0, ""), page


def test_python_examples_are_python() -> None:
    shown = blocks("python")
    assert shown
    for _, text in shown:
        ast.parse(text)


FROZEN = '{"namespace":"shop","service":"payment","state":"frozen"}'
OPEN = FROZEN.replace("frozen", "open")
OTHERS = FROZEN.replace("payment", "search")


@pytest.mark.parametrize(
    ("says", "opens"),
    [
        (f"echo '{OPEN}'", True),
        (f"echo '{OTHERS}'", True),
        ("true", True),
        (f"echo '{FROZEN}'", False),
        (f"echo '{OPEN}'; echo '{FROZEN}'; echo '{OTHERS}'", False),
        (f"echo '{FROZEN}'; echo '{OPEN}'", True),
        ("exit 1", False),
        (f"echo '{OPEN}'; exit 1", False),
    ],
)
def test_the_gate_is_closed_when_frozen_and_when_kafka_fails(says: str, opens: bool, tmp_path: Path) -> None:
    bash = shutil.which("bash")
    if bash is None or shutil.which("jq") is None:
        pytest.skip("bash and jq are not both installed")
    kcat = tmp_path / "kcat"
    kcat.write_text(f"#!/bin/sh\n{says}\n")
    kcat.chmod(0o755)
    (gate,) = excerpts("signals.md", "gate")
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    ended = subprocess.run(
        [bash, "-c", gate], check=False, capture_output=True, env={"PATH": path}, timeout=30
    )
    assert (ended.returncode == 0) == opens, ended.stderr


def test_the_nginx_configuration_shown_is_the_one_that_is_tested() -> None:
    tested = (ROOT / "tests" / "interop" / "nginx.conf").read_text()
    ((_, shown),) = blocks("nginx")
    lines = [line.strip() for line in shown.splitlines() if line.strip()]
    in_order = iter([line.strip() for line in tested.splitlines()])
    for line in lines:
        assert line in in_order, line


@pytest.mark.interop
def test_prometheus_takes_the_alerting_rules_shown(tmp_path: Path) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed")
    (text,) = [text for _, text in blocks("yaml") if text.startswith("groups:")]
    (tmp_path / "rules.yml").write_text(text)
    checked = subprocess.run(
        ["promtool", "check", "rules", str(tmp_path / "rules.yml")],
        check=False,
        capture_output=True,
        text=True,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


# --- names -------------------------------------------------------------------------------------------------


def test_every_variable_named_is_a_setting() -> None:
    known = {setting.variable for setting in settings.definitions()} | set(settings.OTHER_VARIABLES)
    assert set(re.findall(r"BURNGATE_[A-Z_]*[A-Z]", EVERYTHING)) <= known


def test_every_metric_named_exists() -> None:
    known = {metric.name for metric in names.METRICS}
    assert set(re.findall(r"\bburngate_[a-z_]+", EVERYTHING)) <= known


@cache
def literals() -> str:
    """Every text in the program, with a gap where a value is put in."""
    found = []
    for file in (ROOT / "stream").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return "\n".join(found)


def test_messages_in_the_table_of_troubles_are_the_programs() -> None:
    table = section(DOCS / "operations.md", "## When something is wrong")
    messages = [quoted for row in rows(table) for quoted in re.findall(r'"([^"]+)"', row[0])]
    assert len(messages) >= 5
    for message in messages:
        for part in message.split("…"):
            assert part.strip() in literals(), message


def test_nothing_names_a_machine() -> None:
    for page, text in TEXT.items():
        assert not re.search(r"/home/|/root/|/work/|/tmp/", text), page
