"""Times whose unit is known from the schema of their message: a count, and the ISO 8601 text with every digit."""

from __future__ import annotations

import functools
from datetime import date, timedelta
from typing import ClassVar, Final

SCHEMA: Final = "schema"
"""Format of a time in a mapping: the schema of the message has the unit."""
_EPOCH: Final = date(1970, 1, 1)
_DAY_S: Final = 86_400


class SchemaTime(int):
    """Count of a unit since 1970-01-01. It is an int in every respect but `iso`.

    Attributes:
        DECIMALS: decimals of a second that the unit stands for; None for days.
        OFFSET: what the text of the time ends with: `Z`, or nothing for a local time.
    """

    __slots__ = ()
    DECIMALS: ClassVar[int | None] = 3
    OFFSET: ClassVar[str] = "Z"

    def iso(self) -> str:
        """Return the time in ISO 8601 with all digits of its unit; only the date for days.

        Raises:
            OverflowError: the year is not one of 1 to 9999.
        """
        if self.DECIMALS is None:
            return _date_text(int(self))
        seconds, fraction = divmod(int(self), 10**self.DECIMALS)
        days, second = divmod(seconds, _DAY_S)
        minute, second = divmod(second, 60)
        hour, minute = divmod(minute, 60)
        clock = f"{hour:02}:{minute:02}:{second:02}.{fraction:0{self.DECIMALS}}"
        return f"{_date_text(days)}T{clock}{self.OFFSET}"


@functools.lru_cache(maxsize=1_024)
def _date_text(days: int) -> str:
    """Return the date of a day since 1970-01-01. The messages of a topic have few of them."""
    return (_EPOCH + timedelta(days=days)).isoformat()


class Millis(SchemaTime):
    """Milliseconds."""

    __slots__ = ()


class Micros(SchemaTime):
    """Microseconds."""

    __slots__ = ()
    DECIMALS = 6


class Nanos(SchemaTime):
    """Nanoseconds."""

    __slots__ = ()
    DECIMALS = 9


class LocalMillis(Millis):
    """Milliseconds of a local time as if it were UTC."""

    __slots__ = ()
    OFFSET = ""


class LocalMicros(Micros):
    """Microseconds of a local time as if it were UTC."""

    __slots__ = ()
    OFFSET = ""


class LocalNanos(Nanos):
    """Nanoseconds of a local time as if it were UTC."""

    __slots__ = ()
    OFFSET = ""


class Days(SchemaTime):
    """Days."""

    __slots__ = ()
    DECIMALS = None
