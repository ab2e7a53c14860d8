"""Endpoints are compared each with itself, and then put together: another mix of them is no harm.

A canary that gets more of the slow endpoints looks slower although none of them is (Simpson's paradox). So
each endpoint is a stratum with its own evidence, and

    E = ½ · Σ w_s·E_s + ½ · Π E_s

The average is an e-value under any dependence between endpoints, and finds harm to one of them. The product
is one as far as requests of different endpoints are independent, as those of one endpoint are taken to be,
and finds harm that is spread over all. Weights must not look at the outcomes: they are given out once, when
an endpoint is first seen, by its share of the traffic then.

Effects are averaged by the same weights, which are the baseline's mix, on the scale of logarithms for ratios.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

RESERVE = 0.1
"""Of what weight is left, so much is kept at each look for endpoints that appear later."""
NEARLY_ALL = 0.9
"""Endpoints that hardly anybody calls never show that they are well."""
EVEN = 0.25
"""So much of the weight that is given out is split evenly, that small endpoints be heard."""


@dataclass(frozen=True, slots=True, eq=False)
class StratumWeights:
    """Weights of endpoints by key; once given out they never change, and sum up to less than 1."""

    keys: Ints
    """Ascending."""
    weights: Floats

    @classmethod
    def none(cls) -> StratumWeights:
        return cls(np.empty(0, np.int64), np.empty(0))

    def seen(self, keys: Ints, requests: Floats) -> StratumWeights:
        """With those of the ascending ``keys`` that are new, by their requests in the baseline so far."""
        new = ~np.isin(keys, self.keys)
        if not new.any():
            return self
        left = 1 - float(self.weights.sum())
        share = np.maximum(requests[new], 1e-9)
        shares = EVEN / int(new.sum()) + (1 - EVEN) * share / share.sum()
        joined = np.concatenate((self.keys, keys[new]))
        weights = np.concatenate((self.weights, left * (1 - RESERVE) * shares))
        order = np.argsort(joined)
        return StratumWeights(joined[order], weights[order])

    def of(self, keys: Ints) -> Floats:
        """Of ``keys`` that were all seen."""
        return self.weights[np.searchsorted(self.keys, keys)]


def combined_log_e(log_e: Floats, weights: Floats) -> Floats:
    """[…] ln of the whole's e-value from [… , strata]. Weight that was not given out counts as an endpoint of
    which nothing is known."""
    left = np.maximum(1 - weights.sum(axis=-1, keepdims=True), 0)
    with np.errstate(divide="ignore"):
        shares = np.log(np.concatenate((weights, left), axis=-1))
    unknown = np.zeros((*log_e.shape[:-1], 1))
    average = np.logaddexp.reduce(np.concatenate((log_e, unknown), axis=-1) + shares, axis=-1)
    return np.asarray(np.logaddexp(average, log_e.sum(axis=-1)) - log(2))


def combined_effect(effects: Floats, weights: Floats) -> float:
    """Average of ratios' logarithms, or of differences."""
    return float(np.average(effects, weights=weights))


def simultaneous_log_thresholds(log_threshold: float, weights: Floats) -> Floats:
    """What each endpoint's interval must be held to, for all of them to hold at once: α by weight."""
    return np.asarray(log_threshold - np.log(weights / weights.sum(axis=-1, keepdims=True)))


def shown_on_nearly_all(log_e: Floats, weights: Floats, log_threshold: float) -> NDArray[np.bool_]:
    """[…] whether endpoints with at least ``NEARLY_ALL`` of the weight show it, all of them at once at α."""
    shown = log_e >= simultaneous_log_thresholds(log_threshold, weights)
    return np.asarray((weights * shown).sum(axis=-1) >= NEARLY_ALL * weights.sum(axis=-1))


def combined_log_e_of_groups(log_e: Floats, weights: Floats, groups: Ints) -> Floats:
    """[groups] the averages of rows side by side; ``groups``: where each begins."""
    with np.errstate(divide="ignore"):
        average = np.logaddexp.reduceat(log_e + np.log(weights), groups)
        left = np.log(np.maximum(1 - np.add.reduceat(weights, groups), 0))
    return np.asarray(np.logaddexp(average, left))


def shown_on_nearly_all_of_groups(
    log_e: Floats, weights: Floats, groups: Ints, log_thresholds: Floats
) -> NDArray[np.bool_]:
    """[groups] as :func:`shown_on_nearly_all`; False where no weight was given out."""
    total = np.add.reduceat(weights, groups)
    sizes = np.diff(groups, append=len(weights))
    with np.errstate(divide="ignore", invalid="ignore"):
        needed = np.repeat(log_thresholds, sizes) - np.log(weights / np.repeat(total, sizes))
        shown = (weights > 0) & (log_e >= needed)
    return np.asarray((total > 0) & (np.add.reduceat(weights * shown, groups) >= NEARLY_ALL * total))
