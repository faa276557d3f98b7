"""Texts that foreign files write where they have no id, such as NULL. They are never the id of a customer or order."""

from __future__ import annotations

from typing import Final

PLACEHOLDERS: Final = frozenset(
    {
        "null", "(null)", "<null>", "[null]", r"\n", "none", "(none)", "<none>", "nil", "nan", "nat", "<na>", "na",
        "n/a", "n.a.", "#n/a", "#null!", "#ref!", "#value!", "#name?", "#div/0!", "undefined", "(undefined)", "true",
        "false", "0", "-1", "anonymous", "(anonymous)", "guest", "(guest)", "unknown", "(unknown)", "(not set)",
        "not set", "(not provided)", "[object object]", "(empty)", "(blank)", "?", "-", "--", "",
    }
)  # fmt: skip
"""Placeholders in case-folded spelling."""


def is_placeholder(text: str) -> bool:
    """Return whether the text is a placeholder in any spelling, or has only zeros and dashes (an all-zero UUID)."""
    folded = text.strip().casefold()
    return folded in PLACEHOLDERS or only_zeros(folded)


def only_zeros(text: str) -> bool:
    """Return whether the text has no characters but zeros and dashes."""
    return not text.strip("0-")
