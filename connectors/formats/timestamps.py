"""Reads times of foreign files. A value is read exactly, or it has a reason.

Times without an offset are local to a given zone. A local time that occurs twice is the earlier one, and one that does
not exist is refused. A date is the first instant of its local day. `24:00` (ISO only) is the start of the next day.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from connectors.formats.plain_texts import MS_MAX, epoch_ms, iso_ms, nulls
from connectors.formats.time_patterns import EPOCHS, EXCEL, ISO, MONTHS, WEEKDAYS, TimeFormat, time_format
from features.local_times import first_instants, utc_ms, zone_name
from features.schema import DAY_MS

__all__ = [
    "MILLIS",
    "OFFSET",
    "TIMES",
    "TimeFormat",
    "iso_times",
    "read_times",
    "time_format",
    "times_of",
    "utc",
    "zone_name",
]

MILLIS: Final = pl.Datetime("ms", "UTC")
OFFSET: Final = r"(?:[zZ]|(?i:UTC|GMT)|[+-]\d{2}:?\d{2}|[Tt: ]\d{2}[\d:.,]*[ \t]*[+-]\d{2})$"
"""Matches the offset at the end of an ISO time, but not the day at the end of a date."""

TIMES: Final = pl.Struct({"ms": pl.Int64, "is_date": pl.Boolean, "reason": pl.String})
"""Type of times that are read: epoch milliseconds (UTC), whether the text has a date only, and why it is refused."""

_FINE_EPOCH_MS_MIN: Final = 10**11
"""Lowest time, in March 1973, of an epoch in milliseconds or finer units. Lower numbers count a coarser unit."""
_OUT_OF_RANGE: Final = "time before 1970 or after 9999"
_SHOWN_LENGTH_MAX: Final = 60
_EXCEL_EPOCH_DAYS: Final = 25_569
"""Serial day of 1970-01-01."""
_EXCEL_FIRST_DAY: Final = 61
"""Excel counts 29 February 1900 as day 60, so that earlier serial days are ambiguous."""
_EXCEL: Final = r"^([0-9]{1,7})(?:\.([0-9]{1,20}))?$"
_EPOCH: Final = r"^([0-9]{1,19})(?:\.([0-9]+))?$"
_UTC_WORDS: Final = frozenset({"UTC", "GMT", "Z"})
_UNITS: Final = {
    "epoch_s": "seconds",
    "epoch_ms": "milliseconds",
    "epoch_us": "microseconds",
    "epoch_ns": "nanoseconds",
}

_Ints = npt.NDArray[np.int64]
_Bools = npt.NDArray[np.bool_]

_MONTH_STARTS: Final = (
    np.arange(np.datetime64("0001-01"), np.datetime64("10000-02"), dtype="datetime64[M]")
    .astype("datetime64[D]")
    .astype(np.int64)
)
"""Days since 1970-01-01 of the first day of each month, from January of the year 1."""


def utc(moment: pl.Expr, zone: str) -> pl.Expr:
    """Convert local times of a zone to MILLIS. An ambiguous time becomes the earlier one, a non-existent time null.

    Args:
        moment: datetimes without a zone.
        zone: IANA name.
    """
    local = moment.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    return local.dt.convert_time_zone("UTC").cast(MILLIS)


def iso_times(text: pl.Expr, zone: str) -> pl.Expr:
    """Parse ISO 8601 times like `read_times` with the format `iso`, but of all years from 1 to 9999.

    Args:
        text: text.
        zone: IANA name of the zone of times without an offset.

    Returns:
        The times as MILLIS; null for invalid text.
    """
    how = time_format(ISO)
    return text.map_batches(
        lambda series: _moments(_trimmed(series), how, zone, {}).ms.cast(MILLIS),
        return_dtype=MILLIS,
        is_elementwise=True,
    )


def read_times(text: pl.Expr, how: TimeFormat, zone: str, zones: Mapping[str, str] | None = None) -> pl.Expr:
    """Read times.

    Args:
        text: text; blanks around a time do not matter.
        how: format, from `time_format`.
        zone: IANA name of the zone of times without an offset, of dates and of Excel days.
        zones: word for a zone -> offset such as `+02:00`, or IANA name. UTC, GMT and Z need no entry.

    Returns:
        TIMES. A null text has neither a time nor a reason.

    Raises:
        ValueError: a zone is not known.
    """
    zone_name(zone)
    words = {word: _known_zone(value) for word, value in (zones or {}).items()}

    def read(series: pl.Series) -> pl.Series:
        texts = series.cast(pl.String)
        if (common := _common(texts, how)) is not None:
            return _struct(common, pl.repeat(False, len(texts), eager=True), nulls(len(texts), pl.String))
        trimmed = texts.str.strip_chars()
        moments = _moments(trimmed, how, zone, words)
        in_range = moments.ms.is_between(_first_ms(how), MS_MAX)
        ms = moments.ms.zip_with(in_range, nulls(len(series), pl.Int64))
        refused = ms.is_null() & trimmed.is_not_null()
        reasons = nulls(len(series), pl.String)
        if refused.any():
            texts = trimmed.filter(refused).unique()
            outside = set(trimmed.filter(refused & moments.ms.is_not_null()).unique())
            why = {text: _beyond(text, how) if text in outside else _reason(text, how, zone, words) for text in texts}
            reasons = trimmed.zip_with(refused, reasons).replace_strict(why, default=None, return_dtype=pl.String)
        return _struct(ms, moments.is_date, reasons)

    return text.map_batches(read, return_dtype=TIMES, is_elementwise=True)


def times_of(column: pl.Expr, dtype: pl.DataType, zone: str) -> pl.Expr:
    """Read a column that has a type of times.

    Args:
        column: datetimes or dates.
        dtype: the column's type. Datetimes without a zone are local to `zone`.
        zone: IANA name.

    Returns:
        TIMES. Microseconds and nanoseconds are cut to the millisecond. Dates are the first instant of their day.

    Raises:
        ValueError: the zone is not known, or `dtype` is not a type of times.
    """
    zone_name(zone)
    if dtype != pl.Date and not isinstance(dtype, pl.Datetime):
        raise ValueError(f"{dtype} is not a type of times")

    def read(series: pl.Series) -> pl.Series:
        if isinstance(series.dtype, pl.Datetime):
            per_ms = {"ms": 1, "us": 1_000, "ns": 1_000_000}[series.dtype.time_unit]
            wall = series.to_physical() // per_ms
            ms = wall if series.dtype.time_zone else utc_ms(wall, zone)
        else:
            wall = series.to_physical().cast(pl.Int64) * DAY_MS
            ms = first_instants(series.to_physical(), zone)
        exact = ms.zip_with(ms.is_between(0, MS_MAX), nulls(len(ms), pl.Int64))
        reasons = nulls(len(ms), pl.String)
        refused = exact.is_null() & series.is_not_null()
        if refused.any():
            outside = ms.is_not_null()
            why = [
                (_OUT_OF_RANGE if far else _missing_time(at, dtype == pl.Date, zone)) if bad else None
                for at, far, bad in zip(wall, outside, refused, strict=True)
            ]
            reasons = pl.Series(why, dtype=pl.String)
        return _struct(exact, pl.repeat(dtype == pl.Date, len(ms), eager=True), reasons)

    return column.map_batches(read, return_dtype=TIMES, is_elementwise=True)


def _common(text: pl.Series, how: TimeFormat) -> pl.Series | None:
    """Return epoch ms if all texts are in a common form, null where a text is null; None otherwise."""
    if how.pattern in EPOCHS:
        return epoch_ms(text, EPOCHS[how.pattern], _first_ms(how))
    return iso_ms(text) if how.pattern == ISO else None


def _struct(ms: pl.Series, is_date: pl.Series, reasons: pl.Series) -> pl.Series:
    if ms.null_count():
        is_date = is_date.set(ms.is_null(), None)
    return pl.DataFrame([ms.alias("ms"), is_date.alias("is_date"), reasons.alias("reason")]).to_struct()


def _trimmed(series: pl.Series) -> pl.Series:
    return series.cast(pl.String).str.strip_chars()


# --- moments ----------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class _Moments:
    """Epoch milliseconds, null where the text is no moment, and whether the text has a date only."""

    ms: pl.Series
    is_date: pl.Series


@dataclass(frozen=True, slots=True)
class _Walls:
    """Times of a clock in ms since its 1970-01-01 00:00, with the texts of the clock's offset."""

    ms: _Ints
    valid: _Bools
    is_date: _Bools
    offsets: pl.Series | None = None
    words: pl.Series | None = None


