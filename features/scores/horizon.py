"""Reads the horizon of a churn model from the name of its bundle: `churn-90d-e970c749c8`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

_BUNDLE: Final = re.compile(r"churn-([1-9][0-9]{0,3})d-")
"""Beginning of a bundle's name, with its horizon in days."""


def horizon_days(bundle: str | None) -> int | None:
    """Return the horizon of a bundle's churn model in days; None if its name has none."""
    match = _BUNDLE.match(bundle or "")
    return int(match[1]) if match else None


def horizon_words(bundles: Iterable[str | None]) -> str:
    """Return the horizons of bundles in words, `60 or 90 days`; empty without bundles, or if one is not known."""
    days = {horizon_days(bundle) for bundle in bundles}
    if not days or None in days:
        return ""
    *rest, last = sorted(one for one in days if one is not None)
    unit = "day" if not rest and last == 1 else "days"
    return f"{', '.join(map(str, rest))} or {last} {unit}" if rest else f"{last} {unit}"


def churn_label(words: str, label: str = "Churn probability") -> str:
    """Return the label of a column of churn probabilities: `Churn probability (90 days)`."""
    return f"{label} ({words})" if words else label
