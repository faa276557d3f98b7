"""Every figure that appears twice is computed twice and compared, on the real Elasticsearch as the page asks it.

The history is longer than three months and ends 15 days before now; there are more products, categories, countries,
channels, methods and segments than any panel shows.
"""

from __future__ import annotations

import uuid
from decimal import Decimal

import pytest
from elasticsearch import Elasticsearch
from panels.consistent_shop import CATEGORIES, END, NOW, consistent_documents
from panels.documents import put
from panels.test_figures import by_key, interval_in, is_nothing, labelled, rows_in_kibana, same

from connectors.elasticsearch.search import Searcher
from consumers.index_definitions import run_definitions
from dashboards.boards import DASHBOARDS
from dashboards.panels import OTHER, Span, Terms
from dashboards.queries import query, rows
from dashboards.web.boards import board_data
from dashboards.web.parameters import parse_query
from dashboards.web.work_list import work_list
from features.calendar import Calendar
from features.schema import NOT_KNOWN

DAY = 86_400_000
BOARDS = {one.id: one for one in DASHBOARDS}
PANELS = {panel.id: panel for board in DASHBOARDS for panel in board.panels}
REQUESTS = {
    "90 days": {"last": ["90d"], "compare": ["previous"]},
    "one country": {"last": ["90d"], "compare": ["previous"], "country": ["C00"]},
    "days": {
        "from": ["2026-01-15"],
        "to": ["2026-04-30"],
        "compare": ["custom"],
        "compare_from": ["2025-11-01"],
        "compare_to": ["2026-01-14"],
    },
    "Berlin": {"last": ["90d"], "compare": ["custom"], "compare_from": ["2025-12-01"], "compare_to": ["2026-01-20"]},
}
CALENDARS = {"Berlin": Calendar("Europe/Berlin", "sunday")}


@pytest.fixture(scope="module")
def made():
    documents = consistent_documents()
    return {one.name: documents.get(one.name, []) for one in run_definitions(contact=False)}


@pytest.fixture(scope="module")
def search(servers, made):
    run = f"t{uuid.uuid4().hex[:10]}"
    with Elasticsearch(**servers.elasticsearch.client_options(), request_timeout=120) as client:
        put(client, run, made)
        try:
            yield Searcher(client, run)
        finally:
            client.indices.delete(index=",".join(client.indices.get(index=f"{run}-*")))
            for template in client.indices.get_index_template(name=f"{run}-*")["index_templates"]:
                client.indices.delete_index_template(name=template["name"])


class Page:
    """Figures of every panel for one request, by the labels of their columns."""

    def __init__(self, search, parameters, calendar):
        self._panels, self.span = {}, None
        for board in DASHBOARDS:
            answer = board_data(board, parse_query(board, parameters), search, NOW, calendar)
            self._panels |= answer["panels"]
            if board.id == "now":
                self.span, self.compared = (answer["from_ms"], answer["to_ms"]), answer["compare"]

    def data(self, name):
        assert "problem" not in self._panels[name], self._panels[name]
        return self._panels[name]

    def rows(self, name, kind="rows"):
        data = self.data(name) if kind == "rows" else self.data(name)["compare"]
        return [dict(zip(PANELS[name].labels, row, strict=True)) for row in data["rows"]]

    def tile(self, name, kind="rows"):
        ((value,),) = (self.data(name) if kind == "rows" else self.data(name)["compare"])["rows"]
        return value

    def total(self, name, label, kind="rows"):
        return cents(sum(cents(row[label]) for row in self.rows(name, kind)))


def cents(value):
    """Amounts and counts are exact: a float is written as its shortest decimal."""
    return Decimal(str(value or 0)) if not isinstance(value, Decimal) else value


@pytest.fixture(scope="module", params=list(REQUESTS))
def page(request, search):
    return Page(search, REQUESTS[request.param], CALENDARS.get(request.param, Calendar()))


KINDS = ["rows", "compare"]


# --- parts and wholes ---


