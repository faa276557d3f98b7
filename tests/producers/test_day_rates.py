"""Amounts in other currencies are converted by the rate of the day on which their order was placed."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.formats.money_format import ShopMoney, round_amount
from connectors.messages.mapped import Message
from features.errors import ShopstreamError, UsageError
from producers.importing.importer import import_logs
from producers.importing.mapping import parse_mapping
from producers.topic_mapping.mapper import TopicMapper

ORDERS = """
kind: orders
file: {format: csv}
time: {column: at}
currency: {column: cur, rates_file: rates.csv}
order: {rows: %s, id: id, customer: who, total: total, updated: {column: changed}, status: status}
"""
LINES = """
kind: orders
file: {format: csv}
time: {column: at}
currency: {column: cur, rates_file: rates.csv}
order: {rows: line, id: id, customer: who, quantity: n, unit_price: price}
"""
TOPIC = """
kind: orders
from: {topic: shop-orders, format: json}
time: {path: at}
currency: {path: cur, rates_file: rates.csv}
order: {rows: order, id: id, customer: who, total: total, updated: {path: changed}, status: status}
"""
RATES = "day,currency,rate\n2026-03-05,USD,0.9\n2026-03-06,USD,0.5\n2026-03-06,GBP,1.2\n"
EURO = ShopMoney("EUR", 2, "Europe/Berlin")


def mapping(text, rates=RATES, shop=EURO):
    return parse_mapping(text, "m.yaml", {}, shop, rates)


def imported(folder, rows, text=ORDERS % "order", header="id,who,at,changed,status,total,cur", **options):
    log = folder / "log.csv"
    log.write_text("\n".join([header, *rows]) + "\n")
    report = import_logs([(log, "m", mapping(text, **options))], folder / "a", force=True)
    files = sorted((folder / "a").glob("orders/**/*.parquet"))
    return report, pl.concat([pl.read_parquet(file) for file in files]).sort("order_id", "updated_ts")


def test_order_is_converted_by_the_rate_of_the_day_of_the_shops_zone(tmp_path):
    rows = ["1,a,2026-03-05T22:59:59Z,,placed,10,USD", "2,a,2026-03-05T23:00:00Z,,placed,10,USD"]
    report, orders = imported(tmp_path, rows)
    assert orders["total"].to_list() == [9.0, 5.0]
    assert report.revenue_cents == 1400


def test_later_change_is_converted_by_the_rate_of_the_day_of_the_order(tmp_path):
    rows = [
        "1,a,2026-03-05T10:00:00Z,2026-03-05T10:00:00Z,placed,10,USD",
        "1,a,2026-03-05T10:00:00Z,2026-03-06T10:00:00Z,placed,4,USD",
        "1,a,2026-03-05T10:00:00Z,2026-03-20T10:00:00Z,refunded,4,USD",
    ]
    assert imported(tmp_path, rows)[1]["total"].to_list() == [9.0, 3.6, 3.6]


def test_amount_in_the_shops_currency_needs_no_rate(tmp_path):
    assert imported(tmp_path, ["1,a,2020-01-01T10:00:00Z,,placed,10.25,EUR"])[1]["total"].to_list() == [10.25]


def test_order_without_a_rate_of_its_day_is_refused_with_currency_and_day(tmp_path):
    rows = ["1,a,2026-03-05T10:00:00Z,,placed,10,GBP", "2,a,2026-03-06T10:00:00Z,,placed,10,GBP"]
    report, orders = imported(tmp_path, rows)
    assert orders["order_id"].to_list() == ["2"]
    assert report.refused == {"no rate for the day of the order": 1}
    (example,) = report.files[0].examples["no rate for the day of the order"]
    assert example.position() == "line 2, cur = 'GBP': no rate for GBP on 2026-03-05"


def test_lines_of_an_order_have_the_rate_of_its_earliest_line(tmp_path):
    rows = [
        "1,a,2026-03-06T10:00:00Z,2,10,USD",
        "1,a,2026-03-05T10:00:00Z,1,10,USD",
        "2,a,2026-03-05T10:00:00Z,1,7,GBP",
    ]
    report, orders = imported(tmp_path, rows, LINES, "id,who,at,n,price,cur")
    assert orders["total"].to_list() == [27.0]
    assert [item["unit_price"] for item in orders["items"][0]] == [9.0, 9.0]
    (example,) = report.files[0].examples["no rate for the day of the order"]
    assert example.position() == "line 4: no rate for GBP on 2026-03-05"


@pytest.mark.parametrize("currency", ["rates_file: rates.csv", "rates: {USD: 0.5, EUR: 1}"])
def test_order_of_two_currencies_is_refused_whatever_rows_other_orders_have(tmp_path, currency):
    rows = [f"1,a,2026-03-06T10:00:00Z,1,10,{name}" for name in ("USD", "EUR")]
    rows += [f"2,a,2026-03-06T10:00:00Z,1,10,{name}" for name in ("USD", "")]  # a currency may be on any row
    text = LINES.replace("rates_file: rates.csv", currency)
    report, orders = imported(tmp_path, rows, text, "id,who,at,n,price,cur")
    assert report.refused == {"order of several currencies": 2}
    assert orders.select("order_id", "total").rows() == [("2", 10.0)]


def test_zone_of_the_mapping_counts_without_one_of_the_shop_and_utc_without_both(tmp_path):
    rows = ["1,a,2026-03-05T23:30:00Z,,placed,10,USD"]
    zoned = (ORDERS % "order").replace("column: at}", "column: at, zone: Europe/Berlin}", 1)
    assert imported(tmp_path, rows, shop=ShopMoney("EUR"))[1]["total"].to_list() == [9.0]
    assert imported(tmp_path, rows, zoned, shop=ShopMoney("EUR"))[1]["total"].to_list() == [5.0]
    assert imported(tmp_path, rows, zoned, shop=ShopMoney("EUR", 2, "America/New_York"))[1]["total"].to_list() == [9.0]


cents = st.integers(0, 10**9)
rates = st.integers(1, 10**10).map(lambda units: Decimal(units).scaleb(-8))
minutes = st.integers(0, 4 * 24 * 60)


@given(
    st.lists(
        st.tuples(st.decimals(0, 10**7, places=3), st.sampled_from(["EUR", "USD", "GBP"]), minutes),
        min_size=1,
        max_size=12,
    ),
    st.dictionaries(st.tuples(st.integers(0, 4), st.sampled_from(["USD", "GBP"])), rates, min_size=1),
    st.sampled_from(["Europe/Berlin", "America/New_York", "Asia/Kolkata", "UTC"]),
)
@settings(max_examples=40, deadline=None)
def test_topics_convert_any_amount_as_fractions_do(orders, table, zone):
    start = datetime(2026, 3, 28, tzinfo=UTC)  # a night on which Berlin's clocks change

    def day(number):
        return f"2026-03-{27 + number:02d}"

    text = "day,currency,rate\n" + "".join(f"{day(n)},{name},{rate:f}\n" for (n, name), rate in table.items())
    mapper = TopicMapper("m", mapping(TOPIC, text, ShopMoney("EUR", 2, zone)))
    messages, expected = [], {}
    for number, (amount, currency, minute) in enumerate(orders):
        at = datetime.fromtimestamp(start.timestamp() + 60 * minute, UTC)
        value = {
            "id": str(number),
            "who": "a",
            "at": at.isoformat(),
            "total": f"{amount:f}",
            "cur": currency,
            "status": "placed",
        }
        messages.append(Message(json.dumps(value).encode(), f"t-0-{number}"))
        local = at.astimezone(ZoneInfo(zone)).date()
        rate = (
            Decimal(1)
            if currency == "EUR"
            else table.get(((local.toordinal() - datetime(2026, 3, 27).toordinal()), currency))
        )
        expected[number] = (
            f"`cur`: no rate for {currency} on {local}"
            if rate is None
            else round_amount(Fraction(amount) * Fraction(rate), 2)
        )
    mapped = mapper.map(messages)
    totals = {one.message: round_amount(json.loads(one.value)["total"], 2) for one in mapped.records}
    assert totals | mapped.refused == expected
    assert not mapped.left_out


def test_file_and_topic_give_the_same_amounts(tmp_path):
    rows = [
        "1,a,2026-03-05T10:00:00Z,2026-03-06T10:00:00Z,placed,3.335,USD",
        "2,b,2026-03-06T10:00:00Z,,placed,3.3333,GBP",
    ]
    names = ["id", "who", "at", "changed", "status", "total", "cur"]
    values = [{name: cell for name, cell in zip(names, row.split(","), strict=True) if cell} for row in rows]
    mapper = TopicMapper("m", mapping(TOPIC))
    records = mapper.map([Message(json.dumps(one).encode(), f"t-0-{n}") for n, one in enumerate(values)]).records
    assert (
        [json.loads(one.value)["total"] for one in records]
        == imported(tmp_path, rows)[1]["total"].to_list()
        == [3.0, 4.0]
    )


def test_clicks_are_converted_by_their_day(tmp_path):
    text = """
