"""An order of which a line cannot be read has no record with a wrong total."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from producers_import import import_text, orders_of
from typer.testing import CliRunner

from producers.importing.importer import import_logs
from producers.importing.mapping import parse_mapping
from shopstream.cli.app import build_app

LINES = """\
kind: orders
file: {format: csv}
time: {column: at}
order: {rows: line, id: %s, customer: who, product: name, quantity: n, unit_price: each}
"""
HEADER = "name,id,who,at,n,each,shop\n"
OTHERS = "cup,o9,zoe,2024-03-01,1,9,x\ncup,o8,zoe,2024-03-01,1,8,x\n"
REST = "another row of the order is refused"


def imported(tmp_path, line, source="id"):
    text = HEADER + OTHERS + "pen,o1,ann,2024-03-01,1,5,x\n" + line + "\n"
    report = import_text(tmp_path, text, LINES % source)
    assert report.rows == report.rows_used + report.refused.total() + report.left_out.total()
    return report, [order for (order,) in orders_of(tmp_path / "a", "order_id")]


@pytest.mark.parametrize(
    "line",
    [
        "mug, blue,o1,ann,2024-03-01,1,7,x",  # a separator in the text before the id
        "mug,o1,ann, dr,2024-03-01,1,7,x",  # and behind it
        "mug, blue, large,o1,ann, dr,2024-03-01,1,7,x",  # before and behind it
        "o1,ann,2024-03-01,1,7,x",  # the first value is missing
        "mug,o1,ann,2024",  # cut
        "mug , o1 ,ann,2024-03-01,1,7",
    ],
)
def test_ragged_line_refuses_the_order_whose_id_it_has(tmp_path, line):
    report, orders = imported(tmp_path, line)
    assert orders == ["o8", "o9"]
    assert report.refused[REST] == 1
    assert [file.orders_unknown for file in report.files] == [1]


@pytest.mark.parametrize("line", ["mug, blue,o1,ann,2024-03-01,1,7,x", "mug,o1,ann, dr,2024-03-01,1,7,x"])
def test_ragged_line_refuses_the_order_of_a_joined_id(tmp_path, line):
    report, orders = imported(tmp_path, line, '{join: "{shop}-{id}"}')
    assert (report.refused[REST], orders) == (1, ["x-o8", "x-o9"])


@pytest.mark.parametrize(
    "line", ["mug", "mug,,ann,2024-03-01,1,7,x", "mug,NULL,ann,2024-03-01,1,7,x", "a,b,c,d,e,f,g,h,i"]
)
def test_line_without_an_order_id_is_counted_because_any_order_may_lack_it(tmp_path, line):
    report, orders = imported(tmp_path, line)
    assert orders == ["o1", "o8", "o9"]
    assert (report.refused.total(), [file.orders_unknown for file in report.files]) == (1, [1])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    cells=st.lists(st.sampled_from(["a", "b c", "1", "o1"]), min_size=5, max_size=5),
    breaks=st.lists(st.integers(0, 5), min_size=1, max_size=3),
    removed=st.booleans(),
)
def test_id_that_is_whole_in_a_ragged_line_refuses_its_order(tmp_path_factory, cells, breaks, removed):
    cells = [cells[0], "o8", *cells[1:], "x"]
    for at in sorted({one + (one >= 1) for one in breaks}, reverse=True):  # the id stays whole
        if removed:
            del cells[at]
        else:
            cells.insert(at + 1, "part")
    _, orders = imported(tmp_path_factory.mktemp("ragged"), ",".join(cells))
    assert "o8" not in orders


def test_unreadable_value_of_a_table_refuses_the_order_of_its_row(tmp_path):
    table = pa.table(
        {
            "id": ["o1", "o1", "o2"], "who": ["ann", "ann", "bob"], "at": ["2024-03-01"] * 3, "n": [1, 1, 1],
            "each": pa.array([b"5", b"\xff", b"7"], pa.binary()), "name": ["pen", "mug", "cup"],
        }
    )  # fmt: skip
    pq.write_table(table, tmp_path / "t.parquet")
    mapping = parse_mapping((LINES % "id").replace("csv", "parquet"), "m")
    report = import_logs([(tmp_path / "t.parquet", "m", mapping)], tmp_path / "a")
    assert [order for (order,) in orders_of(tmp_path / "a", "order_id")] == ["o2"]
    assert (report.refused.total(), report.refused[REST], report.files[0].orders_unknown) == (2, 1, 0)


def test_command_states_that_an_order_may_lack_a_line(tmp_path):
    rows = [{"id": "o1", "who": "ann", "at": "2024-03-01", "n": 1, "each": 5, "name": "pen"}]
    (tmp_path / "l.json").write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"id": "o1", "who\n', "utf-8")
    (tmp_path / "m.yaml").write_text((LINES % "id").replace("csv", "json"), "utf-8")
    call = ["import", str(tmp_path / "l.json"), "--mapping", str(tmp_path / "m.yaml"), "--dry-run"]
    result = CliRunner().invoke(build_app(), call)
    assert result.exit_code == 1
    assert "1 refused lines whose order is not certain" in result.stderr.replace("\n", " ")
    assert "refused lines of unknown orders" in result.stdout


def test_ragged_click_or_whole_order_refuses_no_other_row(tmp_path):
    mapping = LINES.replace("rows: line", "rows: order").replace("unit_price", "total") % "id"
    report = import_text(tmp_path, HEADER + OTHERS + "mug,b,o9,zoe,2024-03-01,1,7,x\n", mapping)
    assert (report.rows_used, report.files[0].orders_unknown) == (2, 0)