@pytest.mark.parametrize("kind", KINDS)
def test_revenue_of_tiles_charts_and_breakdowns_is_one(page, kind):
    revenue = cents(page.tile("revenue-total", kind))
    assert revenue == cents(page.tile("now-revenue", kind))
    assert revenue > 0
    for name in ("now-revenue-trend", "revenue-channel", "revenue-country", "revenue-payment"):
        if kind == "rows" or len(page.rows(name)) == len(page.rows(name, kind)):  # no interval without counterpart
            assert page.total(name, "Revenue", kind) == revenue, name


@pytest.mark.parametrize("kind", KINDS)
def test_orders_and_average_order_value_agree(page, kind):
    orders = page.tile("revenue-orders", kind)
    assert orders == page.tile("now-orders", kind)
    for name in ("revenue-channel", "revenue-payment"):
        assert page.total(name, "Orders", kind) == orders
    average = page.tile("revenue-basket", kind)
    assert average == page.tile("now-basket", kind)
    assert average == pytest.approx(page.tile("revenue-total", kind) / orders, abs=0.0051)


@pytest.mark.parametrize("kind", KINDS)
def test_revenue_of_lines_is_that_of_products_and_of_categories(page, kind):
    revenue = cents(page.tile("products-revenue", kind))
    assert revenue == cents(page.tile("revenue-total", kind)), "orders of this shop are the sums of their lines"
    assert page.total("products-category-revenue", "Revenue", kind) == revenue
    shown = {row["Category"] for row in page.rows("products-category-revenue")}
    assert OTHER in shown
    assert len(shown) < CATEGORIES
    if kind == "rows":
        assert page.total("revenue-category-trend", "Revenue") == revenue


def test_returned_value_agrees(page):
    returned = page.total("revenue-payment", "Cancelled & refunded value")
    assert returned == page.total("revenue-returns-trend", "Cancelled & refunded value")
    assert returned > 0


@pytest.mark.parametrize(
    ("name", "chart", "label"),
    [
        ("now-revenue", "now-revenue-trend", "Revenue"), ("now-sessions", "now-visits", "Visits"),
        ("now-abandoned", "funnel-abandoned", "Abandoned carts"), ("revenue-total", "now-revenue-trend", "Revenue"),
    ],
)  # fmt: skip
def test_small_chart_and_chart_add_up_to_the_tile(page, name, chart, label):
    value = cents(page.tile(name))
    assert sum(cents(one) for _, one in page.data(name)["spark"]) == value
    assert page.total(chart, label) == value


def test_live_revenue_under_the_forecast_is_that_of_the_tile(search):
    page = Page(search, REQUESTS["90 days"], Calendar())
    assert page.total("revenue-forecast", "Revenue") == cents(page.tile("revenue-total"))


@pytest.mark.parametrize("kind", KINDS)
def test_funnel_steps_rates_and_breakdowns_agree(page, kind):
    visits = page.tile("now-sessions", kind)
    steps = [row["Visits"] for row in page.rows("funnel-steps", kind)]
    assert steps[0] == visits > 0
    assert page.total("funnel-lost", "Visits", kind) + steps[-1] == visits
    for n, stage in enumerate(("view", "cart", "checkout", "purchase"), 1):
        assert page.tile(f"funnel-rate-{stage}", kind) == pytest.approx(steps[n] / steps[n - 1])
    assert page.tile("now-conversion", kind) == pytest.approx(steps[-1] / visits)
    for name in ("funnel-device", "funnel-channel", "funnel-country", "funnel-of-first", "funnel-median"):
        assert page.total(name, "Visits", kind) == visits
    assert page.total("funnel-category", "Visits with a product view", kind) == steps[1]


@pytest.mark.parametrize("name", ["funnel-device", "funnel-channel", "funnel-country"])
def test_rates_of_parts_average_to_those_of_the_whole(page, name):
    orders = sum(row["Visits"] * (row["Conversion rate"] or 0) for row in page.rows(name))
    assert orders == pytest.approx(page.rows("funnel-steps")[-1]["Visits"])
    views = sum(row["Visits"] * (row["Visit → product view"] or 0) for row in page.rows(name))
    assert views == pytest.approx(page.rows("funnel-steps")[1]["Visits"])


