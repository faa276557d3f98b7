"""Determines the form of times: candidates come from the shape of the values, and each one must read every value."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

import polars as pl

from connectors.formats.time_patterns import MONTHS, WEEKDAYS
from connectors.formats.timestamps import read_times, time_format
from producers.inspection.findings import Example

CANDIDATES_MAX: Final = 24
_SHAPES_MAX: Final = 6
_SAMPLE: Final = 2_000
MS_1990: Final = 631_152_000_000
MS_2100: Final = 4_102_444_800_000

_MONTH: Final = "|".join(sorted({*MONTHS, *(one[:3] for one in MONTHS), "sept"}, key=len, reverse=True))
_DAY: Final = "|".join(sorted({*WEEKDAYS, *(one[:3] for one in WEEKDAYS)}, key=len, reverse=True))
_CLOCK: Final = re.compile(
    r"(?P<gap>[T :]|, | at | - |\s+)(?P<H>\d{1,2}):(?P<M>\d{2})(?::(?P<S>\d{2})(?:(?P<point>[.,])(?P<f>\d{1,9}))?)?"
    r"(?P<half> ?[AaPp][Mm])?(?P<zone>\s*(?:[zZ]|[+-]\d{2}(?::?\d{2})?)|\s+[A-Za-z][A-Za-z0-9_/+-]*)?$"
)
_NUMERIC_DATE: Final = re.compile(r"^(?P<a>\d{1,4})(?P<s>[-/. ])(?P<b>\d{1,2})(?P<t>[-/. ])(?P<c>\d{1,4})")
_NAMED_DATE: Final = re.compile(
    rf"^(?:(?P<day>{_DAY})(?P<after>,? ))?"
    rf"(?:(?P<d>\d{{1,2}})(?P<s>[- /.]+)(?P<b>{_MONTH})(?P<t>[- /.,]+)(?P<y>\d{{4}}|\d{{2}})"
    rf"|(?P<b2>{_MONTH})(?P<s2>[- /.]+)(?P<d2>\d{{1,2}})(?P<t2>,? |[-/])(?P<y2>\d{{4}}|\d{{2}}))",
    re.IGNORECASE,
)
_COMPACT: Final = {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}
_EPOCHS: Final = ((9, 10, "epoch_s"), (12, 13, "epoch_ms"), (15, 16, "epoch_us"), (18, 19, "epoch_ns"))
ZONE_WORD: Final = r"\d[^\S\r\n]*([A-Za-z][A-Za-z0-9_/+-]*)$"
OFFSET: Final = (
    r"\d{2}(?::\d{2}){1,2}(?:[.,]\d+)?\s*(?:[zZ]|[+-]\d{2}(?::?\d{2})?)$|^\d{8}T\d{4,6}(?:[zZ]|[+-]\d{2,4})$"
)
TIME_OF_DAY: Final = r"^\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?(?: ?[AaPp][Mm])?$"


@dataclass(slots=True)
class TimeReading:
    """How one format reads a column.

    Attributes:
        unread: values that it does not read, and the first one.
        low_ms: earliest time, epoch ms, as if the zone were UTC.
        high_ms: latest time.
        dates: values that are a date only.
        early: values before 1990, and the first one.
        late: values after `late_ms`, and the first one.
    """

    unread: int = 0
    first_unread: Example | None = None
    low_ms: int | None = None
    high_ms: int | None = None
    dates: int = 0
    early: int = 0
    first_early: Example | None = None
    late: int = 0
    first_late: Example | None = None


@dataclass(slots=True)
class TimeForms:
    """Accumulates how each candidate format reads the values of a column.

    Attributes:
        late_ms: times after it are in the future, epoch ms.
        values: number of values with repetitions.
        readings: format of a mapping -> its reading.
        disagreements: two formats -> the first value that both read, with both readings as ISO times.
        words: word for a zone -> values.
        offsets: values with an offset.
    """

    late_ms: int
    values: int = 0
    readings: dict[str, TimeReading] = field(default_factory=dict)
    disagreements: dict[frozenset[str], tuple[Example, dict[str, str]]] = field(default_factory=dict)
    words: Counter[str] = field(default_factory=Counter)
    offsets: int = 0

    def add(self, uniques: pl.DataFrame) -> None:
        """Add values.

        Args:
            uniques: `value` (trimmed text), `count`, `line` (the first one of the value).
        """
        if uniques.is_empty():
            return
        if not self.values:
            self.readings = {one: TimeReading() for one in candidates(uniques["value"].head(_SAMPLE).to_list())}
        self.values += int(uniques["count"].sum())
        if not self.readings:
            return
        self._note_zones(uniques)
        read = {one: self._read(one, uniques) for one in self.readings}
        for first, second in itertools.combinations(read, 2):
            pair = frozenset((first, second))
            if pair not in self.disagreements:
                self._compare(pair, {first: read[first], second: read[second]}, uniques)

    def _note_zones(self, uniques: pl.DataFrame) -> None:
        words = uniques.with_columns(word=pl.col("value").str.extract(ZONE_WORD, 1)).drop_nulls("word")
        words = words.filter(~pl.col("word").str.to_lowercase().is_in(["am", "pm"]))
        for word, count in words.group_by("word", maintain_order=True).agg(pl.col("count").sum()).iter_rows():
            self.words[word] += count
        self.offsets += int(uniques.filter(pl.col("value").str.contains(OFFSET))["count"].sum())

    def _read(self, pattern: str, uniques: pl.DataFrame) -> pl.Series:
        zones = dict.fromkeys(list(self.words)[:50], "UTC")
        read = (
            uniques.select(read_times(pl.col("value"), time_format(pattern), "UTC", zones)).to_series().struct.unnest()
        )
        ms = read["ms"]
        if pattern.startswith("epoch"):
            ms = ms.set(~ms.is_between(MS_1990 // 2, MS_2100).fill_null(value=False), None)
        reading = self.readings[pattern]
        unread = uniques.filter(ms.is_null())
        if len(unread):
            reading.unread += int(unread["count"].sum())
            reading.first_unread = reading.first_unread or _first(unread)
        known = ms.drop_nulls()
        if len(known):
            low, high = int(known.min()), int(known.max())  # type: ignore[arg-type]
            reading.low_ms = low if reading.low_ms is None else min(low, reading.low_ms)
            reading.high_ms = high if reading.high_ms is None else max(high, reading.high_ms)
        reading.dates += int(uniques.filter(read["is_date"].fill_null(value=False))["count"].sum())
        early = uniques.filter((ms < MS_1990).fill_null(value=False))
        late = uniques.filter((ms > self.late_ms).fill_null(value=False))
        if len(early):
            reading.early += int(early["count"].sum())
            reading.first_early = reading.first_early or _first(early)
        if len(late):
            reading.late += int(late["count"].sum())
            reading.first_late = reading.first_late or _first(late)
        return ms

    def _compare(self, pair: frozenset[str], read: dict[str, pl.Series], uniques: pl.DataFrame) -> None:
        (_, a), (_, b) = read.items()
        differ = (a != b).fill_null(value=False)
        rows = uniques.with_columns(a=a, b=b).filter(differ)
        if len(rows):
            row = rows.sort("line").row(0, named=True)
            names = list(read)
            shown = {names[0]: iso_day(row["a"]), names[1]: iso_day(row["b"])}
            self.disagreements[pair] = (Example(row["value"], row["line"]), shown)

    def fitting(self) -> list[str]:
        """Return the formats that read every value, `iso` first. After a year the month precedes the day if it can."""
        fits = [one for one, reading in self.readings.items() if self.values and not reading.unread]
        regular = [one for one in fits if not re.match(r"%Y\W%d", one)]
        return regular or fits

    def best(self) -> str | None:
        """Return the format that leaves the fewest values unread; None without a candidate."""
        return min(self.readings, key=lambda one: self.readings[one].unread, default=None)

    def chosen(self) -> str | None:
        """Return the first format that reads every value, else the one that leaves the fewest unread."""
        return next(iter(self.fitting()), None) or self.best()

    def different(self, formats: list[str]) -> list[str]:
        """Return the formats that differ from the first one in the reading of a value."""
        return [one for one in formats[1:] if frozenset((formats[0], one)) in self.disagreements]


def iso_day(ms: int) -> str:
    """Return epoch ms as an ISO time, and as a date at midnight."""
    text = str(pl.select(pl.from_epoch(pl.lit(ms), "ms").dt.strftime("%Y-%m-%d %H:%M:%S")).item())
    return text.removesuffix(" 00:00:00")


def candidates(values: list[str]) -> list[str]:
    """Return the formats that the shapes of values suggest, `iso` first.

    Args:
        values: trimmed texts.
    """
    shapes: dict[str, list[str]] = {}
    counts: Counter[str] = Counter()
    for value in values:
        if not 4 < len(value) < 60 or not any(character.isdigit() for character in value):
            continue
        shape = re.sub(r"[^\W\d_]+", "A", re.sub(r"\d{1,2}(?!\d)(?<!\d\d\d)", "1", value))
        shape = re.sub(r"\d+", lambda match: f"<{len(match[0])}>" if len(match[0]) < 9 else "<n>", shape)
        counts[shape] += 1
        shapes.setdefault(shape, []).append(value)
    formats: list[str] = []
    for shape, _ in counts.most_common(_SHAPES_MAX):
        for value in shapes[shape][:3]:
            formats += _formats_of(value)
    known = [one for one in dict.fromkeys(formats) if _is_supported(one)]
    return sorted(known, key=lambda one: one != "iso")[:CANDIDATES_MAX]


def _is_supported(pattern: str) -> bool:
    try:
        time_format(pattern)
    except ValueError:
        return False
    return True


def _formats_of(value: str) -> list[str]:
    if re.match(r"^\d{4}-\d{2}-\d{2}(?:[Tt \u00a0]|$)|^\d{8}[Tt ]\d{4}", value):
        return ["iso", *_dated(value)]  # another order of month and day counts only if ISO 8601 does not fit
    if re.fullmatch(r"\d+", value):
        formats = [_COMPACT[len(value)]] if len(value) in _COMPACT else []
        formats += ["iso"] if len(value) == 8 else []
        return (
            formats
            + [name for low, high, name in _EPOCHS if low <= len(value) <= high]
            + (["excel_days"] if len(value) == 5 else [])
        )
    if re.fullmatch(r"\d+\.\d+", value):
        whole = len(value.partition(".")[0])
        if whole == 5:
            return ["excel_days"]
        epochs = [name for low, high, name in _EPOCHS[:2] if low <= whole <= high]
        return epochs or _dated(value)
    return _dated(value)


def _dated(value: str) -> list[str]:
    """Return patterns of a date with separators or a month's name, and of the clock behind it."""
    match = _NUMERIC_DATE.match(value)
    if match is not None:
        dates = _numeric_orders(match)
    else:
        match = _NAMED_DATE.match(value)
        if match is None:
            return []
        dates = [_named_pattern(match)]
    rest = value[match.end() :]
    if not rest:
        return dates
    clock = _CLOCK.match(rest)
    if clock is None:
        return _year_last(value) if match.re is _NAMED_DATE else []
    return [f"{date}{tail}" for date in dates for tail in _clock_patterns(clock)]


