"""Lines that take something back, and lines that differ in status: which of them an order counts."""

import pytest
from producers_import import import_text, orders_of

from producers.importing.refusals import remedy

LINES = """\
kind: orders
file: {format: csv}
time: {column: day}
order: {rows: line, id: id, customer: who, product: sku, quantity: n, unit_price: %s, negative: net}
"""
HEADER = "id,who,day,sku,n,price\n"
BOTH = "quantity and unit_price are both below 0"
NONE_PLACED = "order whose rows differ in status, and none is placed"


# --- quantities and prices below 0 ------------------------------------------------------------------------------------
def test_line_with_quantity_and_price_below_0_is_refused_and_no_sale(tmp_path):
    rows = "1,ann,2024-01-01,mug,-1,-5\n1,ann,2024-01-01,cup,1,7\n2,bob,2024-01-01,mug,1,5\n"
    report = import_text(tmp_path, HEADER + rows, LINES % "price")
    assert report.refused == {BOTH: 1, "another row of the order is refused": 1}
    assert orders_of(tmp_path / "a", "order_id", "total") == [("2", 5.0)]
    assert report.files[0].examples[BOTH][0].position() == "line 2, n = '-1': unit_price is -5"


def test_remedy_of_quantity_and_price_below_0_makes_the_line_a_return(tmp_path):
    assert 'match: "^-?(.*)$"' in remedy(BOTH)
    rows = "1,ann,2024-01-01,mug,-1,-5\n1,ann,2024-01-01,cup,1,7\n"
    report = import_text(tmp_path, HEADER + rows, LINES % '{path: price, match: "^-?(.*)$"}')
    assert (report.refused, report.revenue_cents) == ({}, 200)


@pytest.mark.parametrize("row", ["1,ann,2024-01-01,mug,-1,5", "1,ann,2024-01-01,mug,1,-5"])
def test_line_with_one_of_quantity_and_price_below_0_is_a_return(tmp_path, row):
    report = import_text(tmp_path, f"{HEADER}{row}\n1,ann,2024-01-01,cup,1,7\n", LINES % "price")
    assert (report.refused, report.revenue_cents) == ({}, 200)


# --- lines that differ in status --------------------------------------------------------------------------------------
STATUSES = """\
kind: orders
file: {format: csv}
time: {column: day}
order:
  rows: line
  id: id
  customer: who
  product: sku
  quantity: n
  unit_price: price
  status: kind
  statuses: {paid: placed, cancelled: cancelled, returned: refunded}
  mixed_status: net
"""
KINDS = "id,who,day,sku,n,price,kind\n"


def test_lines_that_do_not_count_are_no_items(tmp_path):
    rows = "1,ann,2024-01-01,mug,1,5,paid\n1,ann,2024-01-01,cup,1,7,cancelled\n"
    import_text(tmp_path, KINDS + rows, STATUSES)
    [(status, total, items)] = orders_of(tmp_path / "a", "status", "total", "items")
    assert (status, total, [item["product_id"] for item in items]) == ("placed", 5.0, ["mug"])


def test_order_whose_lines_are_all_cancelled_keeps_its_items(tmp_path):
    rows = "1,ann,2024-01-01,mug,1,5,cancelled\n1,ann,2024-01-01,cup,1,7,cancelled\n"
    import_text(tmp_path, KINDS + rows, STATUSES)
    [(status, total, items)] = orders_of(tmp_path / "a", "status", "total", "items")
    assert (status, total, len(items)) == ("cancelled", 12.0, 2)


def test_order_of_cancelled_and_refunded_lines_is_refused_for_its_status(tmp_path):
    rows = "1,ann,2024-01-01,mug,1,5,cancelled\n1,ann,2024-01-01,cup,1,7,returned\n2,bob,2024-01-01,mug,1,5,paid\n"
    report = import_text(tmp_path, KINDS + rows, STATUSES)
    assert report.refused == {NONE_PLACED: 2}
    assert "order.statuses" in remedy(NONE_PLACED)
