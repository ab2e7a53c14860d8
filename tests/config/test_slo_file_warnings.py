"""What is valid in SLO files, but most likely not meant, is told by ``burngate validate``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from stream.cli import app
from stream.config import check_paths, render_json, render_text

PLAIN = """
apiVersion: sre.example.com/v1
kind: ServiceLevelObjective
metadata: {name: payment-up}
spec:
  service: payment
  sli: {metric: availability}
  target: 99.9
  timeWindow: {type: rolling, duration: 30d}
"""
LATENCY = "{metric: latency, threshold: 300ms}"


def warnings_of(directory: Path, text: str = PLAIN) -> list[str]:
    (directory / "slo.yaml").write_text(text)
    report = check_paths([directory])
    assert report.problems == ()
    return [f"{one.path or Path(one.file).name}: {one.message}" for one in report.warnings]


def test_a_plain_file_warns_of_nothing_nor_do_those_of_the_project(tmp_path: Path) -> None:
    assert warnings_of(tmp_path) == []
    assert warnings_of(tmp_path, PLAIN.replace("{metric: availability}", LATENCY)) == []
    assert check_paths([Path(__file__).parents[2] / "deploy" / "slos"]).warnings == ()


@pytest.mark.parametrize(
    ("changed", "to", "where", "says"),
    [
        ("99.9", "49", "spec.target", "49 % of the events may be good"),
        ("99.9", "1", "spec.target", "1 % of the events may be good"),
        (
            "30d}", "1h}\n  alerting: [{window: 6h, burnRateThreshold: 2}]",
            "spec.alerting", "the window 6h is longer than the time window (1h)",
        ),
        (
            "{type: rolling, duration: 30d}",
            "{type: calendar, duration: 1d}\n  alerting: [{window: 3d, burnRateThreshold: 2}]",
            "spec.alerting", "the window 3d is longer than the time window (1d)",
        ),
        (
            "30d}",
            "30d}\n  errorBudgetPolicy: {freezeDeploymentsThreshold: 5, autoRollbackThreshold: 10}",
            "spec.errorBudgetPolicy.autoRollbackThreshold",
            "10 is above freezeDeploymentsThreshold (5)",
        ),
    ],
)  # fmt: skip
def test_values_that_are_hardly_meant_are_named(
    tmp_path: Path, changed: str, to: str, where: str, says: str
) -> None:
    (found,) = warnings_of(tmp_path, PLAIN.replace(changed, to))
    assert found.startswith(f"{where}: {says}")


@pytest.mark.parametrize(
    ("glob", "says"),
    [
        ("!/healthz", "a leading ! does not exclude"),
        ("^/pay", "^ and $ are characters like others"),
        ("/pay$", "^ and $ are characters like others"),
        ("/pay/.*", ".* is a dot and then anything"),
        ("/{pay,refund}", "{a,b} is no choice"),
        ("/orders/:id", ":id is no parameter"),
    ],
)
def test_globs_that_look_like_another_language_are_named(tmp_path: Path, glob: str, says: str) -> None:
    (found,) = warnings_of(tmp_path, f"{PLAIN}  endpoints: ['/fine/*', '{glob}']\n")
    assert found.startswith(f"spec.endpoints[1]: looks like another language than globs: {says}")


@pytest.mark.parametrize(
    "glob", ["*", "/orders/{id}", "/v?/pay*", "", "/a.b", "/price/$1", "shop.v1.Cart/Get"]
)
def test_globs_are_no_other_language(tmp_path: Path, glob: str) -> None:
    assert warnings_of(tmp_path, f"{PLAIN}  endpoints: ['{glob}']\n") == []


def test_files_that_say_nothing_and_files_that_are_not_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").write_text("# nothing\n---\n")
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "slo.json").write_text("{}")
    (tmp_path / ".hidden.json").write_text("{}")
    assert warnings_of(tmp_path) == [
        "empty.yaml: there is no document in this file",
        "slo.json: not read, for its name",
    ]
    report = check_paths([tmp_path / "slo.yaml", tmp_path / "more" / "slo.json", tmp_path / "more"])
    assert report.warnings == ()
    assert len(report.problems) > 0, "a file that is named is read, whatever it is called"


def test_warnings_are_printed_before_the_summary_and_are_errors_only_if_asked(tmp_path: Path) -> None:
    file = tmp_path / "slo.yaml"
    file.write_text(PLAIN.replace("99.9", "40"))
    text = render_text(check_paths([file]))
    first, *_, last = text.splitlines()
    assert first.startswith(f"{file}:8:11: spec.target: warning: 40 % of the events")
    assert last == "1 SLO in 1 file, no problem, 1 warning"
    found = render_json(check_paths([file]))
    assert found["valid"] is True
    (warning,) = json.loads(json.dumps(found["warnings"]))
    assert (warning["line"], warning["path"]) == (8, "spec.target")
    for options, code in (([], 0), (["--strict"], 1)):
        result = CliRunner().invoke(app, ["validate", *options, str(file)])
        assert (result.exit_code, "warning" in result.output) == (code, True)
    file.write_text(PLAIN)
    assert CliRunner().invoke(app, ["validate", "--strict", str(file)]).exit_code == 0
