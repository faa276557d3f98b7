"""Compacts the figures of a dashboard for transfer: columns instead of rows, and digits that somebody can see. Pure."""

from __future__ import annotations

import math
from typing import Any, Final

Json = dict[str, Any]

DIGITS: Final = 9
"""Significant digits of a figure. The page shows at most four of a fraction, and compares to a tenth of a percent."""
DECIMALS_MIN: Final = 4
"""Decimals that every figure keeps, so that no amount of money is rounded."""


def compact(data: Json) -> Json:
    """Return the response of `board_data` with `columns` instead of `rows`, which static/board.js turns back.

    A column has equal or similar values one after the other, so it compresses to half of the size.
    """
    return data | {"panels": {name: _panel(panel) for name, panel in data["panels"].items()}}


def _panel(panel: Json) -> Json:
    parts = {name: _columns(panel[name]) for name in ("compare", "layer") if name in panel}
    return _columns(panel) | parts


def _columns(part: Json) -> Json:
    if "rows" not in part:
        return part
    columns = [[shortened(value) for value in column] for column in zip(*part["rows"], strict=True)]
    return {name: value for name, value in part.items() if name != "rows"} | {"columns": columns}


def shortened(value: Any) -> Any:
    """Return a float with `DIGITS` significant digits, and at least `DECIMALS_MIN` decimals; other values as they are.

    A whole number becomes an int, which is shorter and the same number in a script.
    """
    if not isinstance(value, float) or not math.isfinite(value):
        return value
    if value.is_integer():
        return int(value)
    return round(value, max(DECIMALS_MIN, DIGITS - 1 - math.floor(math.log10(abs(value)))))
