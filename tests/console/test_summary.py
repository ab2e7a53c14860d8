"""The demo's last words: what happened, and whether everything that was sent was counted."""

from __future__ import annotations

import shlex
from collections import Counter
from pathlib import Path

import pytest
from signal_records import (
    alert,
    budget,
    canary_rollback,
    dead_letter,
    errors,
    freeze,
    metric,
    rollback,
    verdict,
)

from stream.config import check_paths
from stream.console.board import Board
from stream.console.text import epoch_ms
from stream.demo.summary import Summary, counts, so_far, what_next
from stream.load.shop import CATALOGUE, PAYMENT, SEARCH
from stream.load.story import Story

START_MS = epoch_ms("2026-11-23T10:00:00.000Z")
END = "2026-11-23T11:00:00.000Z"
END_MS = epoch_ms(END)
SENT = Counter(payment=72_000, search=90_000)
STORY = (
    Story(START_MS)
    .ended(PAYMENT, epoch_ms("2026-11-23T10:29:00.000Z"))
    .ended(SEARCH, epoch_ms("2026-11-23T10:07:00.000Z"))
)


def failed(**changes: object) -> dict[str, object]:
    return verdict("2026-11-23T10:05:00.000Z", started_at="2026-11-23T10:01:00.000Z", **changes)


def passed(**changes: object) -> dict[str, object]:
    within = [metric("latency-p95", "within", ratio=0.99, interval=[0.94, 1.06]), errors()]
    times = {"at": "2026-11-23T10:44:30.000Z", "started_at": "2026-11-23T10:31:00.000Z"}
    return verdict(**{"of": "pass", "service": CATALOGUE, "metrics": within, **times, **changes})


def finished(**changes: object) -> Board:
    board = incident(**changes)
    board.apply("canary-verdicts", failed())
    board.apply("deploy-rollbacks", canary_rollback("2026-11-23T10:05:00.000Z"))
    board.apply("canary-verdicts", passed())
    return board


def incident(**changes: object) -> Board:
    board = Board()
    board.apply("slo-alerts", alert("2026-11-23T10:24:10.000Z", starts_at="2026-11-23T10:24:10.000Z"))
    board.apply("deploy-freezes", freeze("2026-11-23T10:26:00.000Z"))
    board.apply("deploy-rollbacks", rollback("2026-11-23T10:28:10.000Z"))
    board.apply("slo-alerts", alert("2026-11-23T10:30:30.000Z", "resolved"))
    board.apply("slo-budgets", budget(END, remaining_pct=11.06, **changes))
    board.apply("slo-budgets", budget(END, "search-availability", "search", total=90_000))
    return board


def said(board: Board) -> str:
    return "\n".join(line.plain for line in Summary(board, STORY, END_MS, SENT).lines())


def test_a_whole_story_is_complete_and_told_with_its_times() -> None:
    summary = Summary(finished(), STORY, END_MS, SENT)
    assert summary.complete
    assert [line.plain for line in summary.lines()] == [
        "What happened (event time)",
        "  10:22:00  payment 2.5.0 began to fail on POST /v1/charges",
        "  10:24:10  detected after 2 min 10 s: payment-availability burns 15.2× over 5m "
        "(critical, above 14.4×)",
        "            97 % of its bad requests: POST /v1/charges, version 2.5.0",
        "  10:26:00  deploys of payment frozen, 59.4 % of the budget left",
        "  10:28:10  rollback of payment from 2.5.0 to 2.4.0, 29.3 % of the budget left",
        "  10:29:00  the shop has taken 2.5.0 back",
        "  10:30:30  the last alert resolved, 8 min 30 s after the first failure",
        "",
        "Canaries (event time)",
        "  10:01:00  search 3.2.0 on trial at 10 % of the requests of /search",
        "            which answers 4 % of GET /search 10 times as slowly",
        "  10:05:00  fail after 4 min: p99 +251 % [over +33 %]",
        "            no alert of search fired: its SLOs are met",
        "  10:07:00  the shop has taken 3.2.0 back",
        "  10:31:00  catalogue 1.9.0 on trial at 50 % of the requests",
        "            which is as good as the version before it",
        "  10:44:30  pass after 13 min 30 s: p95 −1 % [−6 %, +6 %], errors 0.18 % against 0.11 %",
        "  10:58:00  the shop has promoted 1.9.0",
        "",
        "Error budgets left",
        "  payment-availability   11.1 %, deploys stay frozen until it recovers",
        "  search-availability    93.1 %",
        "",
        "Events",
        "  162,000 sent in the hour, all of them counted, each once",
    ]


def test_one_event_too_few_or_too_many_is_found() -> None:
    for counted in (71_999, 72_001):
        board = finished(total=counted)
        assert not Summary(board, STORY, END_MS, SENT).complete
        assert f"missing: payment: 72,000 events sent, {counted:,} counted" in said(board)


def test_every_objective_of_a_service_has_to_agree() -> None:
    board = finished()
    board.apply("slo-budgets", budget(END, "payment-latency", total=71_990))
    assert [(one.service, one.counted == one.sent) for one in counts(board, END_MS, SENT)] == [
        ("payment", False),
        ("search", True),
    ]


