"""Formats a number with its interval for a card, and states the conclusion that an interval allows."""

from __future__ import annotations

from collections.abc import Sequence


def number(value: float, span: Sequence[float] | None = None) -> str:
    """Return the number with three decimals, followed by the interval."""
    said = f"{value:.3f}"
    return said if span is None else f"{said} ({span[0]:.3f} to {span[1]:.3f})"


def verdict(interval: Sequence[float]) -> str:
    """Return the conclusion that the interval of a gain allows."""
    low, high = interval
    if low > 0:
        return "better"
    return "worse" if high < 0 else "no difference that these customers show"
