"""Times of foreign files: every form that is read, local times that come twice or never, and what is no time."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl
import pytest

from connectors.formats.timestamps import MILLIS, iso_times, zone_name

JULY = datetime(2025, 7, 31, 16, 0, tzinfo=UTC)


def read(text: str, zone: str = "Europe/Berlin") -> datetime | None:
    result = pl.DataFrame({"t": [text]}).select(iso_times(pl.col("t"), zone))
    assert result.dtypes == [MILLIS]
    return result.item()


@pytest.mark.parametrize(
    "text",
    [
        "2025-07-31T18:00:00", "2025-07-31 18:00:00.000", "2025-07-31  18:00",
        "2025-07-31T16:00Z", "2025-07-31T16:00:00z",
        "2025-07-31 18:00+02:00", "2025-07-31T18:00:00+0200", "2025-07-31T11:00:00.000000-05:00",
    ],
)  # fmt: skip
def test_every_time_format_gives_the_same_moment(text):
    assert read(text) == JULY


def test_date_is_midnight_in_the_zone():
    assert read("2025-07-31") == datetime(2025, 7, 30, 22, 0, tzinfo=UTC)


def test_fractions_of_a_second_are_truncated_to_milliseconds():
    assert read("1969-12-31T23:59:59.9995Z") == datetime(1969, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC)


def test_ambiguous_local_time_is_the_earlier_and_nonexistent_one_is_null():
    assert read("2025-10-26 02:30") == datetime(2025, 10, 26, 0, 30, tzinfo=UTC)
    assert read("2025-03-30 02:30") is None


@pytest.mark.parametrize("text", ["", "soon", "2025-02-30", "2025-07-31T25:00", "1753977600000", "31.07.2025"])
def test_text_that_is_not_a_time_is_null(text):
    assert read(text) is None


@pytest.mark.parametrize("name", ["Mars", "", "../etc/passwd", "Europe/Berlinn"])
def test_an_unknown_zone_is_named(name):
    with pytest.raises(ValueError, match="is not a time zone of the IANA database"):
        zone_name(name)
    assert zone_name("Europe/Berlin") == "Europe/Berlin"
