"""Parts without a server: CSV, shared answers, groups of a customer table."""

from __future__ import annotations

import csv
import io
import itertools
import re
import threading
from dataclasses import replace
from datetime import UTC, datetime
from importlib import resources

import polars as pl
import pytest

from connectors.formats.money_format import PLAIN_MONEY
from dashboards.boards import DASHBOARDS
from dashboards.web import segments as segment_routes
from dashboards.web.cache import ENTRIES_MAX, RecentCache
from dashboards.web.csv import csv_text
from dashboards.web.declaration import COLOURS_OF, declaration
from dashboards.web.segments import CUSTOMER_TABLE, FIGURES, GROUPS_MAX, groups
from features.errors import ShopstreamError, UsageError
from features.scores.score import RISKS


# --- CSV --------------------------------------------------------------------------------------------------------------
def read(text):
    return list(csv.reader(io.StringIO(text)))


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@x", "\t=1", "\r=1", "\n=1", "=cmd|' /C calc'!A0"])
def test_csv_cell_that_begins_a_formula_is_quoted(cell):
    assert read(csv_text([cell], [[cell], [[cell, "b"]]], ["text"], PLAIN_MONEY)) == [
        [f"'{cell}"],
        [f"'{cell}"],
        [f"'{cell}, b"],
    ]


def test_csv_values_are_written_unchanged():
    rows = [[None, True, -1.5, 'say "hi", <b>', 1_779_280_440_123], [None, False, 0, "", None]]
    assert read(csv_text(list("abcde"), rows, ["text"] * 4 + ["time"], PLAIN_MONEY))[1:] == [
        ["", "true", "-1.5", 'say "hi", <b>', "2026-05-20T12:34:00.123+00:00"], ["", "false", "0", "", ""],
    ]  # fmt: skip


# --- the declaration ---


def declared():
    boards = declaration(DASHBOARDS, "shop", PLAIN_MONEY)["boards"]
    return {panel["id"]: panel for board in boards for panel in board["panels"]}


@pytest.mark.parametrize(
    ("panel", "badges", "is_compared"),
    [
        ("revenue-total", [], True),
        ("revenue-forecast", ["All customers — filters don't apply", "Last 90 days + next 60 days"], False),
        ("churn-trend", ["Last 180 days"], False),
        ("churn-customers", ["Current state — period doesn't apply"], False),
        ("retention-cohorts", ["All months — period doesn't apply"], False),
        ("retention-once", ["All customers — filters don't apply", "Current state — period doesn't apply"], False),
    ],
)
def test_badges_name_what_a_panel_does_not_follow(panel, badges, is_compared):
    assert declared()[panel]["badges"] == badges
    assert declared()[panel]["compared"] is is_compared


def test_value_filters_the_board_only_where_the_board_offers_the_filter():
    panels = declared()
    assert [one["filter"] for one in panels["revenue-channel"]["dimensions"]] == ["channel"]
    assert [one["filter"] for one in panels["revenue-payment"]["dimensions"]] == [""]
    assert [one["filter"] for one in panels["revenue-category-trend"]["dimensions"]] == ["", ""]
    (board,) = (one for one in DASHBOARDS if one.id == "revenue")
    (country,) = (one for one in board.panels if one.id == "revenue-country")
    whole = replace(board, panels=(replace(country, whole_shop=True),))
    ((panel,),) = (one["panels"] for one in declaration([whole], "shop", PLAIN_MONEY)["boards"])
    assert [one["filter"] for one in panel["dimensions"]] == [""], "filters do not apply"


def test_declaration_has_layers_lines_and_words():
    panels = declared()
    assert [one["label"] for one in panels["revenue-forecast"]["layer"]["measures"]][:2] == ["Forecast", "80% from"]
    assert panels["pipeline-features"]["reference_lines"] == [
        {"label": "Stable below", "value": 0.1}, {"label": "Drifted above", "value": 0.25},
    ]  # fmt: skip
    drawn = {one["label"]: (one["below"], one["line"]) for one in panels["retention-movement"]["measures"]}
    assert drawn["Lost"] == (True, False)
    assert drawn["Net"] == (False, True)
    words = declaration(DASHBOARDS, "shop", PLAIN_MONEY)
    assert words["labels"]["recommended_action"]["personal_contact"] == "Personal contact"
    assert words["labels"][""]["(other)"] == "Other"
    assert words["actions"].keys() == words["labels"]["recommended_action"].keys()


# --- shared answers ---------------------------------------------------------------------------------------------------
def luminance(colour):
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(share * part for share, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one, other):
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("number", [0, 1], ids=["light", "dark"])
def test_risk_bands_are_steps_of_rising_contrast(number):
    """Whoever sees no colours reads them by lightness alone: against the paper, and against the band beside."""
    sheet = (resources.files("dashboards") / "web" / "static" / "page.css").read_text("utf-8")
    scheme = re.findall(r":root \{(.*?)\}", sheet, re.DOTALL)[number]
    variables = dict(re.findall(r"(--[\w-]+): (#\w+);", scheme))
    paper = {"#fff": "#ffffff"}.get(variables["--paper"], variables["--paper"])
    colours = COLOURS_OF["churn_risk"]
    assert list(colours) == list(RISKS)
    bands = [variables[name.removeprefix("var(").removesuffix(")")] for name in colours.values()]
    against = [contrast(band, paper) for band in bands]
    assert min(against) >= 3
    assert against == sorted(against)
    assert min(contrast(one, other) for one, other in itertools.pairwise(bands)) >= 1.5


