"""Times whose unit is known from the schema of their message: a count, and the ISO 8601 text with every digit."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import ClassVar, Final

SCHEMA: Final = "schema"
"""Format of a time in a mapping: the schema of the message has the unit."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
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
            return (_EPOCH + timedelta(days=int(self))).date().isoformat()
        seconds, fraction = divmod(int(self), 10**self.DECIMALS)
        days, second = divmod(seconds, _DAY_S)
        moment = _EPOCH + timedelta(days=days, seconds=second)
        whole = moment.replace(tzinfo=None).isoformat(timespec="seconds")
        return f"{whole}.{fraction:0{self.DECIMALS}}{self.OFFSET}"


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
