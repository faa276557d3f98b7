"""Inspect on small tables: what it reports of columns, what it must not decide alone, and its drafts."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from inspected import HEADER, NOW_MS, ROW, group_of, notes, orders, topics

from connectors.tables.log_files import log_files
from producers.importing.importer import import_logs
from producers.importing.mapping import parse_mapping
from producers.inspection.draft import draft
from producers.inspection.fit import fitting_mappings
from producers.inspection.inspection import inspect_logs
from producers.inspection.report import group_as_dict


# --- columns ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["1", "2", "3"], "integer"), (["1.5", "2", "3"], "decimal"), (["60.00", "5.00", "1.00"], "decimal"),
        (["1.0", "2.0", "3.0"], "integer"), (["2024-03-01", "2024-03-02", "2024-03-03"], "date"),
        (["2024-03-01 10:00", "2024-03-02", "2024-03-03"], "time"), (["a", "a", "b", "b"], "words"),
        (["true", "false", "true"], "boolean"), (["one two", "three four", "five"], "text"),
        (["007", "12", "13"], "id"),
        (["a@b.de", "c@d.de", "e@f.com"], "email"), (['{"a": 1}', '{"b": 2}', "{}"], "JSON object"),
        (['[{"a": 1}]', "[]", "[1]"], "JSON list"), (["10:00", "11:30:05", "12:15"], "time of day"),
        ([" ", "", " "], "empty"),
    ],
)  # fmt: skip
def test_the_type_of_a_column_is_that_of_all_its_values(tmp_path, values, kind):
    assert group_of(tmp_path, orders(extra=values)).column("extra").kind == kind


def test_fill_distinct_values_examples_and_extremes_are_exact(tmp_path):
    column = group_of(tmp_path, orders(extra=["2.50", "", "10", "2.50"])).column("extra")
    assert (column.fill, column.distinct, column.distinct_exact) == (0.75, 2, True)
    assert (column.examples, column.low, column.high) == (("2.50", "10"), "2.50", "10")


@pytest.mark.parametrize("word", ["NULL", "(not set)", "N/A", "-", "\\N", "n/a", "None", "nan", "undefined"])
def test_placeholders_are_counted_with_their_first_line(tmp_path, word):
    group = group_of(tmp_path, orders(total=["1.50", word, "2.50", word]))
    assert group.column("total").placeholders == {word: (2, 3)}
    assert group.column("total").kind == "decimal"
    assert parse_mapping(draft(group).text, "draft").file.missing == (word,)


@pytest.mark.parametrize(
    ("values", "text"),
    [(["007", "12", "013"], "2 values with leading zeros, first '007' (line 2)"),
     (["13085.0", "13086.0", "1"], "2 values that a table of floats printed with .0, first '13085.0' (line 2)"),
     (["1.234E+15", "5", "6"], "1 value in scientific notation, whose digits may be lost, first '1.234E+15' (line 2)")],
)  # fmt: skip
def test_the_forms_of_ids_are_reported(tmp_path, values, text):
    assert text in notes(group_of(tmp_path, orders(customer_id=values)), "customer_id")


@pytest.mark.parametrize(
    ("values", "decimal", "grouping"),
    [
        (["12,50", "3", "1.234,56"], ",", "."), (["12.50", "1,234.56"], ".", ","), (["12.50", "1.234"], ".", None),
        (["1 234,50", "3"], ",", " "), (["1'234.50", "3"], ".", "'"), (["12,5", "1'234"], ",", "'"),
        (["10", "12"], ".", None),
        (["0.125", "7"], ".", None), (["1.234.567", "5"], ",", "."), (["1,234,567", "5"], ".", ","),
    ],
)  # fmt: skip
def test_signs_of_numbers_that_only_one_form_reads_are_decided(tmp_path, values, decimal, grouping):
    group = group_of(tmp_path, orders(total=values))
    mapping = parse_mapping(draft(group).text, "draft")
    assert (mapping.file.decimal, mapping.file.grouping) == (decimal, grouping)
    assert topics(group) == {}


@pytest.mark.parametrize("values", [["1.234", "5.678"], ["1,234", "999"], ["1.234", "5"]])
def test_one_sign_before_three_digits_is_ambiguous(tmp_path, values):
    group = group_of(tmp_path, orders(total=values))
    (question,) = [one for one in draft(group).questions if one.topic == "decimal"]
    assert len(question.choices) > 1
    assert values[0] in question.text
    assert "CHECK: Every number of total fits several forms" in draft(group).text


def test_a_value_of_the_other_form_is_named_with_its_line(tmp_path):
    group = group_of(tmp_path, orders(total=["12,50", "12.50", "1.234,56"]))
    (question,) = [one for one in draft(group).questions if one.topic == "decimal"]
    assert "'12.50' (line 3)" in question.text


def test_a_currency_sign_is_stripped_by_an_expression_that_a_person_confirms(tmp_path):
    group = group_of(tmp_path, orders(total=["€12.50", "€3.00", "7"]))
    made = draft(group)
    assert topics(group)["currency"] == ("€",)
    assert parse_mapping(made.text, "draft").order.total.match.startswith("^(?:€)?")


@pytest.mark.parametrize(
    ("values", "revenue_cents"),
    [(["€1,234.50", "€3.00", "7"], 124_450), (["12,50 €", "1.234,00\u00a0€"], 124_650), (["EUR 5", "EUR 7.25"], 1_225)],
)  # fmt: skip
def test_amounts_with_a_currency_sign_are_imported_exactly(tmp_path, values, revenue_cents):
    made = draft(group_of(tmp_path, orders(total=values)))
    log = (tmp_path / "log.csv", "m", parse_mapping(made.text, "m"))
    report = import_logs([log], tmp_path / "out", now_ms=NOW_MS)
    assert (report.revenue_cents, report.refused) == (revenue_cents, {})


def test_an_amount_below_0_that_inspect_has_not_read_is_refused_and_not_made_positive(tmp_path):
    made = draft(group_of(tmp_path, orders(total=["€12.50", "€3.00"])))
    (tmp_path / "later.csv").write_text(orders(total=["-€5.00", "€-5.00", "(€5.00)", "€1.00"]), "utf-8")
    log = (tmp_path / "later.csv", "m", parse_mapping(made.text, "m"))
    report = import_logs([log], tmp_path / "out", now_ms=NOW_MS)
    assert (report.revenue_cents, sum(report.refused.values())) == (100, 3)


def test_signs_of_two_currencies_are_never_stripped(tmp_path):
    group = group_of(tmp_path, orders(total=["€12.50", "$3.00"]))
    assert set(topics(group)["currency"]) == {"€", "$"}
    assert parse_mapping(draft(group).text, "draft").order.total == "total"


def test_amounts_of_two_columns_in_two_currencies_are_never_stripped(tmp_path):
    group = group_of(tmp_path, orders(total=["€12.50", "€3.00"], unit_price=["$3.00", "$1.00"]))
    order = parse_mapping(draft(group).text, "draft").order
    assert (order.total, order.unit_price) == ("total", "unit_price")


# --- times ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("values", "format_"),
    [
        (["2024-03-01", "2024-03-02 10:00"], "iso"), (["2024-03-01T10:00:00Z", "2024-03-01 10:00:00+02"], "iso"),
        (["25/03/2024", "03/04/2024"], "%d/%m/%Y"), (["03/25/2024", "03/04/2024"], "%m/%d/%Y"),
        (["25.03.2024 10:15", "3.4.2024 9:05"], "%d.%m.%Y %H:%M"),
        (["3/25/2024 3:05 PM", "3/4/2024 11:00 AM"], "%m/%d/%Y %I:%M %p"),
        (["7 Mar 2024", "17 Dec 2024"], "%d %b %Y"), (["Thu, 07 Mar 2024 10:00:00 +0100"], "%a, %d %b %Y %H:%M:%S %z"),
        (["07/Mar/2024:10:00:00 +0000"], "%d/%b/%Y:%H:%M:%S %z"), (["Mar 7, 2024"], "%b %d, %Y"),
        (["1709287200", "1709287260"], "epoch_s"), (["1709287200000"], "epoch_ms"), (["1709287200000000"], "epoch_us"),
        (["1709287200000000000"], "epoch_ns"), (["45352", "45353.5"], "excel_days"),
        (["20240301101500"], "%Y%m%d%H%M%S"),
        (["20240301"], "iso"), (["2024/03/07 10:00"], "%Y/%m/%d %H:%M"),
    ],
)  # fmt: skip
def test_the_format_of_times_reads_all_values(tmp_path, values, format_):
    group = group_of(tmp_path, orders(created_at=values))
    assert "date order" not in topics(group)
    (time,) = parse_mapping(draft(group).text, "draft").time
    assert time.format == format_


@pytest.mark.parametrize(
    ("values", "choices"),
    [(["03/04/2024", "05/06/2024"], {"%d/%m/%Y", "%m/%d/%Y"}), (["03.04.24"], {"%d.%m.%y", "%m.%d.%y", "%y.%m.%d"}),
     (["25.04.24"], {"%d.%m.%y", "%y.%m.%d"})],
)  # fmt: skip
def test_an_order_of_day_and_month_that_no_value_decides_is_a_question(tmp_path, values, choices):
    group = group_of(tmp_path, orders(created_at=values))
    assert set(topics(group)["date order"]) == choices
    assert "A value with a day above 12 would decide" in draft(group).text.replace("\n  # ", " ")


def test_the_value_that_decides_the_order_of_day_and_month_is_named(tmp_path):
    group = group_of(tmp_path, orders(created_at=["03/04/2024", "25/04/2024"]))
    assert "%m/%d/%Y does not read '25/04/2024' (line 3)" in notes(group, "created_at")


def test_times_of_two_forms_are_named_and_not_drafted_as_one(tmp_path):
    values = ["01.03.2024"] * 20 + ["2024-03-01"]
    group = group_of(tmp_path, orders(created_at=values))
    assert "'2024-03-01' (line 22)" in next(one.text for one in draft(group).questions if one.topic == "time form")


def test_zone_words_offsets_dates_future_and_early_times_are_counted(tmp_path):
    values = [
        "2024-06-01 12:00:00 PDT",
        "2024-06-01 12:00:00 UTC",
        "2024-06-01T12:00+02:00",
        "2024-06-01",
        "1985-01-01",
        "2204-01-01",
    ]
    group = group_of(tmp_path, orders(created_at=values))
    text = notes(group, "created_at")
    for part in ("PDT (1)", "UTC (1)", "1 value with an offset", "3 values are dates without a time",
                 "1 value before 1990, first '1985-01-01' (line 6)",
                 "1 value in the future, first '2204-01-01' (line 7)"):  # fmt: skip
        assert part in text
    assert topics(group)["zone words"] == ("PDT",)


@pytest.mark.parametrize(("word", "offset"), [("PDT", "-07:00"), ("CEST", "+02:00")])
def test_a_zone_word_of_one_meaning_gets_a_proposal(tmp_path, word, offset):
    group = group_of(tmp_path, orders(created_at=[f"2024-06-01 12:00:00 {word}"]))
    (time,) = parse_mapping(draft(group).text, "draft").time
    assert time.zones == {word: offset}


@pytest.mark.parametrize("word", ["CST", "IST", "BST", "XYZ"])
def test_a_zone_word_of_several_meanings_gets_none(tmp_path, word):
    group = group_of(tmp_path, orders(created_at=[f"2024-06-01 12:00:00 {word}"]))
    (time,) = parse_mapping(draft(group).text, "draft").time
    assert time.zones == {}
    assert f"# {word}: ?" in draft(group).text


def test_local_times_ask_for_the_zone_and_times_with_offsets_do_not(tmp_path):
    local = draft(group_of(tmp_path, orders(created_at=["2024-03-01 10:00"])))
    zoned = draft(group_of(tmp_path, orders(created_at=["2024-03-01T10:00:00Z"])))
    assert [one.topic for one in local.questions] == ["zone"]
    assert zoned.questions == []


@pytest.mark.parametrize("name", ["phone", "customer_id"])
def test_ten_digits_are_a_time_only_where_the_name_is_that_of_a_time(tmp_path, name):
    assert group_of(tmp_path, orders(**{name: ["1709287200", "1709287201"]})).column(name).kind == "id"


# --- drafts -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("header", "row", "columns"),
    [
        ("Order Number,Email,Order Date,Grand Total", "1,a@b.de,2024-03-01,5",
         {"id": "Order Number", "customer": "Email", "time": "Order Date", "total": "Grand Total"}),
        ("bestellnr,kundennr,datum,betrag", "1,k1,2024-03-01,5",
         {"id": "bestellnr", "customer": "kundennr", "time": "datum", "total": "betrag"}),
        ("InvoiceNo,StockCode,Quantity,InvoiceDate,UnitPrice,CustomerID", "5,A,1,2024-03-01,2.5,17850",
         {"id": "InvoiceNo", "customer": "CustomerID", "time": "InvoiceDate", "unit_price": "UnitPrice",
          "quantity": "Quantity", "product": "StockCode"}),
        ("event_time,event_type,product_id,price,user_id,user_session", "2024-03-01 00:00:00 UTC,view,1,2.5,7,s",
         {"type": "event_type", "customer": "user_id", "time": "event_time", "session": "user_session",
          "product": "product_id", "price": "price"}),
        ("timestamp,visitorid,event,itemid,transactionid", "1433221332117,257597,view,355908,",
         {"type": "event", "customer": "visitorid", "time": "timestamp", "product": "itemid"}),
    ],
)  # fmt: skip
def test_columns_are_recognised_by_their_names(tmp_path, header, row, columns):
    made = draft(group_of(tmp_path, f"{header}\n{row}\n"))
    assert made.recognition.columns == columns
    assert made.complete
    parse_mapping(made.text, "draft")


def test_words_of_a_status_are_listed_with_counts_and_unknown_ones_have_no_entry(tmp_path):
    group = group_of(tmp_path, orders(status=["paid", "paid", "Cancelled", "weird", "pending"]))
    text = draft(group).text
    assert parse_mapping(text, "draft").order.statuses == {"paid": "placed", "Cancelled": "cancelled"}
    assert "paid: placed   # 2 rows" in text
    assert "# weird: ?   CHECK: 1 row" in text
    assert "not paid yet" in text


def test_a_missing_required_part_is_a_comment_with_candidates(tmp_path):
    made = draft(group_of(tmp_path, "order_id,alias,created_at,total\n1,ann,2024-03-01,5\n2,bob,2024-03-02,5\n"))
    assert made.complete is False
    assert "# customer: ?   CHECK: candidates: alias" in made.text


def test_two_columns_of_equal_name_are_a_question(tmp_path):
    group = group_of(tmp_path, orders(**{"customer id": ["x", "y"]}))
    assert set(topics(group)["column"]) == {"customer_id", "customer id"}


def test_rows_that_share_an_id_and_have_products_are_lines(tmp_path):
    content = "order_id,customer_id,created_at,total,sku,quantity\n1,ann,2024-03-01,10,A,1\n1,,2024-03-01,,B,1\n"
    assert parse_mapping(draft(group_of(tmp_path, content)).text, "draft").order.rows == "line"


def test_totals_that_differ_within_an_order_are_a_question(tmp_path):
    content = "order_id,customer_id,created_at,amount,sku\n1,ann,2024-03-01,10,A\n1,ann,2024-03-01,7,B\n"
    group = group_of(tmp_path, content)
    assert "total" in topics(group)


def test_json_lines_have_paths_and_a_list_of_lines(tmp_path):
    record = {"id": 1, "customer": {"id": "c1"}, "created_at": "2024-03-01T10:00:00Z", "total_price": "10.50",
              "line_items": [{"sku": "A", "quantity": 2, "price": "5.25"}]}  # fmt: skip
    group = group_of(tmp_path, "\n".join(json.dumps(record | {"id": n}) for n in range(3)), "orders.jsonl")
    made = draft(group)
    assert made.recognition.lines == (
        "line_items",
        {"product": ".sku", "quantity": ".quantity", "unit_price": ".price"},
    )
    mapping = parse_mapping(made.text, "draft")
    assert (mapping.order.customer, mapping.order.lines.list) == ("customer.id", "line_items")


@pytest.mark.parametrize(
    ("text", "records"),
    [('[{"id": 1}, {"id": 2}]', None), ('{"data": {"orders": [{"id": 1},\n{"id": 2}]}}', "data.orders")],
)
def test_an_array_and_a_list_in_a_document_are_recognised(tmp_path, text, records):
    group = group_of(tmp_path, text, "x.json")
    assert (group.form.how.records, group.rows) == (records, 2)


def test_a_document_with_two_lists_asks_for_the_records(tmp_path):
    group = group_of(tmp_path, '{"a": [{"id": 1},\n{"id": 2}], "b": [{"x": 1}]}', "x.json")
    assert topics(group)["records"] == ("a", "b")


def test_types_of_parquet_are_reported_and_times_need_no_format(tmp_path):
    pl.DataFrame({"no": [1, 2], "cust": [17850.0, None],
                  "when": pl.Series(["2024-03-01", "2024-03-02"]).str.to_datetime(),
                  "total": [5.0, 7.5]}).write_parquet(tmp_path / "x.parquet")  # fmt: skip
    group = group_of(tmp_path, (tmp_path / "x.parquet").read_bytes(), "y")
    assert group.form.types["total"] == "double"
    assert group.column("when").kind == "time"
    assert group_as_dict(group, draft(group), [])["columns"][0]["file_type"] == "int64"


@pytest.mark.parametrize(
    ("folder", "file"),
    [("ga4", "events_20260504.jsonl"), ("matomo", "visits.json"), ("olist", "olist_orders_dataset.csv"),
     ("online-retail-ii-csv", "online_retail_II.csv"), ("posthog", "events.jsonl"), ("rees46", "2019-Nov.csv"),
     ("retailrocket", "events.csv"), ("segment", "track.jsonl"), ("shopify-orders", "orders_export_1.csv"),
     ("woocommerce-orders", "orders-export.csv")],
)  # fmt: skip
def test_the_ready_mapping_of_a_source_fits_its_file_best(folder, file):
    source = Path(__file__).parents[1] / "mappings" / folder / file
    (group,) = inspect_logs(log_files([source]), None, NOW_MS).groups
    assert fitting_mappings(group)[0].name == folder


def test_numbers_with_several_points_are_no_amounts(tmp_path):
    assert group_of(tmp_path, orders(extra=["10.0.0.1", "203.0.113.0"])).column("extra").kind == "text"


def test_ready_mappings_that_fit_are_ranked_by_matched_columns(tmp_path):
    fits = fitting_mappings(group_of(tmp_path, HEADER + ROW))
    assert (fits[0].name, len(fits[0].columns), fits[0].differences) == ("orders-csv", 4, ())
    assert fitting_mappings(group_of(tmp_path, "a,b\n1,2\n")) == []
    assert fitting_mappings(group_of(tmp_path, "order_id,created_at,total\n1,2024-03-01,5\n")) == []
    assert fitting_mappings(group_of(tmp_path, HEADER.replace(",", ";") + ROW.replace(",", ";")))[0].differences == (
        "separator",
    )


# --- names ------------------------------------------------------------------------------------------------------------
def test_a_name_that_contains_a_fields_name_is_a_question(tmp_path):
    made = draft(
        group_of(tmp_path, "Order Number,Email (Billing),Order Date,Order Total Amount\n1,a@b.de,2024-03-01,5\n")
    )
    assert made.recognition.columns["total"] == "Order Total Amount"
    assert "Order Total Amount is recognised by a part of its name" in made.text
    assert "column" in {one.topic for one in made.questions}


def test_lines_without_a_total_or_a_price_lack_the_total(tmp_path):
    made = draft(
        group_of(tmp_path, "order_id,customer_id,created_at,sku,quantity\n1,a,2024-03-01,A,1\n1,a,2024-03-01,B,1\n")
    )
    assert made.complete is False
    assert "total" in made.recognition.missing


def test_a_column_of_clocks_next_to_dates_is_named(tmp_path):
    made = draft(group_of(tmp_path, orders(created_at=["2024-03-01", "2024-03-02"], hour=["10:00", "11:30"])))
    assert "hour has times of day, which a mapping cannot join to a date" in made.text.replace("\n  # ", " ")


@pytest.mark.parametrize(
    ("header", "kind"),
    [("customer_id,timestamp,product_id", "clicks"), ("customer_id,timestamp,amount", "orders")],
)
def test_rows_without_an_amount_are_clicks(tmp_path, header, kind):
    assert draft(group_of(tmp_path, f"{header}\nann,2024-03-01T10:00:00Z,5\n")).recognition.kind == kind


def test_guests_are_counted_only_in_orders_without_any_customer(tmp_path):
    content = "order_id,customer_id,created_at,total,sku\n1,ann,2024-03-01,10,A\n1,,2024-03-01,,B\n2,,2024-03-01,5,A\n"
    assert draft(group_of(tmp_path, content)).recognition.guests == 1


def test_signs_of_amounts_are_drafted_although_no_column_is_the_total(tmp_path):
    content = (
        "order_id;customer_id;created_at;Brutto;Netto\n1;ann;2024-03-01;1.000,50;900,10\n2;bob;2024-03-02;2,50;2,00\n"
    )
    made = draft(group_of(tmp_path, content))
    assert made.recognition.missing == {"total": ["Brutto", "Netto"]}
    assert '  decimal: ","' in made.text.splitlines()


def test_header_repeated_at_the_end_is_no_line_of_totals(tmp_path):
    group = group_of(tmp_path, HEADER + ROW + HEADER + ROW)
    assert group.summaries == []
    assert "totals" not in draft(group).text


def clicks(name, words):
    return "".join(
        json.dumps({"id": f"e{number}", "ev": {name: word}, "at": 1704103200000 + number, "user": "ann",
                    "products": [{"sku": "a", "price": 5, "qty": 1}]}) + "\n"
        for number, word in enumerate(words)
    )  # fmt: skip


def test_column_of_event_types_makes_a_log_clicks_whatever_its_name(tmp_path):
    made = draft(group_of(tmp_path, clicks("name", ["view", "cart", "buy", "other", "view"])))
    assert (made.recognition.kind, made.recognition.columns["type"]) == ("clicks", "ev.name")
    assert made.recognition.columns["id"] == "id"


def test_two_event_types_among_words_do_not_make_a_log_clicks(tmp_path):
    made = draft(group_of(tmp_path, clicks("name", ["view", "buy", "a", "b", "c"])))
    assert made.recognition.kind == "orders"
    assert made.recognition.columns["id"] == "id"


@pytest.mark.parametrize("name", ["*", "^x$"])
def test_column_whose_name_is_a_pattern_gets_another_name_in_the_draft(tmp_path, name):
    group = group_of(tmp_path, f"order_id,customer_id,created_at,total,{name}\n1,ann,2024-03-01,10,x\n")
    assert parse_mapping(draft(group).text, "draft").file.columns[4] == "column 5"
    assert group.column("column 5").examples == ("x",)
