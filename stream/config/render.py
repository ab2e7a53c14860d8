"""A report as a person reads it, and as a program does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from stream.config.load import Located, Report
from stream.config.section import printable
from stream.config.values import shown_ms
from stream.errors import Problem
from stream.model.objective import Calendar, Latency, Objective


def render_text(report: Report) -> str:
    """One line per problem; without problems one per objective; and a summary. No final newline."""
    lines = [str(problem) for problem in report.problems] or [
        _objective_line(found) for found in report.located
    ]
    return "\n".join([*lines, summary_line(report)])


def render_missing(paths: Sequence[Path]) -> dict[str, object]:
    """The JSON form where nothing was read, as these paths do not exist."""
    problems = [Problem(printable(str(path)), 1, 1, "", "no such file or directory") for path in paths]
    return render_json(Report((), (), tuple(problems)))


def summary_line(report: Report) -> str:
    """How many problems, SLOs and files: ``2 problems in 1 of 3 files``."""
    files = _counted(len(report.files), "file")
    if not report.problems:
        return f"{_counted(len(report.objectives), 'SLO')} in {files}, no problem"
    problems = _counted(len(report.problems), "problem")
    faulty = {problem.file for problem in report.problems}
    if not faulty <= set(report.files):  # it is none of a file that was read, but of a path
        return f"{problems}; {files} read"
    return f"{problems} in {len(faulty)} of {files}"


def render_json(report: Report) -> dict[str, object]:
    """``valid``, ``files``, ``problems`` and ``objectives`` (the faultless ones), ready to encode."""
    return {
        "valid": not report.problems,
        "files": list(report.files),
        "problems": [_problem_json(problem) for problem in report.problems],
        "objectives": [_objective_json(found) for found in report.located],
    }


def _problem_json(problem: Problem) -> dict[str, object]:
    return {
        "file": problem.file,
        "line": problem.line,
        "column": problem.column,
        "path": problem.path,
        "message": problem.message,
        "hint": problem.hint,
    }


def _objective_json(found: Located) -> dict[str, object]:
    objective = found.objective
    return {
        "file": found.file,
        "line": found.line,
        "column": found.column,
        "namespace": objective.namespace,
        "name": objective.name,
        "service": objective.service,
        "sli": _sli(objective),
        "target_pct": float(objective.target_pct),
        "window": _window(objective),
        "rules": len(objective.rules),
    }


def _objective_line(found: Located) -> str:
    objective = found.objective
    rules = _counted(len(objective.rules), "alert rule")
    return (
        f"{printable(objective.identity)}: {_sli(objective)} of {printable(objective.service)}, "
        f"{objective.target_pct:f} % over {_window(objective)}, {rules}"
    )


def _sli(objective: Objective) -> str:
    """``availability``, ``latency ≤ 500ms``, ``latency ≤ 500ms in 5m slices``."""
    if not isinstance(objective.sli, Latency):
        return type(objective.sli).__name__.lower()
    slices = f" in {shown_ms(objective.slices.length_s * 1000)} slices" if objective.slices else ""
    return f"latency ≤ {shown_ms(objective.sli.threshold_ms)}{slices}"


def _window(objective: Objective) -> str:
    """``30d``, ``6h`` or ``calendar 1M in Europe/Berlin``."""
    window = objective.window
    if isinstance(window, Calendar):
        return f"calendar {window.period} in {window.zone}"
    return shown_ms(window.length_s * 1000)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
