"""Parse and check the options that several commands share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from features.errors import UsageError
from features.schema import SOURCE_TOPICS
from shopstream.jobs.consume import CLOCKS, ROLES, Clock
from shopstream.jobs.spark_stream import SINKS


def chosen_roles(text: str) -> tuple[str, ...]:
    """Parse a comma-separated list of roles, each once. Raises UsageError for another name."""
    return chosen("--roles", text, ROLES)


def chosen_clock(text: str) -> Clock:
    """Check that the clock is `stream` or `wall`. Raises UsageError for another name."""
    for clock in CLOCKS:
        if text == clock:
            return clock
    raise UsageError(f"--clock is {text!r}.", f"Give {' or '.join(CLOCKS)}.")


def chosen(option: str, text: str, known: Sequence[str], *, may_be_none: bool = False) -> tuple[str, ...]:
    """Parse a comma-separated list of names, each once, in the order of the known ones.

    Args:
        option: name of the option for errors, such as `--roles`.
        text: value of the option.
        known: permitted names.
        may_be_none: whether the list may be empty.

    Raises:
        UsageError: the list has an unknown name, or is empty.
    """
    names = {name.strip() for name in text.split(",") if name.strip()}
    if names - set(known) or not (names or may_be_none):
        unknown = ", ".join(sorted(names - set(known))) or "nothing"
        none = ", or ''" if may_be_none else ""
        raise UsageError(f"{option} names {unknown}.", f"Give some of {', '.join(known)}, separated by commas{none}.")
    return tuple(name for name in known if name in names)


def parse_time(text: str, option: str) -> int:
    """Parse an ISO 8601 date or time to epoch milliseconds, UTC unless it names a zone. Raises UsageError.

    A number of eleven digits or more, which no date is, stands for epoch milliseconds.
    """
    if text.isdecimal() and len(text) > 10:
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"{option} is {text!r}, which is not a time.", "Give ISO 8601: 2025-01-31 or 2025-01-31T18:00:00Z."
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    # not by timestamp(): a float of seconds may fall just short of its millisecond
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def date_range(start: str | None, end: str | None) -> tuple[int | None, int | None]:
    """Parse the half-open range of `--from` and `--to`, epoch ms. Raises UsageError for an empty one."""
    start_ms = None if start is None else parse_time(start, "--from")
    end_ms = None if end is None else parse_time(end, "--to")
    if start_ms is not None and end_ms is not None and start_ms >= end_ms:
        raise UsageError(f"Nothing lies from {start} to before {end}.", "Give a --to after --from; it is exclusive.")
    return start_ms, end_ms


def parse_speed(text: str) -> float | None:
    """Parse the speed: event seconds per second, None for `max`. Raises UsageError."""
    if text == "max":
        return None
    speed = _above_zero(text.removesuffix("x"))
    if speed is None:
        raise UsageError(f"--speed is {text!r}.", "Give `max`, or a number above 0: 3600 is an hour in a second.")
    return speed


def parse_rate(text: str | None) -> float | None:
    """Parse a rate in events a second, from `500` or `500/s`. Raises UsageError."""
    if text is None:
        return None
    rate = _above_zero(text.removesuffix("/s"))
    if rate is None:
        raise UsageError(f"--rate is {text!r}.", "Give events a second: 500/s.")
    return rate


def parse_duration_s(text: str | None, option: str = "--for") -> float | None:
    """Parse a duration to seconds, from `90`, `90s`, `10m`, `1.5h` or `2d`. Raises UsageError, naming the option."""
    if text is None:
        return None
    units = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
    count = _above_zero(text[:-1] if text[-1:] in units else text)
    if count is None:
        raise UsageError(f"{option} is {text!r}.", "Give a duration: 90s, 10m, 1.5h.")
    return count * units.get(text[-1:], 1)


def _above_zero(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) and number > 0 else None


def chosen_topics(text: str) -> tuple[str, ...]:
    """Parse a comma-separated list of source topics. Raises UsageError for another name."""
    return chosen("--topics", text, SOURCE_TOPICS)


def chosen_sinks(text: str) -> tuple[str, ...]:
    """Parse a comma-separated list of sinks, each once. Raises UsageError for another name."""
    return chosen("--sinks", text, SINKS, may_be_none=True)