def test_no_step_is_whole_by_construction(page):
    for name, panel in PANELS.items():
        if name.startswith("funnel") and panel.chart == "table":
            for row in page.rows(name):
                shares = [row[figure.label] for figure in panel.measures if figure.unit == "percent"]
                assert shares.count(1.0) < len(shares) or not shares, (name, row)
    for figure in ("Product view → cart", "Product view → order"):
        assert any(0 < (row[figure] or 0) < 1 for row in page.rows("funnel-category"))


# --- customers ---


def test_risk_of_tiles_segments_and_actions_agree(page):
    risky = [row for row in page.rows("churn-segments") if row["Risk"] in ("high", "critical")]
    at_risk, inactive = page.tile("churn-customers"), page.tile("churn-inactive")
    assert sum(row["Customers"] for row in risky) == at_risk + inactive
    assert min(at_risk, inactive) > 0
    worth = [row for row in page.rows("churn-worth") if row["Risk"] in ("high", "critical")]
    label = "Revenue, last 12 months"
    revenue = cents(page.tile("churn-revenue"))
    assert sum(cents(row[label]) for row in worth) == revenue + cents(page.tile("churn-inactive-revenue"))
    assert page.total("churn-actions", "At risk") == at_risk
    whole = page.total("churn-actions", label)
    assert page.tile("churn-share") == pytest.approx(float(revenue / whole))


def test_work_list_has_the_customers_of_the_tiles(search):
    page = Page(search, REQUESTS["90 days"], Calendar())
    ranked = work_list(search, NOW, 0, 20)
    assert ranked.total == page.tile("churn-customers")
    assert ranked.inactive == page.tile("churn-inactive")


def test_both_grids_and_the_segments_have_the_same_customers(page):
    scored = page.total("churn-segments", "Customers")
    assert page.total("churn-rfm", "Customers") == scored > 0
    cells = {(row[0], row[1]): row[2] for row in page.data("churn-rfm")["rows"]}
    mean = {(row[0], row[1]): row[2] for row in page.data("churn-rfm-risk")["rows"]}
    assert sum(cells[key] * value for key, value in mean.items() if value) == pytest.approx(page.tile("churn-expected"))


def test_expected_churn_of_the_tile_is_that_of_the_newest_day(search):
    page = Page(search, REQUESTS["90 days"], Calendar())
    trend = page.rows("churn-segment-trend")
    newest = max(row["Day"] for row in trend)
    assert sum(row["Expected churn"] for row in trend if row["Day"] == newest) == pytest.approx(
        page.tile("churn-expected")
    )


# --- products ---


def test_top_products_are_those_of_all_months(search, made):
    page = Page(search, {"last": ["120d"]}, Calendar())
    sold = {}
    for line in made["order-items"]:
        if page.span[0] <= line["ts"] < page.span[1] and line["status"] == "placed":
            sold[line["product_id"]] = sold.get(line["product_id"], 0) + cents(line["amount"])
    expected = sorted(sold.items(), key=lambda one: (-one[1], one[0]))[:25]
    assert [(row["Product"], cents(row["Revenue"])) for row in page.rows("products-top")] == expected
    assert len(sold) > 100
    assert "approximate" not in page.data("products-top")


def test_declining_products_have_the_revenue_of_the_lists_of_products(search):
    page = Page(search, {"last": ["30d"], "compare": ["previous"]}, Calendar())
    declining = {row["Product"]: row for row in page.rows("products-falling")}
    latest = {row["Product"]: row["Revenue"] for row in page.rows("products-top")}
    before = {row["Product"]: row["Revenue"] for row in page.rows("products-top", "compare")}
    both = declining.keys() & latest.keys()
    assert len(both) > 5
    for product in both:
        row = declining[product]
        assert (row["Last 30 days"], row["Previous 30 days"]) == (latest[product], before[product])
        assert cents(row["Change"]) == cents(latest[product]) - cents(before[product])


