"""Options that name some of a few things."""

from __future__ import annotations

from collections.abc import Sequence

from features.errors import UsageError


def chosen(option: str, text: str, known: Sequence[str], *, may_be_none: bool = False) -> tuple[str, ...]:
    """The names of a comma-separated list, each once, in the order of the known ones.

    Args:
        option: for errors: `--roles`.
        text: what was given.
        known: what may be named.
        may_be_none: whether the list may be empty.

    Raises:
        UsageError: it has another name, or none.
    """
    names = {name.strip() for name in text.split(",") if name.strip()}
    if names - set(known) or not (names or may_be_none):
        unknown = ", ".join(sorted(names - set(known))) or "nothing"
        none = ", or ''" if may_be_none else ""
        raise UsageError(f"{option} names {unknown}.", f"Give some of {', '.join(known)}, separated by commas{none}.")
    return tuple(name for name in known if name in names)
