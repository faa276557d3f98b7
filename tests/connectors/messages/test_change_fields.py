"""Changes of Debezium in common form give the rows of `open_message` and `records_batch`; others are left to them."""

from __future__ import annotations

import json

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from connectors.messages.change_fields import ChangeReader
from connectors.messages.envelopes import Record, open_message
from connectors.tables.batches import LINE
from connectors.tables.records import records_batch

COLUMNS = ["id", "total", "op", "source.ts_ms", "ts_ms", "extra.inner", "tags[0]"]
SCALARS = (
    st.none() | st.booleans() | st.integers(-(2**65), 2**65) | st.sampled_from([1.5, "x", "", '{"inner": 1}', "Jxo="])
)
ODD = st.sampled_from([{"scale": 2, "value": "Jxo="}, {"scale": 2, "value": "?"}, {"inner": "y"}, ["t"], [], {}])
ROWS = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(["id", "total", "extra", "tags", "other", "op", "ts_ms", "source"], SCALARS | ODD)
)
PLAIN_ROWS = st.fixed_dictionaries(
    {"id": st.integers(0, 9)}, optional=dict.fromkeys(["total", "extra", "other"], SCALARS)
)
CHANGES = st.fixed_dictionaries(
    {"op": st.sampled_from(["c", "u", "r", "u", "d", "t", "m", "x", None, 1])},
    optional={
        "before": st.none() | ROWS | PLAIN_ROWS | SCALARS,
        "after": PLAIN_ROWS | ROWS | SCALARS,
        "source": st.none() | st.fixed_dictionaries({}, optional={"ts_ms": SCALARS, "db": SCALARS}) | SCALARS,
        "ts_ms": SCALARS,
        "transaction": SCALARS,
    },
)
CONTENTS = (
    CHANGES
    | st.fixed_dictionaries({"schema": st.just({"scale": 2}) | SCALARS, "payload": CHANGES | SCALARS})
    | st.fixed_dictionaries({"payload": CHANGES, "schema": SCALARS}, optional={"more": SCALARS})
)
GOOD = {"op": "u", "before": {"id": 1, "total": "a"}, "after": {"id": 1, "total": "b"}, "source": {"ts_ms": 5}}


def by_decoder(value: bytes) -> tuple[pl.DataFrame | None, pl.DataFrame | None]:
    """Rows after and before a change; None where there are none."""
    opened = open_message(value, (), "debezium")
    if not isinstance(opened, Record) or opened.deleted:
        return None, None
    batch = records_batch([(0, opened.content)], COLUMNS, None)
    if batch.refused:
        return None, None
    if opened.former is None:
        return batch.rows, None
    former = records_batch([(0, opened.former)], COLUMNS, None)
    return batch.rows, None if former.refused else former.rows


@example([GOOD, {"schema": {"scale": 2}, "payload": GOOD}, GOOD | {"after": {"id": 1, "op": "z"}}])
@example([GOOD | {"before": {"id": 1, "total": [1]}}, GOOD | {"after": {"id": 1, "total": [1]}}])
@example([GOOD | {"after": {"id": 1, "other": {"scale": 1, "value": "?"}}}, GOOD | {"op": "d"}])
@given(st.lists(CONTENTS, min_size=1, max_size=8))
def test_changes_in_common_form_give_the_rows_of_the_decoder(contents):
    values = [json.dumps(content).encode() for content in contents]
    rows = ChangeReader(COLUMNS).read(values)
    read = [number for number in range(len(values)) if number not in rows.others]
    assert rows.current[LINE].to_list() == read
    for number in read:
        current, former = by_decoder(values[number])
        assert rows.current.filter(pl.col(LINE) == number).drop(LINE).equals(current.drop(LINE))
        own = rows.former.filter(pl.col(LINE) == number).drop(LINE)
        assert own.is_empty() if former is None else own.equals(former.drop(LINE))


@pytest.mark.parametrize(
    "content",
    [
        GOOD, GOOD | {"op": "c", "before": None}, GOOD | {"transaction": None, "more": [1]},
        {"schema": {"fields": [{"scale": 2}]}, "payload": GOOD},
    ],
)  # fmt: skip
def test_common_form_of_a_change_is_read(content):
    rows = ChangeReader(COLUMNS).read([json.dumps(content, separators=(",", ":")).encode()])
    assert rows.others == []
    assert rows.current["total"].to_list() == ["b"]
    assert rows.former["total"].to_list() == (["a"] if content.get("op") != "c" else [])


@pytest.mark.parametrize(
    "content",
    [
        GOOD | {"op": "d"}, GOOD | {"after": None}, GOOD | {"after": {"id": {"scale": 1, "value": "Jxo="}}},
        GOOD | {"after": {"id": [1]}}, GOOD | {"before": {"id": [1]}},
        GOOD | {"payload": 1}, GOOD | {"after": {"id": 1, "ts_ms": 2}}, {"id": 1},
        {"schema": None, "payload": GOOD, "more": 1}, {"schema": None, "payload": None},
    ],
)  # fmt: skip
def test_other_changes_are_left_to_the_decoder(content):
    assert ChangeReader(COLUMNS).read([json.dumps(content).encode()]).others == [0]


def test_paths_within_a_list_are_left_to_the_decoder():
    assert not ChangeReader.reads(["id", ".x"], "lines")
    assert ChangeReader.reads(COLUMNS, None)
