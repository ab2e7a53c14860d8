"""Load profiles: request events made from a seed.

:mod:`stream.load.shop` says what the shop is, :mod:`stream.load.story` what happens in it and when, and
:mod:`stream.load.traffic` turns both into request events. Nothing here reads a clock or does any I/O: the
same seed and times give the same bytes.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

SHOP_SLOS = Path(str(files(__package__).joinpath("shop.slo.yaml")))
"""The shop's SLO file, with windows that fit a story of an hour."""
