"""An import in parts of few rows gives the records and the counts of an import in one part."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from producers_import import records

from producers.importing.importer import import_logs
from producers.importing.mapping import parse_mapping

CLICKS = """\
kind: clicks
file: {format: csv}
time: {column: at}
click: {id: id, customer: who, type: {value: product_view}, price: price}
"""
WITH_IDS = """\
kind: orders
file: {format: csv}
time: {column: at, format: epoch_ms}
order: {rows: order, id: id, customer: who, total: total}
"""
WITHOUT_IDS = WITH_IDS.replace("id: id, ", "")
AT = 1_700_000_000_000
ALL = {"ids": st.sampled_from(["", *(f"e{n}" for n in range(6))]), "who": st.integers(1, 40).map(lambda n: f"k{n}")}
EVENTS = st.lists(
    st.fixed_dictionaries(ALL | {"at": st.integers(1, 3).map(lambda n: f"2024-03-0{n}"), "price": st.integers(1, 2)}),
    min_size=1,
    max_size=30,
)


def imported(folder, texts, *, rows_max, mappings=(CLICKS,)):
    """Import texts, one file each, and return the records and the rows that are left out or refused, by reason."""
    folder.mkdir()
    logs = []
    for number, text in enumerate(texts):
        (folder / f"{number}.csv").write_text(text, "utf-8")
        logs.append((folder / f"{number}.csv", "m", parse_mapping(mappings[number % len(mappings)], "m")))
    keep = "id,who,at,price\n,keep,2024-03-01,1\n" if mappings == (CLICKS,) else f"id,who,at,total\nkeep,keep,{AT},1\n"
    (folder / "keep.csv").write_text(keep, "utf-8")
    logs.append((folder / "keep.csv", "m", parse_mapping(mappings[0], "m")))
    refused = Counter()

    def note(file, rows):
        refused.update((Path(file.file).name, *row) for row in rows.select("line", "reason").rows())

    report = import_logs(logs, folder / "a", rows_max=rows_max, on_refused=note)
    found = sorted(records(folder / "a"), key=repr)
    assert report.rows == report.rows_used + report.left_out.total() + report.refused.total()
    return found, report.left_out, report.refused, refused


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=EVENTS, rows_max=st.sampled_from([1, 5, 20]), seed=st.integers(0, 2**32), files=st.integers(1, 3))
def test_clicks_in_parts_files_and_orders_of_any_kind_are_judged_alike(tmp_path_factory, rows, rows_max, seed, files):
    folder = tmp_path_factory.mktemp("parts")
    lines = [f"{row['ids']},{row['who']},{row['at']},{row['price']}\n" for row in rows]
    whole = imported(folder / "whole", ["id,who,at,price\n" + "".join(lines)], rows_max=1_000)
    mixed = [lines[at] for at in np.random.default_rng(seed).permutation(len(lines))]
    texts = ["id,who,at,price\n" + "".join(mixed[number::files]) for number in range(files)]
    assert imported(folder / "parts", texts, rows_max=rows_max)[:3] == whole[:3]


@pytest.mark.parametrize("rows_max", [4, 1_000])
def test_event_id_of_two_customers_is_refused_whatever_the_parts(tmp_path, rows_max):
    lines = "".join(f"e{n % 20},k{n},2024-03-01,1\n" for n in range(40)) + "own,k1,2024-03-01,1\n"
    found, _, refused, rows = imported(tmp_path / "a", ["id,who,at,price\n" + lines], rows_max=rows_max)
    assert refused == {"event id of different events": 40}
    assert sorted(rows) == sorted(("0.csv", n + 2, "event id of different events") for n in range(40))
    assert sorted(event["customer_id"] for event in found) == ["k1", "keep"]


@pytest.mark.parametrize("rows_max", [1, 1_000])
@pytest.mark.parametrize(
    ("given_row", "left_out", "refused", "totals"),
    [
        (f"ann-{AT}-0,ann,{AT},3", {"repeats a record": 1}, {}, [1.0, 3.0]),
        (f"ann-{AT}-0,ann,{AT},4", {}, {"order with different totals": 2}, [1.0]),
        (f"ann-{AT}-0,bob,{AT},3", {}, {"order id used twice, by several customers": 2}, [1.0]),
        (f"ann-{AT}-0,ann,{AT + 1},3", {}, {"order id used twice, at several times": 2}, [1.0]),
        (f"ann-{AT}-1,ann,{AT},3", {}, {}, [1.0, 3.0, 3.0]),
    ],
)
def test_order_id_that_equals_a_made_one_is_judged_whatever_the_parts(
    tmp_path, rows_max, given_row, left_out, refused, totals
):
    others = "".join(f"x{n},k{n},{AT},0\n" for n in range(20))
    texts = [f"id,who,at,total\n{others}{given_row}\n", f"who,at,total\nann,{AT},3\n"]
    found = imported(tmp_path / "a", texts, rows_max=rows_max, mappings=(WITH_IDS, WITHOUT_IDS))
    assert found[1:3] == (left_out, refused)
    assert sorted(order["total"] for order in found[0] if order["total"]) == totals
