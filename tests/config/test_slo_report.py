"""A report as text and as JSON."""

from pathlib import Path

import pytest

from stream.config import check_paths, render_json, render_text

DATA = Path(__file__).parent / "data"


@pytest.fixture(autouse=True)
def _in_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(DATA)


def test_good_files_are_summed_up_one_slo_a_line():
    assert render_text(
        check_paths([Path("good/every-key.yaml"), Path("good/minimal.yaml")])
    ).splitlines() == [
        "shop/checkout-availability: availability of checkout, 99.9 % over calendar 1M in Europe/Berlin, "
        "2 alert rules",
        "shop/checkout-latency: latency ≤ 1s in 5m slices of checkout, 99 % over 28d, 0 alert rules",
        "default/checkout: availability of checkout, 99 % over 30d, 0 alert rules",
        "3 SLOs in 2 files, no problem",
    ]


def test_of_bad_files_only_the_problems_are_printed():
    text = render_text(check_paths([Path("bad/target-of-100.yaml"), Path("good/minimal.yaml")]))
    # Both hold default/checkout, so the second is a duplicate although the first is faulty.
    assert text.splitlines() == [
        "bad/target-of-100.yaml:9:11: spec.target: must be a number of at least 1 and below 100, found 100",
        "good/minimal.yaml:4:9: metadata.name: the SLO default/checkout is already defined at "
        "bad/target-of-100.yaml:4:9",
        "2 problems in 2 of 2 files",
    ]


def test_the_json_form_holds_problems_and_faultless_objectives():
    assert render_json(check_paths([Path("bad/unknown-metric.yaml"), Path("slo-examples.yaml")])) == {
        "valid": False,
        "files": ["bad/unknown-metric.yaml", "slo-examples.yaml"],
        "problems": [
            {
                "file": "bad/unknown-metric.yaml",
                "line": 8,
                "column": 13,
                "path": "spec.sli.metric",
                "message": 'must be one of availability, latency, found "availabilty"',
                "hint": "did you mean availability?",
            }
        ],
        "warnings": [],
        "objectives": [
            {
                "file": "slo-examples.yaml",
                "line": 4,
                "column": 9,
                "namespace": "production",
                "name": "payment-service-availability",
                "service": "payment-service",
                "sli": "availability",
                "target_pct": 99.95,
                "window": "30d",
                "rules": 3,
            },
            {
                "file": "slo-examples.yaml",
                "line": 57,
                "column": 9,
                "namespace": "production",
                "name": "payment-service-latency",
                "service": "payment-service",
                "sli": "latency ≤ 500ms",
                "target_pct": 99.0,
                "window": "30d",
                "rules": 1,
            },
        ],
        "analyses": [],
        "comparisons": [],
        "graphs": [],
    }


@pytest.mark.parametrize(
    ("written", "shown"),
    [("6h", "6h"), ("90m", "90m"), ("24h", "1d"), ("30s", "30s"), ("4w", "28d"), ("61s", "70s")],
)
def test_windows_are_shown_in_the_unit_that_one_would_write_and_as_they_count(
    written: str, shown: str, tmp_path: Path
) -> None:
    file = tmp_path / "slo.yaml"
    file.write_text((DATA / "good" / "minimal.yaml").read_text().replace("30d", written))
    report = check_paths([file])
    assert render_text(report).splitlines()[0].split(" over ")[1].split(",")[0] == shown
    assert render_json(report)["objectives"][0]["window"] == shown


def test_a_problem_of_no_file_is_not_counted_as_one_in_a_file(tmp_path: Path) -> None:
    assert render_text(check_paths([tmp_path])).splitlines()[1] == "1 problem; 0 files read"
    (tmp_path / "empty.yaml").write_text("")
    assert render_text(check_paths([tmp_path])).splitlines()[-1] == "1 problem; 1 file read, 1 warning"
