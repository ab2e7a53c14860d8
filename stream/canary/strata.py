"""Endpoints are compared each with itself, and then put together: another mix of them is no harm.

A canary that gets more of the slow endpoints looks slower although none of them is (Simpson's paradox). So
each endpoint is a stratum with its own evidence E_s. They are put together as an average,

    E = ½ · Σ w_s·E_s + ½ · E_all

which is an e-value whatever depends on what. Harm to one endpoint shows in its E_s. Harm that is spread over
all, too thin to show in any, shows in E_all: **one bet on every request of the analysis**, in the order in
which they come (after Turner & Grünwald, "Safe sequential testing and effect estimation in stratified count
data", arXiv 2302.11401).

Why E_all is valid. A request belongs to one endpoint, and so changes the stake by that endpoint's factor
alone. If the endpoint is within its margin, no request is expected to raise the stake, whatever came before
it *at any endpoint*. So the stake is a supermartingale, and ln E_all, what all requests did to it, is the sum
of what they did at each endpoint, Σ ln E_s. Nothing is counted twice, and no p-values are multiplied. What is
needed is what each endpoint's own test needs: that requests are independent, given the past. That they are
not, as with a bad minute that hits all endpoints of one arm, is what the design effect of all endpoints
together is for: evidence at any endpoint is divided by that at least.

Weights must not look at the outcomes: they are given out once, when an endpoint is first seen, by its share
of the traffic then. Effects are averaged by the same weights, which are the baseline's mix, on the scale of
logarithms for ratios.
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
TOGETHER = 0.5
"""The weight of the bet on all requests: harm to one endpoint and harm to all are equally likely."""


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
    """[…] ln of the whole's e-value from […, strata]."""
    rows = np.broadcast_to(weights, log_e.shape)
    groups = np.arange(0, log_e.size, log_e.shape[-1])
    return combined_log_e_of_groups(log_e.ravel(), rows.ravel(), groups).reshape(log_e.shape[:-1])


def combined_log_e_of_groups(log_e: Floats, weights: Floats, groups: Ints) -> Floats:
    """[groups] the same of rows side by side; ``groups``: where each begins. None is empty.

    Weight that was not given out counts as an endpoint of which nothing is known. Rows without weight are of
    endpoints that are not judged yet.
    """
    with np.errstate(divide="ignore"):
        average = np.logaddexp.reduceat(log_e + np.log(weights), groups)
        left = np.log(np.maximum(1 - np.add.reduceat(weights, groups), 0))
    together = np.add.reduceat(np.where(weights > 0, log_e, 0.0), groups)
    each = np.logaddexp(average, left) + log(1 - TOGETHER)
    return np.asarray(np.logaddexp(each, together + log(TOGETHER)))


def combined_effect(effects: Floats, weights: Floats) -> Floats:
    """[…] average of ratios' logarithms, or of differences, of […, strata]."""
    return np.asarray((effects * (weights / weights.sum())).sum(axis=-1))


def simultaneous_log_thresholds(log_threshold: float, weights: Floats) -> Floats:
    """What each endpoint's interval must be held to, for all of them to hold at once: α by weight."""
    return np.asarray(log_threshold - np.log(weights / weights.sum(axis=-1, keepdims=True)))


def simultaneous_log_thresholds_of_groups(log_thresholds: Floats, weights: Floats, groups: Ints) -> Floats:
    """[rows] the same of rows side by side, thresholds by group; inf for rows without weight."""
    sizes = np.diff(groups, append=len(weights))
    total = np.repeat(np.add.reduceat(weights, groups), sizes)
    with np.errstate(divide="ignore", invalid="ignore"):
        needed = np.repeat(log_thresholds, sizes) - np.log(weights / total)
    return np.where(weights > 0, needed, np.inf)


def shown_on_nearly_all(log_e: Floats, weights: Floats, log_threshold: float) -> NDArray[np.bool_]:
    """[…] whether endpoints with at least ``NEARLY_ALL`` of the weight show it, all of them at once at α."""
    rows = np.broadcast_to(weights, log_e.shape)
    groups = np.arange(0, log_e.size, log_e.shape[-1])
    thresholds = np.full(len(groups), log_threshold)
    shown = shown_on_nearly_all_of_groups(log_e.ravel(), rows.ravel(), groups, thresholds)
    return shown.reshape(log_e.shape[:-1])


def shown_on_nearly_all_of_groups(
    log_e: Floats, weights: Floats, groups: Ints, log_thresholds: Floats
) -> NDArray[np.bool_]:
    """[groups] as :func:`shown_on_nearly_all`; False where no weight was given out."""
    total = np.add.reduceat(weights, groups)
    shown = log_e >= simultaneous_log_thresholds_of_groups(log_thresholds, weights, groups)
    return np.asarray((total > 0) & (np.add.reduceat(weights * shown, groups) >= NEARLY_ALL * total))
