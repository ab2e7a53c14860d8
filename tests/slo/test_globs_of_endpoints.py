"""Globs of endpoints: ``*`` any run, ``?`` one character, nothing else special; never slow."""

from __future__ import annotations

import time
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle.objectives import matches_glob

from stream.model.objective import TRACKS, Availability, Latency, Objective, Rolling
from stream.slo.catalog import Catalog, glob_pattern

# Few letters, so that much matches; and what is special to regular expressions or to shells.
ALPHABET = "aabA/.\n[]*?^$\\{}|(é"


@settings(max_examples=1500, deadline=None)
@given(st.text("aab/.*?*", max_size=9), st.text("aab/.", max_size=12))
def test_a_glob_matches_what_its_definition_matches(glob: str, endpoint: str) -> None:
    assert bool(glob_pattern([glob]).fullmatch(endpoint)) == matches_glob(glob, endpoint)


@settings(max_examples=800, deadline=None)
@given(st.text(ALPHABET, max_size=8), st.text(ALPHABET, max_size=10))
def test_nothing_but_star_and_question_mark_is_special(glob: str, endpoint: str) -> None:
    assert bool(glob_pattern([glob]).fullmatch(endpoint)) == matches_glob(glob, endpoint)


@given(st.text(ALPHABET.replace("*", "").replace("?", ""), max_size=10))
def test_a_glob_without_wildcards_matches_itself(text: str) -> None:
    assert glob_pattern([text]).fullmatch(text)
    assert not glob_pattern([text]).fullmatch(text + "a")
    assert glob_pattern([text + "*"]).fullmatch(text + "\n/x")


@settings(max_examples=300, deadline=None)
@given(st.lists(st.text("ab/*?", max_size=5), min_size=1, max_size=4), st.text("ab/", max_size=8))
def test_one_glob_of_a_list_is_enough(globs: list[str], endpoint: str) -> None:
    assert bool(glob_pattern(globs).fullmatch(endpoint)) == any(matches_glob(g, endpoint) for g in globs)


@pytest.mark.parametrize("glob", ["*a*a*a*a*a*a*a*a*b", "*aaaaaaaab*c", "?*?*?*?*?*?*b", "*a" * 40])
def test_no_endpoint_makes_a_match_slow(glob: str) -> None:
    started = time.perf_counter()
    assert not glob_pattern([glob]).fullmatch("a" * 20_000 + "X")
    assert time.perf_counter() - started < 1.0


OBJECTIVE = Objective("shop", "up", "payment", Availability(), Decimal(99), Rolling(600))


def key(
    service: str = "payment", endpoint: str = "/pay", track: str = "stable", namespace: str = "shop"
) -> tuple[str, str, str, str, str, str]:
    return namespace, service, endpoint, "GET", "v1", track


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["payment", "search"]),
            st.lists(st.sampled_from(["/pay*", "/?", "*", "/a"]), max_size=2),
            st.lists(st.sampled_from(TRACKS), max_size=2, unique=True),
            st.sampled_from([Availability(), Latency(100), Latency(200)]),
        ),
        min_size=1,
        max_size=8,
    ),
    st.sampled_from(["payment", "search", "nobody"]),
    st.sampled_from(["/pay", "/pay/card", "/a", "", "/b"]),
    st.sampled_from(TRACKS),
    st.sampled_from(["shop", "default"]),
)
def test_an_objective_looks_at_its_service_its_endpoints_and_its_tracks(
    made: list[tuple[str, list[str], list[str], Availability | Latency]],
    service: str,
    endpoint: str,
    track: str,
    namespace: str,
) -> None:
    objectives = [
        replace(OBJECTIVE, name=f"o{i}", service=s, endpoints=tuple(e), tracks=tuple(t), sli=sli)
        for i, (s, e, t, sli) in enumerate(made)
    ]
    catalog = Catalog(objectives)
    expected = [
        row
        for row, (s, globs, tracks, _) in enumerate(made)
        if (namespace, service) == ("shop", s)
        and (not globs or any(matches_glob(g, endpoint) for g in globs))
        and (not tracks or track in tracks)
    ]
    series = key(service, endpoint, track, namespace)
    assert catalog.rows_of(series) == expected
    by_column = [
        row for column in catalog.columns_of(series) for row in catalog.rows_of_column(series, column)
    ]
    assert sorted(by_column) == expected, "every row is fed by exactly one column"