def _numeric_orders(match: re.Match[str]) -> list[str]:
    a, s, t, c = (match[name] for name in "astc")
    if len(a) == 4:
        return [f"%Y{s}%m{t}%d", f"%Y{s}%d{t}%m"]
    if len(c) == 4:
        return [f"%d{s}%m{t}%Y", f"%m{s}%d{t}%Y"]
    if len(c) == 2 and len(a) <= 2:
        return (
            [f"%d{s}%m{t}%y", f"%m{s}%d{t}%y", f"%y{s}%m{t}%d"] if len(a) == 2 else [f"%d{s}%m{t}%y", f"%m{s}%d{t}%y"]
        )
    return []


def _named_pattern(match: re.Match[str]) -> str:
    day = f"%a{match['after']}" if match["day"] else ""
    if match["b"]:
        year = "%Y" if len(match["y"]) == 4 else "%y"
        return f"{day}%d{match['s']}%b{match['t']}{year}"
    year = "%Y" if len(match["y2"]) == 4 else "%y"
    return f"{day}%b{match['s2']}%d{match['t2']}{year}"


def _clock_patterns(clock: re.Match[str]) -> list[str]:
    half, zone = clock["half"], clock["zone"]
    text = clock["gap"] + ("%I" if half else "%H") + ":%M"
    if clock["S"]:
        text += ":%S" + (f"{clock['point']}%f" if clock["f"] else "")
    if half:
        text += " %p" if half.startswith(" ") else "%p"
    if not zone:
        return [text]
    blank = " " if zone[0].isspace() else ""
    return [f"{text}{blank}{'%z' if re.match('[zZ]$|[+-]', zone.strip()) else '%Z'}"]


def _year_last(value: str) -> list[str]:
    """Return the pattern of `Thu Mar 07 10:00:00 PST 2024`, which programs print by default."""
    match = re.match(
        rf"^(?:{_DAY}) (?:{_MONTH}) +\d{{1,2}} \d{{2}}:\d{{2}}:\d{{2}}(?P<z> [A-Za-z]+| [+-]\d{{4}})? \d{{4}}$",
        value,
        re.IGNORECASE,
    )
    if match is None:
        return []
    zone = "" if not match["z"] else " %z" if match["z"][1] in "+-" else " %Z"
    return [f"%a %b %d %H:%M:%S{zone} %Y"]


def _first(rows: pl.DataFrame) -> Example:
    row = rows.sort("line").row(0, named=True)
    return Example(str(row["value"]), int(row["line"]))