@pytest.mark.parametrize("kind", KINDS)
def test_products_of_a_category_add_up_to_the_category(search, kind):
    whole = Page(search, REQUESTS["90 days"], Calendar())
    row = whole.rows("products-category-revenue", kind)[0]
    name = row["Category"]
    one = Page(search, REQUESTS["90 days"] | {"category": [name]}, Calendar())
    assert one.total("products-top", "Revenue", kind) == cents(row["Revenue"])
    assert cents(one.tile("products-revenue", kind)) == cents(row["Revenue"])
    views = {row["Category"]: row["Product views"] for row in one.rows("products-categories", kind)}
    assert one.total("products-conversion", "Product views", kind) == views[name] > 0


def test_events_of_categories_add_up_to_the_chart(page):
    for figure in ("Product views", "Add-to-carts", "Purchases"):
        assert page.total("products-categories", figure) == page.total("products-trend", figure)
    assert NOT_KNOWN in {row["Category"] for row in page.rows("products-categories")}
    assert page.total("products-trend", "Purchases") / page.total("products-trend", "Add-to-carts") == pytest.approx(
        Decimal(page.tile("products-cart"))
    )


# --- retention ---


def test_month_1_of_tile_cohorts_and_channels_agree(page):
    cells = [row for row in page.rows("retention-cohorts") if row["Months since first order"] == 1]
    size = sum(row["Customers"] for row in cells)
    assert page.tile("retention-next-month") == pytest.approx(sum(r["Retained"] * r["Customers"] for r in cells) / size)
    assert {row["First order in"] for row in page.rows("retention-cohorts")}.isdisjoint({"2025-10"}), "not known"
    third = [row for row in page.rows("retention-cohorts") if row["Months since first order"] == 3]
    assert page.total("retention-channels", "Customers") == sum(row["Customers"] for row in third)
    sizes = {row["First order in"]: row["Customers"] for row in page.rows("retention-sizes")}
    months = {row["First order in"]: row["Customers"] for row in page.rows("retention-cohort-revenue")}
    assert sizes == months
    assert len(sizes) > 3
    spent = [row for row in page.rows("retention-cohort-revenue") if row["Months since first order"] == 3]
    assert sum(row["Revenue per customer"] * row["Customers"] for row in spent) == pytest.approx(
        sum(row["Revenue per customer"] * row["Customers"] for row in page.rows("retention-channels")), rel=1e-3
    )


def test_net_of_customers_is_gains_less_losses(page):
    for row in page.rows("retention-movement"):
        assert row["Net"] == row["New"] + row["Reactivated"] + row["Lost"]
    assert any(row["Lost"] < 0 for row in page.rows("retention-movement"))


def test_new_returning_and_unknown_customers_have_the_revenue_of_all_cohorts(page, made):
    labels = ("New customers", "Returning customers", "Not known")
    countries = {"C00"} if any(row["Country"] == "C00" for row in page.rows("revenue-country")) and len(
        page.rows("revenue-country")
    ) == 1 else {"C00", "C01"}  # fmt: skip
    everything = sum(cents(one["revenue"]) for one in made["cohorts"] if one["country"] in countries)
    assert sum(page.total("revenue-new", label) for label in labels) == everything


# --- the same in Kibana ---


@pytest.mark.parametrize(("board", "panel"), [(b, p) for b in DASHBOARDS for p in b.panels], ids=lambda one: one.id)
@pytest.mark.timeout(120)
def test_figures_of_the_page_equal_kibanas_reading_of_the_file(board, panel, search, made):
    span = Span.ending(END, 100)
    body = query(panel, span)
    page = by_key(panel, rows(panel, search(panel.data.index, body)))
    kibana = by_key(panel, labelled(panel, rows_in_kibana(board, panel, made, span, interval_in(body), "UTC")))
    ranked = any(isinstance(one, Terms) and one.by for one in panel.dimensions)
    assert [key for key in kibana.keys() - page.keys() if not is_nothing(kibana[key])] == [] or not ranked
    for key, values in page.items():
        if key not in kibana:
            assert is_nothing(values), key
            continue
        for figure, value, expected in zip(panel.measures, values, kibana[key], strict=True):
            if panel.chart == "heatmap" and figure is not panel.measures[0]:
                continue
            tolerance = 0.1 if getattr(figure, "op", "") == "percentile" else 1e-9
            assert same(value, expected, tolerance), (key, figure.label, value, expected)