def _moments(text: pl.Series, how: TimeFormat, zone: str, words: Mapping[str, int | str]) -> _Moments:
    """Read times without a bound on the year."""
    if how.pattern in EPOCHS:
        return _Moments(_epoch_ms(text, EPOCHS[how.pattern]), pl.repeat(False, len(text), eager=True))
    walls = _excel_walls(text) if how.pattern == EXCEL else _walls(text, how)
    ms = np.zeros(len(text), np.int64)
    valid = walls.valid.copy()
    local = valid.copy()
    for given, known in ((walls.offsets, _offset_ms), (walls.words, lambda word: _offset_of_word(word, words))):
        if given is None:
            continue
        for word in given.unique().drop_nulls():
            rows = (given == word).fill_null(value=False).to_numpy() & walls.valid
            local &= ~rows
            offset = known(word)
            if offset is None:
                valid &= ~rows
            elif isinstance(offset, int):
                ms[rows] = walls.ms[rows] - offset
            else:
                _put_local(ms, valid, rows, walls, offset)
    _put_local(ms, valid, local, walls, zone)
    return _Moments(
        pl.Series(ms).zip_with(pl.Series(valid), nulls(len(ms), pl.Int64)), pl.Series(walls.is_date, dtype=pl.Boolean)
    )


def _put_local(ms: _Ints, valid: _Bools, rows: _Bools, walls: _Walls, zone: str) -> None:
    """Put the epoch ms of rows whose clock is a zone's into `ms`; rows whose time does not exist become invalid."""
    for chosen, is_date in ((rows & walls.is_date, True), (rows & ~walls.is_date, False)):
        if not chosen.any():
            continue
        wall = pl.Series(walls.ms[chosen])
        moments = first_instants(wall // DAY_MS, zone) if is_date else utc_ms(wall, zone)
        ms[chosen] = moments.fill_null(0).to_numpy()
        valid[chosen] = moments.is_not_null().to_numpy()


def _walls(text: pl.Series, how: TimeFormat) -> _Walls:
    parts = text.str.extract_groups(how.forms[0]).struct.unnest()
    for form in how.forms[1:]:
        if (parts["Y"].is_null() & text.is_not_null()).any():
            other = text.str.extract_groups(form).struct.unnest()
            parts = parts.select(pl.coalesce(pl.col(name), other[name]) for name in parts.columns)
    year, month, day, valid = _days(parts)
    valid &= (parts["Y"] if "Y" in parts else parts["y"]).is_not_null().to_numpy()
    starts = _MONTH_STARTS[np.where(valid, (year - 1) * 12 + month - 1, 0)]
    days = starts + day - 1
    if "a" in parts:
        valid &= _named(parts["a"], WEEKDAYS) == (days + 3) % 7 + 1
    clock, timed = _clock(parts, how, valid)
    return _Walls(
        days * DAY_MS + clock, valid, ~timed,
        parts["z"] if "z" in parts.columns else None, parts["Z"] if "Z" in parts.columns else None,
    )  # fmt: skip


def _days(parts: pl.DataFrame) -> tuple[_Ints, _Ints, _Ints, _Bools]:
    """Return years, months, days of the month (with %j: of the year, in month 1), and which rows are a date."""
    if "Y" in parts:
        year = _ints(parts["Y"])
    else:
        short = _ints(parts["y"])
        year = np.where(short < 69, 2000, 1900) + short
    valid = year >= 1
    if "j" in parts:
        day = _ints(parts["j"])
        month = np.ones_like(day)
        leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
        return year, month, day, valid & (day >= 1) & (day <= 365 + leap)
    month = _ints(parts["m"]) if "m" in parts else _named(parts["b"], MONTHS)
    day = _ints(parts["d"])
    valid &= (month >= 1) & (month <= 12) & (day >= 1)
    at = np.where(valid, (year - 1) * 12 + month - 1, 0)
    return year, month, day, valid & (day <= _MONTH_STARTS[at + 1] - _MONTH_STARTS[at])


def _clock(parts: pl.DataFrame, how: TimeFormat, valid: _Bools) -> tuple[_Ints, _Bools]:
    """Return ms since midnight and which rows have a time of day. Rows without a valid one become invalid."""
    if "H" in parts:
        hour, timed = _ints(parts["H"]), parts["H"].is_not_null().to_numpy()
        valid &= hour <= 23 + how.day_ends
    elif "I" in parts:
        twelve, timed = _ints(parts["I"]), parts["I"].is_not_null().to_numpy()
        hour = twelve % 12 + 12 * parts["p"].str.to_lowercase().eq("pm").fill_null(value=False).to_numpy()
        valid &= ~timed | ((twelve >= 1) & (twelve <= 12))
    else:
        return np.zeros(len(valid), np.int64), np.zeros(len(valid), np.bool_)
    minute = _ints(parts["M"]) if "M" in parts else np.zeros_like(hour)
    second = _ints(parts["S"]) if "S" in parts else np.zeros_like(hour)
    valid &= (minute <= 59) & (second <= 59)
    milli = _ints((parts["f"] + "00").str.slice(0, 3)) if "f" in parts else np.zeros_like(hour)
    clock = hour * 3_600_000 + minute * 60_000 + second * 1_000 + milli
    valid &= clock <= DAY_MS
    return clock, timed


def _ints(digits: pl.Series) -> _Ints:
    """Return numbers of at most 4 digits, 0 where there is none."""
    return digits.cast(pl.Int64, strict=False).fill_null(0).to_numpy(writable=True)


def _named(names: pl.Series, known: tuple[str, ...]) -> _Ints:
    """Return the numbers of names from 1, 0 where there is none."""
    numbers = {name[:3]: number for number, name in enumerate(known, start=1)}
    short = names.str.slice(0, 3).str.to_lowercase()
    return short.replace_strict(numbers, default=0, return_dtype=pl.Int64).fill_null(0).to_numpy(writable=True)


def _epoch_ms(text: pl.Series, decimals: int) -> pl.Series:
    """Return ms since 1970 of counts of a unit that is 10 ** -decimals seconds, cut to the millisecond."""
    parts = text.str.extract_groups(_EPOCH).struct.unnest()
    parts.columns = ["whole", "fraction"]
    whole = parts["whole"].cast(pl.UInt64, strict=False)
    if decimals >= 3:
        cut: pl.Series = whole // 10 ** (decimals - 3)
        return cut.cast(pl.Int64, strict=False)
    factor = 10 ** (3 - decimals)
    digits = (parts["fraction"].fill_null("") + "000").str.slice(0, 3 - decimals)
    capped = whole.clip(upper_bound=MS_MAX)  # beyond the year 9999 in any unit: no overflow below
    millis: pl.Series = (capped * factor).cast(pl.Int64) + digits.cast(pl.Int64, strict=False)
    return millis


def _excel_walls(text: pl.Series) -> _Walls:
    parts = text.str.extract_groups(_EXCEL).struct.unnest()
    parts.columns = ["whole", "fraction"]
    days = parts["whole"].cast(pl.Int64, strict=False)
    valid = (days >= _EXCEL_FIRST_DAY).fill_null(value=False).to_numpy().copy()
    fraction = ("0." + parts["fraction"].fill_null("0")).cast(pl.Float64)
    clock = np.floor(fraction.to_numpy() * DAY_MS + 0.5).astype(np.int64)
    wall = (days.fill_null(0).to_numpy() - _EXCEL_EPOCH_DAYS) * DAY_MS + clock
    return _Walls(wall, valid, clock == 0)


# --- offsets ----------------------------------------------------------------------------------------------------------
def _offset_ms(text: str) -> int | None:
    """Return an ISO offset in ms; None if its hours or minutes do not exist."""
    if text in ("Z", "z"):
        return 0
    hours, minutes = int(text[1:3]), int(text[-2:]) if len(text) > 3 else 0
    if hours > 23 or minutes > 59:
        return None
    return (-1 if text[0] == "-" else 1) * (hours * 60 + minutes) * 60_000


def _offset_of_word(word: str, words: Mapping[str, int | str]) -> int | str | None:
    return words[word] if word in words else 0 if word.upper() in _UTC_WORDS else None


def _known_zone(value: str) -> int | str:
    """Return an offset in ms or the IANA name. Raises ValueError if the text is neither."""
    if re.fullmatch(r"[zZ]|[+-][0-9]{2}(?::?[0-9]{2})?", value):
        offset = _offset_ms(value)
        if offset is None:
            raise ValueError(f"{value!r} is not an offset such as +02:00")
        return offset
    return zone_name(value)


# --- reasons ----------------------------------------------------------------------------------------------------------
def _shown(text: str) -> str:
    return (text if len(text) <= _SHOWN_LENGTH_MAX else f"{text[:_SHOWN_LENGTH_MAX]}…") or "a blank text"


def _first_ms(how: TimeFormat) -> int:
    """Return the lowest epoch ms that counts."""
    return _FINE_EPOCH_MS_MIN if EPOCHS.get(how.pattern, 0) >= 3 else 0


def _beyond(text: str, how: TimeFormat) -> str:
    """Return the reason for a time outside the years that count, with the unit that would fit."""
    if how.pattern not in EPOCHS:
        return _OUT_OF_RANGE
    whole = int(text.partition(".")[0])
    if whole * 1_000 // 10 ** EPOCHS[how.pattern] < _first_ms(how):
        coarser = [name for name, decimals in EPOCHS.items() if whole * 1_000 // 10**decimals >= _FINE_EPOCH_MS_MIN]
        hint = f"; {_UNITS[coarser[-1]]}? write {coarser[-1]}" if coarser else ""
        return f"time before 1973 in {_UNITS[how.pattern]}{hint}"
    for name, decimals in EPOCHS.items():
        if decimals > EPOCHS[how.pattern] and whole < 2**63 and whole * 1_000 // 10**decimals <= MS_MAX // 50:
            return f"{_OUT_OF_RANGE}; {_UNITS[name]}? write {name}"
    return _OUT_OF_RANGE


def _reason(text: str, how: TimeFormat, zone: str, words: Mapping[str, int | str]) -> str:
    """Return why a text is no time. A second, exact reading of one text, for its reason only."""
    if how.pattern in EPOCHS:
        unit = _UNITS[how.pattern]
        if re.fullmatch("-[0-9.]+", text):
            return _OUT_OF_RANGE
        return f"{_shown(text)} is no count of {unit}"
    if how.pattern == EXCEL:
        return _excel_reason(text, zone)
    match = next((match for form in how.forms if (match := re.fullmatch(form, text))), None)
    if match is None:
        form = "ISO 8601 time" if how.pattern == ISO else f"time of the form {how.pattern}"
        return f"{_shown(text)} is no {form}"
    parts = {name: value for name, value in match.groupdict().items() if value is not None}
    return _wrong_part(parts, how) or _wrong_zone(parts, words) or _gap(text, how, parts, zone, words)


def _wrong_part(parts: Mapping[str, str], how: TimeFormat) -> str | None:
    """Return the reason if a field does not exist, such as second 60 or 30 February."""
    limits = (("H", 0, 23 + how.day_ends, "hour"), ("I", 1, 12, "hour"), ("M", 0, 59, "minute"), ("S", 0, 59, "second"))
    for name, least, most, what in limits:
        if name in parts and not least <= int(parts[name]) <= most:
            leap = " (leap seconds are not read)" if name == "S" and int(parts[name]) == 60 else ""
            return f"there is no {what} {parts[name]}{leap}"
    day = " ".join(parts[name] for name in ("Y", "y", "m", "b", "d", "j") if name in parts)
    try:
        when = _date(parts)
    except ValueError:
        return f"there is no day {day}"
    if "a" in parts and WEEKDAYS[when.weekday()][:3] != parts["a"][:3].lower():
        return f"{when.isoformat()} is a {WEEKDAYS[when.weekday()].capitalize()}, not {parts['a']}"
    if parts.get("H") == "24" and any(int(parts.get(name, "0")) for name in "MSf"):
        return "there is no time after 24:00"
    return None


def _date(parts: Mapping[str, str]) -> date:
    """Return the date of the groups of a match. Raises ValueError if it does not exist."""
    year = int(parts["Y"]) if "Y" in parts else int(parts["y"]) + (2000 if int(parts["y"]) < 69 else 1900)
    if "j" in parts:
        days = date(year, 1, 1).toordinal() + int(parts["j"]) - 1
        when = date.fromordinal(days)
        if when.year != year:
            raise ValueError(parts["j"])
        return when
    month = int(parts["m"]) if "m" in parts else 1 + [name[:3] for name in MONTHS].index(parts["b"][:3].lower())
    return date(year, month, int(parts["d"]))


def _wrong_zone(parts: Mapping[str, str], words: Mapping[str, int | str]) -> str | None:
    if "z" in parts and _offset_ms(parts["z"]) is None:
        return f"there is no offset {parts['z']}"
    if parts.get("Z", "").upper() in ("AM", "PM"):
        return f"{parts['Z']} is half of a day, not a zone: write a pattern with %I and %p"
    if "Z" in parts and _offset_of_word(parts["Z"], words) is None:
        return f"zone word {parts['Z']}: write time.zones"
    return None


def _gap(text: str, how: TimeFormat, parts: Mapping[str, str], zone: str, words: Mapping[str, int | str]) -> str:
    """Return the reason for a local time that the zone skips."""
    walls = _walls(pl.Series([text]), how)
    known = _offset_of_word(parts["Z"], words) if "Z" in parts else zone
    return _missing_time(int(walls.ms[0]), bool(walls.is_date[0]), str(known))


def _missing_time(wall: int, is_date: bool, zone: str) -> str:
    if is_date:
        return f"the day does not exist in {zone}"
    minutes = wall % DAY_MS // 60_000
    return f"{minutes // 60:02}:{minutes % 60:02} does not exist on that day in {zone}"


def _excel_reason(text: str, zone: str) -> str:
    if not re.fullmatch(_EXCEL, text):
        return f"{_shown(text)} is no serial day of Excel"
    if int(text.partition(".")[0]) < _EXCEL_FIRST_DAY:
        return f"serial day {text} is before March 1900, where Excel's days are ambiguous"
    walls = _excel_walls(pl.Series([text]))
    return _missing_time(int(walls.ms[0]), bool(walls.is_date[0]), zone)
