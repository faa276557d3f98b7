"""The end of the known history of an archive, beside its records."""

from __future__ import annotations

import pytest
from archives import DAY, NOON, order, write

from features.errors import ShopstreamError
from features.schema import HOUR_MS
from producers.archive.archive import ArchiveWriter
from producers.archive.known_until import KNOWN_UNTIL_FILE, KnownUntil, known_until_ms, read_known_until
from shopstream.jobs.history import known_history

MIDNIGHT = NOON - DAY // 2


def test_written_end_is_read_and_its_file_is_part_of_the_archive(tmp_path):
    for end in (MIDNIGHT, MIDNIGHT + DAY):
        with ArchiveWriter(tmp_path / "a", force=True) as archive:
            archive.write_known_until(KnownUntil(end, dates_only=True))
        assert read_known_until(tmp_path / "a") == KnownUntil(end, dates_only=True)
        assert known_until_ms(tmp_path / "a") == end
    assert known_until_ms(write(tmp_path / "b", orders=[order(1, NOON)])) is None


def test_further_keys_of_a_later_importer_are_ignored(tmp_path):
    (tmp_path / KNOWN_UNTIL_FILE).write_text('{"known_until_ms": 5, "dates_only": false, "mapping": "x"}')
    assert known_until_ms(tmp_path) == 5


def test_damaged_file_is_refused_in_words(tmp_path):
    (tmp_path / KNOWN_UNTIL_FILE).write_text('{"known_until_ms": "soon"}')
    with pytest.raises(ShopstreamError, match=r"import\.json cannot be read"):
        known_until_ms(tmp_path)


@pytest.mark.parametrize(
    ("known", "last", "expected"),
    [
        (KnownUntil(MIDNIGHT + DAY, dates_only=True), MIDNIGHT, MIDNIGHT + DAY - 1),
        (KnownUntil(MIDNIGHT + DAY + HOUR_MS, dates_only=True), MIDNIGHT, MIDNIGHT + DAY + HOUR_MS - 1),
        (KnownUntil(MIDNIGHT + 900 * DAY, dates_only=True), MIDNIGHT, MIDNIGHT + DAY - 1),
        (KnownUntil(MIDNIGHT + 900 * DAY), NOON, NOON),
        (KnownUntil(NOON + 1), NOON, NOON),
        (KnownUntil(MIDNIGHT), NOON, NOON),
    ],
    ids=["last day", "day of 25 hours", "later record left out", "later time left out", "last record", "older file"],
)
def test_last_known_millisecond(known, last, expected):
    assert known.last_ms(last) == expected


def test_history_ends_with_the_last_record_without_a_file(tmp_path):
    archive = write(tmp_path / "a", orders=[order(1, NOON), order(2, NOON + DAY), order(3, NOON + 9 * DAY, ts=NOON)])
    found = known_history(archive)
    assert (found.first_ms, found.end_ms, found.limit_ms, found.warnings) == (NOON, NOON + DAY, None, ())


def test_requested_time_limits_the_history(tmp_path):
    archive = write(tmp_path / "a", orders=[order(n, NOON + n * DAY) for n in range(5)])
    found = known_history(archive, NOON + 2 * DAY + 5)
    assert (found.end_ms, found.limit_ms) == (NOON + 2 * DAY + 5, NOON + 2 * DAY + 5)
    assert known_history(archive, NOON + 90 * DAY).end_ms == NOON + 4 * DAY
    with pytest.raises(ShopstreamError, match=r"no record by 2022-01-07.*its first is at 2022-01-08T12"):
        known_history(archive, NOON - DAY // 2 - 1)


def test_record_at_most_a_day_ahead_of_now_counts(tmp_path):
    archive = write(tmp_path / "a", orders=[order(1, NOON), order(2, NOON + DAY), order(3, NOON + 2 * DAY + 1)])
    found = known_history(archive, None, NOON)
    assert (found.end_ms, found.limit_ms) == (NOON + DAY, NOON + DAY)
    assert len(found.warnings) == 1
    assert "order o3 of customer c3" in found.warnings[0]
    assert known_history(archive, NOON + 3 * DAY, NOON).end_ms == NOON + 2 * DAY + 1


def test_change_of_an_order_ahead_of_now_is_left_out(tmp_path):
    changed = order(1, NOON + 300 * DAY, ts=NOON, status="refunded")
    found = known_history(write(tmp_path / "a", orders=[order(1, NOON), changed]), None, NOON + 5 * DAY)
    assert (found.end_ms, found.limit_ms) == (NOON, NOON + 6 * DAY)
    assert "order o1 of customer c1" in found.warnings[0]


def test_shop_that_paused_for_years_is_not_warned_about(tmp_path):
    days = [*range(10), *range(1_000, 1_010)]
    archive = write(tmp_path / "a", orders=[order(n, NOON + n * DAY) for n in days])
    found = known_history(archive, None, NOON + 2_000 * DAY)
    assert found.warnings == ()
    assert found.first_ms == NOON
