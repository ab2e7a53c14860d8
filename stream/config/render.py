"""A report as a person reads it, and as a program does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from stream.config.load import Located, Report
from stream.config.values import shown_ms
from stream.errors import Problem
from stream.model.analysis import Analysis
from stream.model.comparison import Comparison
from stream.model.graph import ServiceGraph
from stream.model.objective import Calendar, Latency, Objective
from stream.words import counted, printable


def render_text(report: Report) -> str:
    """One line per problem and warning; without problems one per objective; a summary. No final newline."""
    warnings = [str(replace(one, message=f"warning: {one.message}")) for one in report.warnings]
    problems = [str(problem) for problem in report.problems]
    located = [] if problems else [_line(found) for found in report.located]
    return "\n".join([*problems, *warnings, *located, summary_line(report)])


def render_missing(paths: Sequence[Path]) -> dict[str, object]:
    """The JSON form where nothing was read, as these paths do not exist."""
    problems = [Problem(printable(str(path)), 1, 1, "", "no such file or directory") for path in paths]
    return render_json(Report((), (), tuple(problems)))


def summary_line(report: Report) -> str:
    """How many problems, SLOs and files: ``2 problems in 1 of 3 files``."""
    files = counted(len(report.files), "file")
    warned = f", {counted(len(report.warnings), 'warning')}" if report.warnings else ""
    if not report.problems:
        kinds = [counted(len(report.objectives), "SLO")]
        if report.analyses:
            kinds.append(counted(len(report.analyses), "canary analysis", "canary analyses"))
        if report.comparisons:
            kinds.append(counted(len(report.comparisons), "shadow comparison"))
        if report.graphs:
            kinds.append(counted(len(report.graphs), "service graph"))
        return f"{_listed(kinds)} in {files}, no problem{warned}"
    problems = counted(len(report.problems), "problem")
    faulty = {problem.file for problem in report.problems}
    if not faulty <= set(report.files):  # it is none of a file that was read, but of a path
        return f"{problems}; {files} read{warned}"
    return f"{problems} in {len(faulty)} of {files}{warned}"


def render_json(report: Report) -> dict[str, object]:
    """``valid``, ``files``, ``problems``, ``warnings`` and what is faultless, ready to encode."""
    return {
        "valid": not report.problems,
        "files": list(report.files),
        "problems": [_problem_json(problem) for problem in report.problems],
        "warnings": [_problem_json(warning) for warning in report.warnings],
        "objectives": [_json(found) for found in report.located if isinstance(found.meaning, Objective)],
        "analyses": [_json(found) for found in report.located if isinstance(found.meaning, Analysis)],
        "comparisons": [_json(found) for found in report.located if isinstance(found.meaning, Comparison)],
        "graphs": [_json(found) for found in report.located if isinstance(found.meaning, ServiceGraph)],
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


def _json(found: Located) -> dict[str, object]:
    place = {"file": found.file, "line": found.line, "column": found.column}
    match found.meaning:
        case Objective() as objective:
            return place | _objective_json(objective)
        case Analysis() as analysis:
            return place | _analysis_json(analysis)
        case Comparison() as comparison:
            return place | _comparison_json(comparison)
        case ServiceGraph() as graph:
            return place | _graph_json(graph)


def _graph_json(graph: ServiceGraph) -> dict[str, object]:
    return {
        "namespace": graph.namespace,
        "name": graph.name,
        "services": [node.name for node in graph.services],
        "calls": sum(len(node.depends_on) for node in graph.services),
        "resources": len(_resources(graph)),
    }


def _analysis_json(analysis: Analysis) -> dict[str, object]:
    return {
        "namespace": analysis.namespace,
        "name": analysis.name,
        "service": analysis.service,
        "method": analysis.method,
        "metrics": [metric.name for metric in analysis.metrics],
        "stages_pct": [float(share) for share in analysis.stages_pct],
    }


def _comparison_json(comparison: Comparison) -> dict[str, object]:
    return {
        "namespace": comparison.namespace,
        "name": comparison.name,
        "service": comparison.service,
        "mismatch": comparison.mismatch,
        "maximum_mismatch_pct": float(comparison.most_mismatch_pct),
    }


def _objective_json(objective: Objective) -> dict[str, object]:
    return {
        "namespace": objective.namespace,
        "name": objective.name,
        "service": objective.service,
        "sli": _sli(objective),
        "target_pct": float(objective.target_pct),
        "window": _window(objective),
        "rules": len(objective.rules),
    }


def _line(found: Located) -> str:
    match found.meaning:
        case Objective() as objective:
            return _objective_line(objective)
        case Analysis() as analysis:
            return _analysis_line(analysis)
        case Comparison() as comparison:
            return _comparison_line(comparison)
        case ServiceGraph() as graph:
            return _graph_line(graph)


def _graph_line(graph: ServiceGraph) -> str:
    counts = (
        counted(len(graph.services), "service"),
        counted(sum(len(node.depends_on) for node in graph.services), "call"),
        counted(len(_resources(graph)), "resource"),
    )
    critical = sum(bool(node.critical) for node in graph.services)
    return f"{printable(graph.identity)}: service graph of {', '.join(counts)}; {critical} critical"


def _resources(graph: ServiceGraph) -> set[str]:
    return {resource for node in graph.services for resource in node.resources}


def _analysis_line(analysis: Analysis) -> str:
    service, metrics = printable(analysis.service), counted(len(analysis.metrics), "metric")
    stages = ", ".join(f"{share:f}" for share in analysis.stages_pct)
    return (
        f"{printable(analysis.identity)}: {analysis.method} canary analysis of {service}, {metrics}, "
        f"at {stages} % for {shown_ms(analysis.shortest_s * 1000)} to "
        f"{shown_ms(analysis.longest_s * 1000)}"
    )


def _comparison_line(comparison: Comparison) -> str:
    lengths = f"{shown_ms(comparison.shortest_s * 1000)} to {shown_ms(comparison.longest_s * 1000)}"
    return (
        f"{printable(comparison.identity)}: shadow comparison of {printable(comparison.service)}, at most "
        f"{comparison.most_mismatch_pct:f} % mismatches, for {lengths}"
    )


def _objective_line(objective: Objective) -> str:
    rules = counted(len(objective.rules), "alert rule")
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


def _listed(parts: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return " and ".join(part for part in (", ".join(parts[:-1]), parts[-1]) if part)
