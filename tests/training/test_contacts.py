"""Contacts from files, and the effect of contacts from an archive to the report."""

import json

import polars as pl
import pytest

from features.errors import UsageError
from features.hold_out import HoldOut
from features.schema import DAY_MS
from shopstream.cli.options import parse_time
from shopstream.jobs.contacts import effect_sentence, measure_effect, read_contacts, read_effect, write_effect
from shopstream.jobs.history import known_history


def read(path, text, **more):
    path.write_text(text)
    return read_contacts(path, lambda time: parse_time(time, "contacted_at", "UTC"), **more)


def test_contacts_of_a_file_are_read_once_each(tmp_path):
    lines = [
        "name,customer_id,contacted_at",
        "x,c-1,2026-05-01",
        "x,c-1,2026-05-01T00:00:00Z",
        "y,c-2,2026-05-01T12:00+02:00",
    ]
    text = "\ufeff" + "\n".join(lines) + "\n"
    assert read(tmp_path / "c.csv", text).rows() == [("c-1", 1_777_593_600_000), ("c-2", 1_777_629_600_000)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("customer,contacted_at\n", "no column customer_id"),
        ("customer_id,contacted_at\n", "have no line"),
        ("customer_id,contacted_at\nc-1,2026-05-01\nc-2,soon\n", "line 3: Invalid time"),
        ("customer_id,contacted_at\n,2026-05-01\n", "line 2: there is no customer_id"),
        ("customer_id,contacted_at\nc-1,2026-05-03\n", "line 2: 2026-05-03 is in the future"),
        ("customer_id,contacted_at\nc-1\n", "line 2: Invalid time"),
    ],
)
def test_wrong_line_refuses_the_file(tmp_path, text, message):
    with pytest.raises(UsageError, match=message):
        read(tmp_path / "c.csv", text, latest_ms=1_777_593_600_000)


def test_effect_of_an_archive_compares_those_who_qualify(archive, bundle, tmp_path):
    history = known_history(archive)
    rule = HoldOut(0.3, "seed")
    ids = pl.read_parquet(next(archive.glob("**/*.parquet")), columns=["customer_id"])["customer_id"].unique().sort()
    at = history.end_ms - (bundle.horizon_days + 10) * DAY_MS
    contacts = pl.DataFrame({"customer_id": ids, "ts": [at] * len(ids)}).filter(
        ~pl.Series(rule.members(ids), dtype=pl.Boolean)
    )
    found = measure_effect(archive, bundle, contacts, rule, history)
    assert found.qualified + found.held_out > 20
    assert 0.1 < found.held_out / (found.qualified + found.held_out) < 0.5
    assert found.contacted_held_out == 0
    assert found.contacted > 0
    late = contacts.with_columns(ts=pl.lit(history.end_ms - 8 * DAY_MS))
    pending = measure_effect(archive, bundle, late, rule, history)
    assert pending.qualified == pending.held_out == 0
    assert pending.pending > 0
    write_effect(found, tmp_path / "effect.json")
    assert read_effect(tmp_path / "effect.json") == found
    assert effect_sentence(tmp_path / "effect.json").startswith("Effect of a contact")
    assert effect_sentence(tmp_path / "none.json") == ""
    (tmp_path / "effect.json").write_text(json.dumps({"horizon_days": "many"}))
    assert "cannot be read" in effect_sentence(tmp_path / "effect.json")


def test_effect_without_a_hold_out_group_is_refused(archive, bundle):
    with pytest.raises(UsageError, match="there is no hold-out group"):
        measure_effect(archive, bundle, pl.DataFrame(), HoldOut(), known_history(archive))
