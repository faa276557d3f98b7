"""How a card writes a number with its interval, and what an interval allows to say."""

from __future__ import annotations

from collections.abc import Sequence


def number(value: float, span: Sequence[float] | None = None) -> str:
    """Three decimals, and the interval behind them."""
    said = f"{value:.3f}"
    return said if span is None else f"{said} ({span[0]:.3f} to {span[1]:.3f})"


def verdict(interval: Sequence[float]) -> str:
    """What the interval of a gain allows to say."""
    low, high = interval
    if low > 0:
        return "better"
    return "worse" if high < 0 else "no difference that these customers show"