def test_cached_response_is_reused_for_a_short_time():
    now, calls = [0.0], []
    recent = RecentCache(lambda: now[0], lifetime_s=1.0)

    def ask():
        calls.append(now[0])
        return len(calls)

    assert [recent.get("a", ask), recent.get("a", ask), recent.get("b", ask)] == [1, 1, 2]
    now[0] = 1.5
    assert recent.get("a", ask) == 3
    assert calls == [0.0, 0.0, 1.5]


def test_concurrent_requests_share_one_search():
    recent, begun, go_on, colours = RecentCache(lambda: 0.0), threading.Event(), threading.Event(), []

    def ask():
        begun.set()
        go_on.wait(10)
        return "once"

    threads = [threading.Thread(target=lambda: colours.append(recent.get("a", ask))) for _ in range(4)]
    threads[0].start()
    begun.wait(10)
    for thread in threads[1:]:
        thread.start()
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert colours == ["once"] * 4


def test_error_is_not_cached():
    recent = RecentCache(lambda: 0.0)
    with pytest.raises(ShopstreamError):
        recent.get("a", lambda: (_ for _ in ()).throw(ShopstreamError("down", "start it")))
    assert recent.get("a", lambda: 1) == 1


def test_number_of_cache_entries_is_bounded():
    recent = RecentCache(lambda: 0.0)
    for n in range(ENTRIES_MAX * 3):
        recent.get(n, lambda: "x")
    assert len(recent._entries) <= ENTRIES_MAX


# --- groups of a customer table ---------------------------------------------------------------------------------------
@pytest.fixture
def customer_table(tmp_path):
    n = 200
    frame = pl.DataFrame(
        {
            "customer_id": [f"c{i}" for i in range(n)],
            "as_of": [datetime(2026, 5, 20, tzinfo=UTC)] * n,
            "segment": [None if i % 7 == 0 else ("Loyal", "=1+1", "<b>New</b>")[i % 3] for i in range(n)],
            "value_segment": [f"v{i % 4}" for i in range(n)],
            "gender": [f"g{i}" for i in range(n)],
            "email": ["a@example.com"] * n,
            "revenue_365d": [float(i) for i in range(n)],
            "churn_probability": [None if i % 5 else i / n for i in range(n)],
            "recency_days": [float(i % 50) for i in range(n)],
        },
        schema_overrides={"as_of": pl.Datetime("ms", "UTC")},
    )
    frame.write_parquet(tmp_path / CUSTOMER_TABLE)
    return tmp_path, frame


def nobody(*_):
    raise AssertionError("the index was asked")


def test_groups_of_the_customer_table_have_correct_counts(customer_table):
    folder, frame = customer_table
    colours = groups({"figure": ["recency_days"]}, nobody, folder, PLAIN_MONEY)
    assert colours["of"] == "table"
    assert colours["as_of"] == 1_779_235_200_000
    rows = frame.with_columns(pl.col("segment").fill_null("(none)")).to_dicts()
    churn = [one.column for one in FIGURES].index("churn_probability")
    assert {one["name"] for one in colours["groups"]} == {"(none)", "Loyal", "=1+1", "<b>New</b>"}
    for one in (*colours["groups"], colours["whole"]):
        members = [row for row in rows if one["name"] in (row["segment"], "All customers")]
        known = [row["churn_probability"] for row in members if row["churn_probability"] is not None]
        assert one["customers"] == len(members)
        assert one["revenue"] == pytest.approx(sum(row["revenue_365d"] for row in members))
        assert one["means"][churn] == pytest.approx(sum(known) / len(known))
        assert one["spread"] == sorted(one["spread"])
        assert one["means"][[f.column for f in FIGURES].index("orders_365d")] is None
    assert "'=1+1" in segment_routes.groups_csv(colours, PLAIN_MONEY)


def test_only_low_cardinality_columns_without_contact_data_can_group(customer_table):
    colours = groups({"by": ["value_segment"]}, nobody, customer_table[0], PLAIN_MONEY)
    assert [one["column"] for one in colours["choices"]] == ["segment", "value_segment"]
    assert len({f"g{i}" for i in range(200)}) > GROUPS_MAX
    for by in ("gender", "email", "customer_id", "revenue_365d"):
        with pytest.raises(UsageError, match="cannot be grouped by"):
            groups({"by": [by]}, nobody, customer_table[0], PLAIN_MONEY)


def test_unreadable_customer_table_is_an_error_with_the_remedy(tmp_path):
    (tmp_path / CUSTOMER_TABLE).write_bytes(b"no parquet")
    with pytest.raises(ShopstreamError, match="cannot be read") as colours:
        groups({}, nobody, tmp_path, PLAIN_MONEY)
    assert "shopstream segment" in colours.value.remedy
    with pytest.raises(UsageError, match="does not exist"):
        groups({"of": ["table"]}, nobody, tmp_path / "none", PLAIN_MONEY)
