"""The documentation says what the program does: tables, excerpts, names, links."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from schemas import faults
from stream import settings
from stream.config import check_paths
from stream.export import names
from stream.wire.reject import ERRORS
from stream.wire.signal import TOPICS

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [README, ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXT = {page: page.read_text(encoding="utf-8") for page in PAGES}
EVERYTHING = "\n".join(TEXT.values())
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def marked(page: Path, name: str) -> str:
    """What stands between the markers of a part that comes from the program."""
    return TEXT[page].split(f"<!-- {name} -->\n")[1].split(f"<!-- /{name} -->")[0]


def blocks(kind: str) -> list[tuple[str, str]]:
    """(page, text) of every fenced block of a language."""
    return [
        (page.name, text)
        for page in PAGES
        for text in re.findall(rf"^```{kind}\n(.*?)^```", TEXT[page], re.MULTILINE | re.DOTALL)
    ]


def anchors(page: Path) -> set[str]:
    """As code hosts make them of headings: lower case, punctuation dropped, spaces to dashes."""
    headings = re.findall(r"^#+ (.+)$", TEXT[page], re.MULTILINE)
    return {
        re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower()).replace(" ", "-") for heading in headings
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(TEXT[page]):
        if target.startswith(("https://", "http://")):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        if anchor:
            assert anchor in anchors(file), target


def test_the_readmes_tables_are_those_of_the_program() -> None:
    assert marked(README, "settings") == settings.markdown_table()
    assert marked(README, "metrics") == names.markdown_table()


def test_the_table_of_errors_is_the_programs() -> None:
    rows = "".join(f"| `{error}` | {text} |\n" for error, text in ERRORS.items())
    assert marked(ROOT / "docs" / "events.md", "errors") == f"| Error | When |\n|---|---|\n{rows}"


def test_every_slo_shown_is_valid_but_the_broken_one(tmp_path: Path) -> None:
    shown = [(page, text) for page, text in blocks("yaml") if "kind: ServiceLevelObjective" in text]
    assert len(shown) >= 5
    for page, text in shown:
        file = tmp_path / "slo.yaml"
        file.write_text(text)
        problems = check_paths([file]).problems
        assert bool(problems) == ("availabilty" in text), (page, problems)


def test_validate_prints_what_the_page_shows(tmp_path: Path) -> None:
    source, printed = re.findall(
        r"^```\w*\n(.*?)^```", marked(ROOT / "docs" / "slo-files.md", "broken"), re.MULTILINE | re.DOTALL
    )
    (tmp_path / "broken.yaml").write_text(source)
    command = [sys.executable, "-m", "stream", "validate", "broken.yaml"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        command, check=False, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=60
    )
    assert (ended.returncode, ended.stdout) == (1, printed)


def test_every_json_shown_is_an_event_or_a_record_that_its_schema_takes() -> None:
    event = Draft202012Validator(json.loads((ROOT / "schemas" / "request-event.schema.json").read_text()))
    topic_of = {topic.schema: name for name, topic in TOPICS.items()}
    shown = [json.loads(text) for _, text in blocks("json")]
    for record in shown:
        if "schema" in record:
            assert faults(topic_of[record["schema"]], record) == []
        else:
            assert list(event.iter_errors(record)) == []
    assert {record["schema"] for record in shown if "schema" in record} == set(topic_of)


def test_every_other_yaml_shown_can_be_read() -> None:
    for _, text in blocks("yaml"):
        assert list(yaml.safe_load_all(text))


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


def test_every_variable_named_is_a_setting() -> None:
    known = {setting.variable for setting in settings.definitions()} | set(settings.OTHER_VARIABLES)
    assert set(re.findall(r"BURNGATE_[A-Z_]*[A-Z]", EVERYTHING)) <= known


def test_every_metric_named_exists() -> None:
    table = names.markdown_table()
    for name in set(re.findall(r"\bburngate_[a-z_]+", EVERYTHING)):
        assert f"`{name}`" in table, name


def test_every_option_named_exists() -> None:
    known = {"--help", "--no-cache"}
    for command in ("worker", "replay", "validate", "demo", "load", "kafka", "settings"):
        helped = subprocess.run(
            [sys.executable, "-m", "stream", command, "--help"], check=True, capture_output=True, text=True
        )
        known |= set(re.findall(r"--[a-z][a-z-]+", helped.stdout))
    foreign = {"--build", "--scale", "--volumes"}  # docker compose
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", EVERYTHING)) - foreign <= known


def test_every_output_topic_has_its_part_in_signals() -> None:
    assert set(TOPICS) <= anchors(ROOT / "docs" / "signals.md")


def test_nothing_names_a_machine() -> None:
    for page, text in TEXT.items():
        assert not re.search(r"/home/|/root/|/work/|/tmp/", text), page
