"""A small shop: four services, their endpoints, and what a normal day looks like there."""

from __future__ import annotations

import math
from dataclasses import dataclass

NAMESPACE = "shop"
PAYMENT, SEARCH, CATALOGUE, CHECKOUT = "payment", "search", "catalogue", "checkout"
VERSIONS = {PAYMENT: "2.4.0", SEARCH: "3.1.0", CATALOGUE: "1.8.0", CHECKOUT: "5.0.0"}
"""That serve when the story begins."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One route of a service and its normal behaviour; latencies are lognormal."""

    service: str
    method: str
    route: str
    share: float
    """Of the shop's requests."""
    median_ms: float
    sigma: float
    """Of the logarithm of the latency."""
    ok_status: int
    refused_status: int
    """What a client's own fault gets; never the service's error."""
    refused_share: float
    error_share: float


ENDPOINTS = (
    Endpoint(PAYMENT, "POST", "/v1/charges", 0.11, 85, 0.45, 201, 402, 0.020, 0.00015),
    Endpoint(PAYMENT, "GET", "/v1/charges/{id}", 0.08, 18, 0.50, 200, 404, 0.004, 0.00010),
    Endpoint(PAYMENT, "POST", "/v1/refunds", 0.02, 120, 0.45, 202, 409, 0.010, 0.00015),
    Endpoint(PAYMENT, "GET", "/v1/methods", 0.04, 9, 0.40, 200, 401, 0.002, 0.00010),
    Endpoint(CHECKOUT, "GET", "/cart", 0.07, 14, 0.50, 200, 404, 0.003, 0.00015),
    Endpoint(CHECKOUT, "POST", "/cart/items", 0.06, 26, 0.50, 201, 409, 0.010, 0.00015),
    Endpoint(CHECKOUT, "POST", "/orders", 0.02, 160, 0.40, 201, 422, 0.015, 0.00020),
    Endpoint(SEARCH, "GET", "/search", 0.22, 62, 0.60, 200, 400, 0.002, 0.00080),
    Endpoint(SEARCH, "GET", "/suggest", 0.10, 11, 0.45, 200, 400, 0.001, 0.00040),
    Endpoint(CATALOGUE, "GET", "/products/{id}", 0.16, 16, 0.50, 200, 404, 0.012, 0.00001),
    Endpoint(CATALOGUE, "GET", "/categories/{id}", 0.12, 22, 0.45, 200, 404, 0.004, 0.00001),
)
"""Shares add up to one."""

ERROR_STATUSES = (500, 502, 503, 504)

_DAY_S = 3600
_SWING = 0.30


def busyness(since_start_s: int) -> float:
    """Traffic at this moment relative to the mean: a day's morning and evening peaks, told in an hour."""
    turn = 2 * math.pi * (since_start_s % _DAY_S) / _DAY_S
    return 1 - _SWING * (0.7 * math.cos(turn) + 0.3 * math.cos(2 * turn))
