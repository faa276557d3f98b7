"""Defines the sources of times in a mapping: where a time comes from, its form, its zone and its clock."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, Final, Self

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, model_validator

from connectors.formats.schema_times import SCHEMA
from connectors.formats.time_patterns import EPOCHS
from connectors.formats.timestamps import time_format, zone_name
from producers.importing.sources import Condition, Path, PathPart, Paths, listed, paths_of

_DURATION: Final = re.compile(r"(?P<number>\d+(?:\.\d+)?)(?P<unit>[smh])")
_UNITS: Final = {"s": 1, "m": 60, "h": 3_600}


def _seconds(given: Any) -> Any:
    """Return a duration such as `60s`, `5m` or 60 in seconds."""
    if not isinstance(given, str):
        return given
    read = _DURATION.fullmatch(given)
    if read is None:
        raise ValueError(f"{given!r} is no duration, such as 60s, 5m or 1h")
    return float(read["number"]) * _UNITS[read["unit"]]


def _known_format(pattern: str) -> str:
    time_format(pattern)
    return pattern


class Time(PathPart):
    """Source of a time.

    Attributes:
        path: columns or paths; the first with a value counts.
        format: `iso`, `epoch_s`, `epoch_ms`, `epoch_us`, `epoch_ns`, `excel_days`, or a pattern: `%d.%m.%Y %H:%M`.
            `schema`: the Avro schema of the message has the unit, as a logical type.
        zone: IANA zone of times without an offset. An ambiguous local time is the earlier one.
        zones: zone word of the file -> offset or IANA zone: `{PDT: "-07:00"}`.
        local: zone of an epoch that counts local time as if it were UTC.
        received: column of the time at which the server had the row, by the server's clock.
        sent: column of the time at which the device sent the row, by the device's clock.
        skew_max: seconds, or a text such as `60s`. If received - sent is larger, the device's clock is wrong, and the
            time is corrected by it.
        when: condition; without it every row has the time.
    """

    path: Annotated[Paths, Field(min_length=1)]
    format: Annotated[str, StringConstraints(min_length=1), AfterValidator(_known_format)] = "iso"
    zone: Annotated[str, AfterValidator(zone_name)] = "UTC"
    zones: dict[str, str] = Field(default_factory=dict)
    local: Annotated[str, AfterValidator(zone_name)] | None = None
    received: Path | None = None
    sent: Path | None = None
    skew_max: Annotated[float, Field(gt=0, strict=False), BeforeValidator(_seconds)] | None = None
    when: Condition | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.local is not None and self.format not in (*EPOCHS, SCHEMA):
            raise ValueError("local is the zone of an epoch: write zone for local times of other formats")
        if len({self.received is None, self.sent is None, self.skew_max is None}) > 1:
            raise ValueError("received, sent and skew_max go together")
        return self

    def schema_paths(self) -> Iterator[str]:
        """Yield the paths of times whose unit is in the schema of the message."""
        if self.format == SCHEMA:
            yield from self.path
            yield from (path for path in (self.received, self.sent) if path is not None)

    def paths(self) -> Iterator[str]:
        """Yield every column or path that the time reads."""
        yield from self.path
        yield from (path for path in (self.received, self.sent) if path is not None)
        yield from paths_of(self.when)


Times = Annotated[tuple[Time, ...], Field(strict=False), BeforeValidator(listed)]
"""One source of a time, or a list of which the first with a value counts."""
