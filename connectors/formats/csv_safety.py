"""Cells for spreadsheets: the text of a CSV file never begins a formula."""

from __future__ import annotations

from typing import Final

FORMULA_BEGINNINGS: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
"""What a spreadsheet takes for the beginning of a formula, or drops before looking for one."""


def safe_text(text: str) -> str:
    """`text`, with an apostrophe before it where a spreadsheet would compute it."""
    return f"'{text}" if text.startswith(FORMULA_BEGINNINGS) else text
