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


BLANKS: Final = "".join(
    chr(code)
    for code in (*range(9, 14), 32, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000)
)
"""White space of Unicode. Python's `strip` removes four control characters more."""
AROUND: Final = BLANKS + "".join(
    map(chr, (0xAD, 0x180E, *range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2070), 0xFEFF))
)
"""White space, and characters without a width: nobody sees them at the ends of an id."""


RESERVED: Final = "~"
"""First character of the ids that Shopstream makes, such as those of guests. No customer of a source has such an id."""


def is_placeholder(text: str) -> bool:
    """Return whether the text is a placeholder in any spelling, or has only zeros and dashes (an all-zero UUID)."""
    folded = text.strip(AROUND).casefold()
    return folded in PLACEHOLDERS or only_zeros(folded)


def only_zeros(text: str) -> bool:
    """Return whether the text has no characters but zeros and dashes."""
    return not text.strip("0-")
