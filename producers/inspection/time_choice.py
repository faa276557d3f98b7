"""Chooses the format and zone of a column of times, and names what the values do not decide."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from producers.inspection.column_profile import ColumnProfile
from producers.inspection.findings import Question, counted, listed
from producers.inspection.time_forms import iso_day

ZONE_WORDS: Final = {
    "EST": "-05:00", "EDT": "-04:00", "MST": "-07:00", "MDT": "-06:00", "PST": "-08:00", "PDT": "-07:00",
    "AKST": "-09:00", "AKDT": "-08:00", "HST": "-10:00", "CET": "+01:00", "CEST": "+02:00", "MEZ": "+01:00",
    "MESZ": "+02:00", "WET": "+00:00", "WEST": "+01:00", "EET": "+02:00", "EEST": "+03:00", "MSK": "+03:00",
    "JST": "+09:00", "AEST": "+10:00", "AEDT": "+11:00", "NZST": "+12:00", "NZDT": "+13:00", "SGT": "+08:00",
}  # fmt: skip
"""Zone words of one usual meaning. CST, IST, BST and AST have several, so that a person decides."""

_UTC: Final = frozenset({"UTC", "GMT", "Z"})


@dataclass(frozen=True, slots=True)
class TimeChoice:
    """Source of a time for a mapping.

    Attributes:
        format: format; None for times that the file's own format has.
        needs_zone: whether times without an offset occur.
        zones: zone word -> proposed offset; None without a proposal.
        questions: ambiguities.
    """

    format: str | None
    needs_zone: bool
    zones: dict[str, str | None]
    questions: tuple[Question, ...]


def time_choice(column: ColumnProfile, parquet_type: str | None = None) -> TimeChoice:
    """Choose the format of a column of times.

    Args:
        column: profile of the column.
        parquet_type: type of the column in a Parquet file.
    """
    if column.times is None or column.typed is not None:
        zoned = "tz=" in (parquet_type or "")
        return TimeChoice(None, not zoned, {}, () if zoned else (_zone_question(column),))
    times = column.times
    fits = times.fitting()
    chosen = times.chosen()
    if chosen is None:
        return TimeChoice("iso", True, {}, ())
    questions: list[Question] = []
    different = times.different(fits) if fits else []
    if different:
        questions.append(_order_question(column, chosen, different))
    elif not fits:
        questions.append(_unread_question(column, chosen))
    words = {word: count for word, count in times.words.items() if word.upper() not in _UTC}
    zones = {word: ZONE_WORDS.get(word.upper()) for word in words}
    if words:
        named = listed([f"{word} ({counted(count, 'row')})" for word, count in words.items()])
        questions.append(
            Question("zone words", column.name, tuple(words), f"{column.name} has words for zones: {named}.",
                     "Give each word an offset or zone in time.zones.")
        )  # fmt: skip
    zoned_values = times.offsets + sum(times.words.values()) - sum(
        count for word, count in times.words.items() if word.upper() == "Z"
    )  # fmt: skip
    needs_zone = not chosen.startswith("epoch") and zoned_values < times.values
    if needs_zone:
        questions.append(_zone_question(column))
    return TimeChoice(chosen, needs_zone, zones, tuple(questions))


def _zone_question(column: ColumnProfile) -> Question:
    what = "dates" if column.kind == "date" else "times without an offset"
    text = f"{column.name} has {what}, so that their zone is unknown."
    return Question("zone", column.name, ("UTC",), text, "Write the shop's zone in time.zone, such as Europe/Berlin.")


def _order_question(column: ColumnProfile, chosen: str, different: list[str]) -> Question:
    assert column.times is not None
    example, shown = column.times.disagreements[frozenset((chosen, different[0]))]
    readings = " or ".join(f"{moment} by {form}" for form, moment in shown.items())
    text = f"{column.name} reads completely by {listed([chosen, *different])}: {example} is {readings}."
    decides = "A value with a day above 12 would decide; ask the source, and write time.format."
    return Question("date order", column.name, (chosen, *different), text, decides)


def _unread_question(column: ColumnProfile, chosen: str) -> Question:
    assert column.times is not None
    reading = column.times.readings[chosen]
    text = (
        f"No format reads all times of {column.name}. {chosen} leaves {counted(reading.unread, 'value')} unread,"
        f" such as {reading.first_unread}; such rows are refused."
    )
    others = [form for form in column.times.readings if form != chosen]
    return Question("time form", column.name, (chosen, *others), text, "Correct the values, or split the file.")


def time_notes(column: ColumnProfile) -> list[str]:
    """Return sentences about the times of a column: form, zones, dates, and times that are early or in the future."""
    if column.times is None:
        return []
    times = column.times
    chosen = times.chosen()
    if chosen is None:
        return []
    reading = times.readings[chosen]
    read = times.values - reading.unread
    notes = [f"{chosen} reads {'all' if not reading.unread else f'{read:,} of'} {counted(times.values, 'value')}."]
    others = [form for form in times.readings if form.startswith(("%d", "%m")) and times.readings[form].unread]
    if chosen.startswith(("%d", "%m")) and others and not reading.unread:
        proof = times.readings[others[0]].first_unread
        notes.append(f"{others[0]} does not read {proof}.")
    words = [f"{word} ({count:,})" for word, count in times.words.most_common() if word.upper() != "Z"]
    if times.offsets:
        notes.append(f"{counted(times.offsets, 'value')} with an offset.")
    if words:
        notes.append(f"Words for zones: {listed(words)}.")
    if reading.dates and reading.dates < read:
        notes.append(
            f"{counted(reading.dates, 'value')} {'is a date' if reading.dates == 1 else 'are dates'} without a time."
        )
    if reading.early:
        notes.append(f"{counted(reading.early, 'value')} before 1990, first {reading.first_early}.")
    if reading.late:
        end = iso_day(reading.high_ms or 0)
        notes.append(
            f"{counted(reading.late, 'value')} in the future, first {reading.first_late}, up to {end};"
            " such rows are refused."
        )
    return notes
