"""Codes of ISO 3166-1 alpha-2, as the package tzdata lists them."""

from __future__ import annotations

import functools
from importlib.resources import files


@functools.cache
def country_codes() -> frozenset[str]:
    """Return the officially assigned codes. Those in other use, such as UK and EL, are not among them."""
    lines = files("tzdata").joinpath("zoneinfo", "iso3166.tab").read_text("utf-8").splitlines()
    return frozenset(line.partition("\t")[0] for line in lines if line and not line.startswith("#"))
