"""Escapes CSV cells so that spreadsheets do not read their text as a formula."""

from __future__ import annotations

from typing import Final

FORMULA_BEGINNINGS: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
"""Characters that spreadsheets read as the start of a formula, or skip before they look for one."""


def safe_text(text: str) -> str:
    """Return `text`, prefixed with an apostrophe if a spreadsheet would evaluate it."""
    return f"'{text}" if text.startswith(FORMULA_BEGINNINGS) else text