kind: clicks
file: {format: csv}
time: {column: at}
currency: {column: cur, rates_file: rates.csv}
click: {id: id, customer: who, type: type, price: price}
"""
    rows = [f"{day},a,2026-03-0{day}T10:00:00Z,product_view,10,USD" for day in (5, 6, 7)]
    log = tmp_path / "log.csv"
    log.write_text("\n".join(["id,who,at,type,price,cur", *rows]) + "\n")
    report = import_logs([(log, "m", mapping(text))], tmp_path / "a")
    events = pl.concat([pl.read_parquet(file) for file in (tmp_path / "a").glob("events/**/*.parquet")]).sort(
        "event_id"
    )
    assert events["price"].to_list() == [9.0, 5.0]
    assert report.refused == {"no rate for the day of the order": 1}


# --- the file of rates ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("rates", "line", "reason"),
    [
        ("", 1, "columns are missing"),
        ("day,currency\n", 1, "the columns are day, currency"),
        ("day,currency,rate\n", 1, "there is no rate"),
        ("day,currency,rate\n2026-02-30,USD,1\n", 2, "is not a day"),
        ("day,currency,rate\n05.03.2026,USD,1\n", 2, "is not a day"),
        ("day,currency,rate\n2026-03-05,,1\n", 2, "currency is empty"),
        *(
            (f"day,currency,rate\n2026-03-05,USD,{rate}\n", 2, "rate")
            for rate in ("0", "-1", "nan", "1_0", "1e2", "", "0,9x")
        ),
        ("day,currency,rate\n2026-03-05,USD,0.123456789\n", 2, "at most 8 decimals"),
        ("day,currency,rate\n2026-03-05,USD,1,2\n", 2, "there are 4 values"),
        ("day,currency,rate\n2026-03-05,USD,1\n\n2026-03-05,USD,1\n", 4, "two rates for the day, also in line 2"),
        ("day,currency,rate\n2026-03-05,EUR,2\n", 2, "converted into EUR, whose rate is 1"),
        ('day,currency,rate\n2026-03-05,"USD,1\n', 2, "unexpected end"),
    ],
)
def test_wrong_file_of_rates_is_refused_with_its_line(rates, line, reason):
    with pytest.raises(UsageError, match=reason) as error:
        mapping(ORDERS % "order", rates)
    assert f"rates.csv, line {line}: " in error.value.message


def test_file_of_rates_is_read_from_the_folder_of_the_mapping(tmp_path, monkeypatch):
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "rates.csv").write_text("\ufeffrate,day,currency\r\n0.9,2026-03-05,USD\r\n", "utf-8")
    monkeypatch.chdir(tmp_path)
    found = parse_mapping(ORDERS % "order", "shop/m.yaml", {}, EURO)
    assert found.conversion.rates.table.rows() == [(20517, "USD", "0.9")]
    with pytest.raises(UsageError, match=r"There is no file of rates other/rates\.csv"):
        parse_mapping(ORDERS % "order", "other/m.yaml", {}, EURO)


# --- the currency of the shop -----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("currency", "shop", "reason"),
    [
        ("{column: cur, rates_file: rates.csv}", "", "nothing names the currency"),
        ("{column: cur, rates_file: rates.csv, into: USD}", "EUR", "converted into USD, but shop.currency is EUR"),
        ("{column: cur, rates: {USD: 1}}", "EUR", "rate of USD is 1, but shop.currency is EUR"),
        ("{column: cur, rates: {EUR: 1.1, USD: 1}}", "EUR", "rate of EUR is not 1"),
        ("{column: cur, rates: {EUR: 1}, rates_file: rates.csv}", "EUR", "give rates or rates_file"),
        ("{rates_file: rates.csv}", "EUR", "rates need the column"),
        ("{column: cur, into: KWD}", "", "3 decimals"),
        ("{column: cur, into: XYZ}", "", "not a currency"),
    ],
)
def test_mapping_that_does_not_lead_to_the_shops_currency_is_refused(currency, shop, reason):
    text = (ORDERS % "order").replace("{column: cur, rates_file: rates.csv}", currency)
    with pytest.raises(UsageError, match=reason):
        mapping(text, shop=ShopMoney(shop))


@pytest.mark.parametrize("rates", ["{EUR: 1, USD: 0.9}", "{EUR: 1, XOF: 1}", '{"€": 1}'])
def test_mapping_whose_rates_lead_to_the_shops_currency_is_accepted(rates):
    mapping((ORDERS % "order").replace("rates_file: rates.csv", f"rates: {rates}"))


def test_log_in_another_currency_than_the_shops_is_refused(tmp_path):
    text = (ORDERS % "order").replace(", rates_file: rates.csv", "")
    with pytest.raises(ShopstreamError, match="The log is in USD, but amounts are in EUR"):
        imported(tmp_path, ["1,a,2026-03-05T10:00:00Z,,placed,10,USD"], text)
    assert imported(tmp_path, ["1,a,2026-03-05T10:00:00Z,,placed,10,EUR"], text)[0].revenue_cents == 1000


def test_mappings_into_different_currencies_are_refused(tmp_path):
    text = ORDERS % "order"
    euro, yen = (
        mapping(text.replace("rates.csv", f"rates.csv, into: {into}"), shop=ShopMoney()) for into in ("EUR", "JPY")
    )
    with pytest.raises(UsageError, match="into EUR and JPY"):
        import_logs([(tmp_path / "a.csv", "m", euro), (tmp_path / "b.csv", "n", yen)], tmp_path / "a")


def test_currency_without_decimals_rounds_conversions_and_refuses_fractions_of_its_own(tmp_path):
    rates = "day,currency,rate\n2026-03-05,USD,150.25\n"
    rows = [
        f"{number},a,2026-03-05T10:00:00Z,,placed,{total}"
        for number, total in enumerate(("10,USD", "10.00,JPY", "10.50,JPY"))
    ]
    report, orders = imported(tmp_path, rows, rates=rates, shop=ShopMoney("JPY", 0))
    assert orders["total"].to_list() == [1502.0, 10.0]
    assert report.refused == {"total with decimals that JPY does not have": 1}
