"""An outcome: what a response says about success, as one small integer.

A whole batch is judged by one look-up ``table[outcome]``, whatever the number of SLOs.
"""

from __future__ import annotations

_GRPC = 18
"""Absent, and the codes 0 to 16."""
_OK = 3
"""Absent, false, true."""

OUTCOMES = 600 * _GRPC * _OK
"""Codes are below this: HTTP statuses go up to 599, 0 stands for an absent one."""


def outcome_code(status: int | None, grpc: int | None, ok: bool | None) -> int:
    """The code of an HTTP status (100–599), a gRPC status (0–16) and the producer's own verdict.

    >>> outcome_code(None, None, None), outcome_code(599, 16, True)
    (0, 32399)
    """
    assert status is None or 100 <= status <= 599, status
    assert grpc is None or 0 <= grpc <= 16, grpc
    return ((status or 0) * _GRPC + (0 if grpc is None else grpc + 1)) * _OK + (0 if ok is None else ok + 1)


def outcome_parts(code: int) -> tuple[int | None, int | None, bool | None]:
    """(status, grpc, ok) of a code; codes that stand for statuses 1–99 come back as such, no event has them.

    >>> outcome_parts(outcome_code(503, None, False))
    (503, None, False)
    """
    assert 0 <= code < OUTCOMES, code
    rest, ok = divmod(code, _OK)
    status, grpc = divmod(rest, _GRPC)
    return status or None, grpc - 1 if grpc else None, bool(ok - 1) if ok else None
