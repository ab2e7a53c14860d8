"""Every problem at once, each at its place: bad files are named after their fault, and the lines expected of
``X.yaml`` stand in ``X.expected``."""

import os
import time
from pathlib import Path

import pytest
import yaml

from stream.config import check_paths, load_objectives
from stream.config.section import MAX_PROBLEMS
from stream.config.tree import MAX_DEPTH
from stream.errors import ConfigError, UsageError

DATA = Path(__file__).parent / "data"
BAD = sorted(path for room in ("bad", "beyond_schema", "not_read") for path in (DATA / room).glob("*.yaml"))
GOOD = (DATA / "good" / "minimal.yaml").read_text(encoding="utf-8")


def problems_of(*paths: Path) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        load_objectives(paths)
    return [str(problem) for problem in raised.value.problems]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)

    def to_file(text: str | bytes, name: str = "slo.yaml") -> Path:
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return to_file


def named(name: str, target: str = "99") -> str:
    return GOOD.replace("name: checkout", f"name: {name}").replace("target: 99", f"target: {target}")


@pytest.mark.skipif(not yaml.__with_libyaml__, reason="the wording of syntax errors is libyaml's")
@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_every_problem_of_a_bad_file_is_listed_at_its_place(path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(path.parent)
    lines = (path.with_suffix(".expected")).read_text(encoding="utf-8").splitlines()
    assert problems_of(Path(path.name)) == [f"{path.name}:{line}" for line in lines]


def test_there_is_an_expectation_for_every_bad_file_and_none_is_left_over():
    expectations = sorted(DATA.rglob("*.expected"))
    assert expectations == sorted(path.with_suffix(".expected") for path in BAD)
    assert len(BAD) > 40


def test_problems_of_all_files_are_listed_together(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(DATA)
    assert problems_of(Path("several_files")) == [
        "several_files/team/a.yml:7:11: spec.target: must be a number of at least 1 and below 100, found 200",
        "several_files/team/c.yaml:12:18: metadata.name: the SLO default/checkout is already defined at "
        "several_files/b.yaml:3:18",
    ]


def test_a_third_slo_of_the_same_identity_points_at_the_first(write):
    write(GOOD, "a.yaml"), write("\n" + GOOD, "b.yaml"), write("\n\n" + GOOD, "c.yaml")
    assert [line.split(" already ")[1] for line in problems_of(Path())] == ["defined at a.yaml:4:9"] * 2


def test_an_slo_with_faults_of_its_own_still_counts_as_a_duplicate(write):
    write(named("checkout", target="0"), "a.yaml"), write(GOOD, "b.yaml")
    assert [line.split(": ")[1] for line in problems_of(Path())] == ["spec.target", "metadata.name"]


def test_the_faultless_slos_of_a_faulty_file_are_in_the_report(write):
    path = write(f"{named('a')}---\n{named('b', target='0')}---\n{named('c')}")
    report = check_paths([path])
    assert [(found.meaning.name, found.line) for found in report.located] == [("a", 4), ("c", 26)]
    assert len(report.problems) == 1


# --- Paths -------------------------------------------------------------------------------------------------


def test_slos_come_in_the_order_of_files_then_documents(write):
    (
        write(f"{named('b1')}---\n{named('b2')}", "d/b.yaml"),
        write(named("a"), "d/a/z.yml"),
        write(named("c"), "d/c.yaml"),
    )
    write(named("first"), "first.yaml")
    names = [objective.name for objective in load_objectives([Path("first.yaml"), Path("d")])]
    assert names == ["first", "a", "b1", "b2", "c"]


def test_a_directory_gives_its_yaml_files_and_nothing_else(write):
    write(named("a"), "d/deep/er/a.yaml"), write(named("b"), "d/b.yml"), write(named("c"), "d/c.yaml.bak")
    write(named("d"), "d/.hidden.yaml"), write(named("e"), "d/.git/e.yaml"), write(named("f"), "d/yaml")
    assert [objective.name for objective in load_objectives([Path("d")])] == ["b", "a"]


def test_a_file_that_is_named_is_read_whatever_it_is_called(write):
    assert len(load_objectives([write(GOOD, ".slos.txt")])) == 1


def test_a_mounted_config_map_is_read_once(write):
    write(GOOD, "mount/..2026_11_23/slo.yaml")
    Path("mount/..data").symlink_to("..2026_11_23")
    Path("mount/slo.yaml").symlink_to("..data/slo.yaml")
    assert len(load_objectives([Path("mount")])) == 1


def test_a_file_that_is_reached_twice_is_read_once(write):
    write(GOOD, "d/a.yaml")
    Path("d/loop").symlink_to(".")
    Path("d/link.yaml").symlink_to("a.yaml")
    assert check_paths([Path("d"), Path("d/a.yaml"), Path("d/link.yaml")]).files == ("d/a.yaml",)


def test_paths_that_do_not_exist_are_a_usage_error_that_names_all_of_them(write):
    path = write("not: an slo")
    with pytest.raises(UsageError) as raised:
        load_objectives([path, Path("a.yaml"), Path("slo.yaml/below"), Path("nul\0")])
    assert raised.value.exit_code == 2
    assert str(raised.value).splitlines() == [
        "a.yaml: no such file or directory",
        "slo.yaml/below: no such file or directory",
        "nul\\u0000: no such file or directory",
    ]


def test_a_directory_without_an_slo_is_a_problem(write):
    write("kind: x", "d/readme.txt")
    assert problems_of(Path("d")) == ["d:1:1: no SLO found (there is no *.yaml or *.yml file)"]
    assert problems_of() == ["(no path):1:1: no SLO found (there is no *.yaml or *.yml file)"]


def test_a_file_that_cannot_be_read_is_a_problem_beside_the_others(write):
    write(named("a", target="0"), "d/a.yaml")
    Path("d/gone.yaml").symlink_to("nowhere")
    os.mkfifo("d/pipe.yaml")
    Path("d/self.yaml").symlink_to("self.yaml")
    assert problems_of(Path("d"))[1:] == [
        "d/gone.yaml:1:1: cannot be read: no such file or directory",
        "d/pipe.yaml:1:1: cannot be read: not a regular file",
        "d/self.yaml:1:1: cannot be read: too many levels of symbolic links",
    ]


def test_a_file_without_permission_is_a_problem(write, monkeypatch: pytest.MonkeyPatch):
    def refuse(path: Path, mode: str) -> None:
        raise PermissionError(13, "Permission denied")

    path = write(GOOD)
    monkeypatch.setattr(Path, "open", refuse)
    assert problems_of(path) == ["slo.yaml:1:1: cannot be read: permission denied"]


def test_a_file_name_that_is_no_text_can_be_printed(write):
    path = write("target: 1", os.fsdecode(b"\xff\n.yaml"))
    (line, *_) = problems_of(path)
    assert line.startswith("\\udcff\\n.yaml:1:1: kind: required")


# --- Hostile input -----------------------------------------------------------------------------------------


def hostile_files() -> dict[str, str]:
    head = GOOD + "  alerting:\n"
    rule = "{window: 5m, burnRateThreshold: 1"
    return {
        "laughs": "a: &a0 [x, x]\n" + "".join(f"b{i}: &a{i + 1} [*a{i}, *a{i}]\n" for i in range(5000)),
        "a chain of aliases": "a: &a0 [x]\n" + "".join(f"b{i}: &a{i + 1} [*a{i}]\n" for i in range(5000)),
        "a chain of merges": f"{head}    - &r0 {rule}}}\n"
        + "".join(f"    - &r{i + 1} {{<<: *r{i}, k{i}: 1}}\n" for i in range(5000)),
        "one rule many times": f"{head}    - &r {rule}}}\n" + "    - *r\n" * 100_000,
        "many channels many times": f"{head}    - &r {rule}, notificationChannels: [{'x, ' * 9000}]}}\n"
        + "    - *r\n" * 9000,
        "brackets": "[" * 1_000_000,
        "braces": "{a: " * 200_000,
        "dashes": "- " * 200_000,
        "questions": "? " * 200_000,
        "one long key": "a" * 1_000_000 + ": 1",
        "one long number": GOOD.replace("target: 99", "target: 9" + "9" * 1_000_000),
        "a huge exponent": GOOD.replace("target: 99", "target: 1e-999999999"),
        "many faulty documents": "---\nfoo: [\n" * 20_000,
        "many unknown keys": GOOD + "".join(f"  k{i}: 1\n" for i in range(20_000)),
        "many directives": "%YAML 1.1\n" * 100_000 + "---\n",
    }


@pytest.mark.parametrize("name", hostile_files().keys())
def test_hostile_input_is_refused_quickly(write, name: str):
    path = write(hostile_files()[name])
    start_s = time.process_time()
    lines = problems_of(path)
    assert time.process_time() - start_s < 10
    assert len(lines) <= MAX_PROBLEMS
    assert max(map(len, lines)) < 1000


def test_a_file_over_the_limit_is_refused(write):
    path = write(b"#" * (16 * 1024**2 + 1))
    assert problems_of(path) == ["slo.yaml:1:1: larger than 16 MiB: split it"]


def test_a_list_of_problems_that_is_cut_short_says_so_first(write):
    lines = problems_of(write(GOOD + "".join(f"  k{i}: 1\n" for i in range(MAX_PROBLEMS))))
    assert len(lines) == MAX_PROBLEMS
    assert lines[0] == "slo.yaml:1:1: only the first 999 problems found in this file are listed"
    assert lines[-1].startswith("slo.yaml:1009:3: spec.k998: unknown key")


def test_nesting_up_to_the_limit_is_read(write):
    deep = MAX_DEPTH - 2  # below the document and spec
    lines = problems_of(write(GOOD + f"  tracks: {'[' * deep}{']' * deep}\n"))
    assert lines == [
        "slo.yaml:11:12: spec.tracks[0]: must be one of stable, canary, baseline, shadow, found a list"
    ]