def test_a_service_that_was_not_decided_to_the_end_is_not_counted() -> None:
    board = finished()
    board.apply("slo-budgets", budget("2026-11-23T10:59:00.000Z", "search-availability", "search"))
    assert "search: 90,000 events sent, no counted" in said(board)


def test_what_did_not_happen_is_missing() -> None:
    page = said(Board())
    for what in (
        "an alert",
        "the freeze of payment",
        "the rollback of payment 2.5.0",
        "the verdict fail on search 3.2.0",
        "the verdict pass on catalogue 1.9.0",
    ):
        assert f"missing: {what}" in page


@pytest.mark.parametrize(
    ("verdicts", "missing"),
    [
        ([failed()], "the verdict pass on catalogue 1.9.0"),
        ([passed()], "the verdict fail on search 3.2.0"),
        ([failed(), passed(of="fail")], "the verdict pass on catalogue 1.9.0"),
        ([failed(), passed(canary={"version": "1.8.0"})], "the verdict pass on catalogue 1.9.0"),
        ([failed(final=False), passed()], "the verdict fail on search 3.2.0"),
        (
            [failed(metrics=[metric("latency-p50", "worse"), metric("latency-p99", "worse")]), passed()],
            "the slow tail as the only harm that search 3.2.0 does",
        ),
        ([failed(), passed()], "the rollback of search 3.2.0"),
    ],
)
def test_a_canary_that_was_not_judged_as_it_is_makes_the_story_incomplete(
    verdicts: list[dict[str, object]], missing: str
) -> None:
    board = incident()
    for one in verdicts:
        board.apply("canary-verdicts", one)
    assert not Summary(board, STORY, END_MS, SENT).complete
    assert f"missing: {missing}" in said(board)


def test_an_alert_of_the_service_whose_tail_alone_is_slow_is_one_too_many() -> None:
    board = finished()
    board.apply("slo-alerts", alert("2026-11-23T10:24:10.000Z", service="search", slo="search-latency"))
    assert "missing: the silence of search's alerts" in said(board)


def test_an_alert_that_named_another_culprit_is_not_the_story() -> None:
    board = Board()
    board.apply("slo-alerts", alert(starts_at="2026-11-23T10:24:10.000Z", contributors=[]))
    assert "missing: the faulty endpoint and release" in said(board)


def test_an_alert_still_firing_one_too_early_and_dead_letters_are_told() -> None:
    board = finished()
    board.apply("slo-alerts", alert("2026-11-23T10:59:00.000Z", id="late"))
    board.apply("slo-alerts", alert(id="early", starts_at="2026-11-23T10:05:00.000Z"))
    board.apply("dead-letters", dead_letter())
    page = said(board)
    assert "missing: the end of the alert of payment-availability" in page
    assert "missing: payment-availability fired before the incident" in page
    assert "missing: 1 event became dead letters" in page


def test_a_story_that_is_left_is_summed_up_as_far_as_it_was_told() -> None:
    board = Board()
    board.note(START_MS, "no more than a note")
    board.apply("deploy-freezes", freeze("2026-11-23T10:26:00.000Z"))
    board.apply("slo-alerts", alert("2026-11-23T10:24:10.000Z"))
    board.apply("slo-budgets", budget("2026-11-23T10:27:00.000Z", remaining_pct=11.06))
    assert [line.plain for line in so_far(board, START_MS, START_MS + 1_690_000, 361_234)] == [
        "",
        "Stopped after 28 min 10 s of the hour",
        "  10:24:10  FIRING    payment-availability 5m > 14.4× (critical): "
        "burning 15.2× over 5m and 38.1× over 30s",
        "  10:26:00  FROZEN    payment may not be deployed",
        "",
        "Error budgets left",
        "  payment-availability   11.1 %, deploys stay frozen until it recovers",
        "",
        "Events",
        "  361,234 sent, decided up to 10:27:00",
    ]
    assert [line.plain for line in so_far(Board(), START_MS, START_MS, 0)][-1] == "  0 sent"


@pytest.mark.parametrize(
    ("called", "on_path", "burngate"),
    [
        (".venv/bin/burngate", False, ".venv/bin/burngate"),
        (".venv/bin/burngate", True, "burngate"),
        ("/some where/bin/burngate", False, "'/some where/bin/burngate'"),
        ("stream/__main__.py", False, ".venv/bin/python -m stream"),
    ],
)
def test_what_comes_next_can_be_pasted(
    called: str, on_path: bool, burngate: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / ".venv" / "bin" / "burngate"
    script.parent.mkdir(parents=True)
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", [called])
    monkeypatch.setattr("sys.executable", str(script.parent / "python"))
    monkeypatch.setenv("PATH", str(script.parent) if on_path else "/bin")
    lines = [line.plain for line in what_next("http://127.0.0.1:1/metrics", runs=True)]
    commands = [line[22:] for line in lines if " --slos " in line or " validate " in line]
    assert len(commands) == 3
    for command in commands:
        assert command.startswith(burngate + " ")
    (path,) = check_paths([Path(shlex.split(commands[1])[-1])]).files[:1]
    assert Path(path).is_file()


def test_the_metrics_url_is_told_while_there_is_one() -> None:
    assert "http://127.0.0.1:1234/metrics" in what_next("http://127.0.0.1:1234/metrics", runs=True)[-1].plain
    assert "--keep-running" in what_next("http://127.0.0.1:1234/metrics", runs=False)[-1].plain
