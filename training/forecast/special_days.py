"""Defines the shop's special days: holidays, campaigns and closed days of a YAML file, past and future.

The file names each kind of day once, with all of its days. A day of one name changes the forecast as past days of this
name changed sales (`training.forecast.day_effects`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Annotated, Final, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, RootModel, StringConstraints, ValidationError, model_validator

from connectors.formats.strict_yaml import PartError, read_text, read_yaml
from features.calendar import day_name, day_number
from features.errors import UsageError

DayEffect = Literal["measured", "closed", "none"]
"""`measured`: the effect of past days of the same name; `closed`: no sales; `none`: forecast as an ordinary day.
No special day teaches what an ordinary day is."""
RANGE_DAYS_MAX: Final = 366
"""Longest range of days; a longer one is a mistyped year."""
_REMEDY: Final = "docs/forecast.md shows a file of special days."

Name = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]*$")]


@dataclass(frozen=True, slots=True)
class SpecialDays:
    """Special days of a shop.

    Attributes:
        effects: name -> effect, in the order of the file.
        names: number of a local day -> its name. A closed day has the name of the closure.
    """

    effects: Mapping[str, DayEffect] = field(default_factory=dict)
    names: Mapping[int, str] = field(default_factory=dict)

    def positions(self, first_day: int, count: int) -> npt.NDArray[np.int64]:
        """Return the position in `effects` of the name of each day from `first_day` on, [count]; -1: no special day."""
        order = {name: position for position, name in enumerate(self.effects)}
        days = range(first_day, first_day + count)
        return np.array([order[self.names[day]] if day in self.names else -1 for day in days], np.int64)


NO_SPECIAL_DAYS: Final = SpecialDays()


class _Named(BaseModel):
    """All days of one name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    days: Annotated[list[date | str], Field(min_length=1)]
    effect: DayEffect = "measured"

    @model_validator(mode="after")
    def _valid(self) -> _Named:
        for position, one in enumerate(self.days):
            try:
                _numbers(one)
            except UsageError as error:
                raise PartError(str(error).splitlines()[0], ("days", position)) from None
        return self

    def numbers(self) -> set[int]:
        """Return the numbers of the days."""
        return set().union(*(_numbers(one) for one in self.days))


class _File(RootModel[dict[Name, _Named]]):
    model_config = ConfigDict(frozen=True)

    @model_validator(mode="after")
    def _once(self) -> _File:
        owners: dict[int, str] = {}
        for name, named in self.root.items():
            if named.effect == "closed":
                continue
            for day in sorted(named.numbers()):
                if day in owners:
                    raise PartError(f"{day_name(day)} is a day of {owners[day]!r} already", (name, "days"))
                owners[day] = name
        return self


def _numbers(given: date | str) -> set[int]:
    """Return the numbers of the days of a date, or of a range such as `2026-11-27/2026-11-30`. Raises UsageError."""
    first, slash, last = str(given).partition("/")
    start = day_number(first.strip())
    end = day_number(last.strip()) if slash else start
    if not 0 <= end - start < RANGE_DAYS_MAX:
        raise UsageError(f"{given} is no range of 1 to {RANGE_DAYS_MAX} days.", "Correct the dates.")
    return set(range(start, end + 1))


def load_special_days(path: Path | None) -> SpecialDays:
    """Load the special days of a file; none without a file.

    Raises:
        UsageError: the file cannot be read or is invalid; the message names the line.
    """
    if path is None:
        return NO_SPECIAL_DAYS
    return parse_special_days(read_text(path, f"The special days {path} cannot be read", _REMEDY), str(path))


def parse_special_days(text: str, origin: str) -> SpecialDays:
    """Return the special days of a YAML text. `origin` names it in errors.

    Raises:
        UsageError: the text is invalid; the message names the line.
    """
    document = read_yaml(text, origin)
    try:
        file = _File.model_validate(document.content if document.content is not None else {})
    except ValidationError as error:
        raise UsageError(document.refusal(error), _REMEDY) from None
    names: dict[int, str] = {}
    # closures last: a day that is closed within a campaign has no sales
    for name, named in sorted(file.root.items(), key=lambda item: item[1].effect == "closed"):
        names.update(dict.fromkeys(sorted(named.numbers()), name))
    return SpecialDays({name: named.effect for name, named in file.root.items()}, names)
