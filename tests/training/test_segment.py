"""`segment`: the mart and its summary, as a user calls it; and what groups are said to be like."""

import json
from html.parser import HTMLParser

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from connectors.formats.csv_safety import safe_frame, safe_text
from connectors.formats.rules_file import load_rules, parse_rules
from features.errors import ShopstreamError
from features.rules.segments import PROFILE_SCHEMA
from features.scores.score import RISKS, SCORE_SCHEMA, RfmScorer, learn_breaks
from shopstream.cli.app import build_app
from shopstream.jobs.segment import Segmented, customers_at, segment_customers, write_segments
from training.segments import traits
from training.segments.customer_table import build_customer_table, order_of_segments, whole_profiles
from training.segments.summary import deltas_of, summarize, summary_frame

FILES = ("customer_segments.parquet", "segment_summary.csv", "segment_summary.html")


@pytest.fixture
def app():
    return build_app()


def run(app, *arguments):
    return CliRunner().invoke(app, ["segment", *map(str, arguments)], catch_exceptions=False)


@pytest.fixture(scope="module")
def segmented(archive, bundle, training) -> Segmented:
    return segment_customers(archive, training.end_ms, bundle, None, ["value"])


@pytest.fixture(scope="module")
def folder(archive, bundle, training, tmp_path_factory):
    out = tmp_path_factory.mktemp("mart")
    done = run(build_app(), archive, "--as-of", training.end_ms, "--bundle", bundle.folder, "--out", out)
    assert done.exit_code == 0, done.output
    return out


def test_customer_table_holds_every_customer_once_with_all_columns(folder, training, bundle):
    mart = pl.read_parquet(folder / FILES[0])
    assert mart["customer_id"].to_list() == sorted(training.latest["customer_id"].to_list())
    assert {*training.latest.columns, *PROFILE_SCHEMA, *SCORE_SCHEMA, "modifiers"} <= set(mart.columns)
    assert mart.schema["as_of"] == pl.Datetime("ms", "UTC")
    expected = bundle.scorer().score(training.latest)
    assert mart["churn_probability"].to_list() == expected["churn_probability"].to_list()
    assert set(mart["churn_risk"].drop_nulls()) <= set(RISKS)
    assert mart.filter(pl.col("orders_total") > 0)["churn_risk"].null_count() == 0
    assert set(mart["value_segment"].str.replace("Premium ", "").str.replace(" at Risk", "")) == {
        "High Value",
        "General",
    }


def test_same_input_gives_the_same_bytes_and_the_time_is_in_one_file(folder, segmented, tmp_path):
    write_segments(segmented, tmp_path, {})
    for name in FILES:
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes(), name
    made = json.loads((folder / "made.json").read_text())
    assert set(made["files"]) == set(FILES)
    year = made["made_at"][:10]
    assert all(year.encode() not in (folder / name).read_bytes() for name in FILES)


def test_every_part_of_the_summary_has_content(folder, segmented):
    table = pl.read_csv(folder / FILES[1])
    assert table["customers"].sum() == len(segmented.customer_table)
    assert table["share"].sum() == pytest.approx(1, abs=1e-4)
    assert table["revenue_share"].sum() == pytest.approx(1, abs=1e-4)
    texts = ["segment", "meaning", *(f"trait_{i}" for i in range(1, 6)), "action_1", "action_2", "risks"]
    assert table.select(texts).null_count().row(0) == (0,) * len(texts)
    for group in segmented.groups:
        assert len(group.traits) == 5
        assert len({(one.column, one.value) for one in group.traits}) == 5
        assert 2 <= len(group.actions) <= 3
        assert group.risks
    assert len(group.deltas) >= 10


def test_modifiers_are_shown_with_their_action(segmented, bundle):
    mart = segmented.customer_table
    leaving = mart.filter(pl.col("modifiers").list.contains("leaving early"))
    rules = bundle.rules
    plain = {one.name: one.action for one in rules.document.segments}
    changed = mart.filter(
        pl.col("recommended_action") != pl.col("segment").replace_strict(plain, default="low_cost_reminder")
    )
    assert len(leaving)
    assert changed["modifiers"].list.len().min() >= 1
    assert set(leaving["recommended_action"]) <= {"win_back_offer", "personal_contact"}


def test_gaps_and_their_intervals_agree_with_a_bootstrap():
    rng = np.random.default_rng(1)
    revenue = rng.gamma(2, 50, 900)
    mart = pl.DataFrame({"revenue_365d": revenue, "orders_365d": np.ones(900)})
    inside = np.arange(900) < 200
    revenue_gap, orders_gap = list(deltas_of(mart, inside))
    gaps = []
    for _ in range(2000):
        ours, others = rng.choice(revenue[inside], 200), rng.choice(revenue[~inside], 700)
        gaps.append(ours.mean() - np.concatenate([ours, others]).mean())
    low, high = np.quantile(gaps, [0.025, 0.975])
    assert revenue_gap.gap == pytest.approx(revenue[:200].mean() - revenue.mean())
    assert revenue_gap.low == pytest.approx(low, abs=1.2)
    assert revenue_gap.high == pytest.approx(high, abs=1.2)
    assert (orders_gap.gap, orders_gap.low, orders_gap.high) == (0, 0, 0)


def test_one_customer_has_no_interval_and_no_customers_have_no_mean():
    mart = pl.DataFrame({"recency_days": [1.0, 2.0, 4.0, None]})
    (one,) = deltas_of(mart, np.array([True, False, False, False]))
    assert (one.known, one.mean, one.low) == (1, 1.0, None)
    (none,) = deltas_of(mart, np.array([False, False, False, True]))
    assert (none.known, none.mean, none.gap) == (0, None, None)


def test_traits_are_the_strongest_and_not_redundant():
    rng = np.random.default_rng(2)
    inside = np.arange(400) < 100
    strong = rng.normal(size=400) + 3 * inside
    frame = pl.DataFrame({
        "strong": strong, "copy": 2 * strong + 0.01 * rng.normal(size=400), "weak": rng.normal(size=400) + 0.8 * inside,
        "flat": np.full(400, 7.0),
    })  # fmt: skip
    found = traits.measure(frame, ["strong", "copy", "weak", "flat"], [])
    assert ("flat", None) not in found.names
    told = found.of(inside, 2)
    assert told[0].column in ("strong", "copy")
    assert told[1].column == "weak"
    assert len(found.of(inside, 3)) == 3  # what says the same fills up where there is nothing else
    trait = told[0]
    values = frame[trait.column].to_numpy()
    assert trait.difference == pytest.approx((values[inside].mean() - values[~inside].mean()) / values.std())
    assert found.of(np.ones(400, bool)) == []


HOSTILE = "<script>alert('x')</script>"
HOSTILE_RULES = f"""
version: 1
actions: {{"act": "=HYPERLINK('x')"}}
segments:
  - {{name: "{HOSTILE}", help: "=1+1", when: {{orders_total: {{above: 2}}}}, action: act}}
default: {{name: "=cmd|' /C calc'!A0", action: act}}
"""


def test_page_escapes_hostile_words(segmented, bundle, archive, training, tmp_path):
    rules = parse_rules(HOSTILE_RULES, "hostile")
    rows = customers_at(archive, training.end_ms, lambda *_: None)
    rows = rows.with_columns(
        pl.lit("=cmd()").alias("country"),
        pl.when(pl.col("orders_total") > 2).then(pl.lit(HOSTILE)).otherwise(pl.lit("@x")).alias("top_category_90d"),
    )
    mart = build_customer_table(rows, bundle.scorer(rules), rules, {})
    groups = summarize(mart, order_of_segments(rules, mart), rules)
    write_segments(Segmented(mart, groups, rules, {HOSTILE: {HOSTILE: 1}}, training.end_ms, None), tmp_path, {})
    page = (tmp_path / FILES[2]).read_text()
    assert HOSTILE in summary_frame(groups)["segment"].to_list()
    assert "alert('x')</script>" not in page
    assert "&lt;script&gt;" in page
    cells = pl.read_csv(tmp_path / FILES[1], infer_schema=False)
    text = [
        cell for row in cells.rows() for cell in row if cell and not cell.replace("-", "").replace(".", "").isdigit()
    ]
    assert text
    assert not [cell for cell in text if cell[0] in "=@+"]
    assert "'=cmd|' /C calc'!A0" in cells["segment"].to_list()
    parser = Tags()
    parser.feed(page)
    assert parser.scripts <= 4


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.scripts = 0

    def handle_starttag(self, tag, attrs):
        self.scripts += tag == "script"


@pytest.mark.parametrize("text", ["=1", "+1", "-1", "@a", "\t=1", "\r=1", "\n=1"])
def test_no_csv_cell_begins_a_formula(text):
    assert safe_text(text) == f"'{text}"
    guarded = safe_frame(pl.DataFrame({text: [text, "a=1", None], "n": [-1.0, 0.0, 1.0]}))
    assert guarded.columns == [f"'{text}", "n"]
    assert guarded[f"'{text}"].to_list() == [f"'{text}", "a=1", None]
    assert guarded["n"].to_list() == [-1.0, 0.0, 1.0]


def test_summary_works_without_a_model_and_without_profiles(training):
    rows = whole_profiles(training.latest).reverse()
    for name in ("segments", "value"):
        rules = load_rules(name)
        mart = build_customer_table(rows, RfmScorer(learn_breaks(rows), rules), rules, {})
        groups = summarize(mart, order_of_segments(rules, mart), rules)
        assert mart["customer_id"].is_sorted()  # whatever the order of the rows was
        assert mart["churn_probability"].null_count() == len(mart)
        assert sum(group.customers for group in groups) == len(rows)
        assert "churn_probability" not in {delta.kpi.column for delta in groups[0].deltas}
        assert all(group.risks and group.actions for group in groups)


def test_word_is_a_trait_by_its_share_of_customers():
    inside = np.arange(400) < 100
    found = traits.measure(pl.DataFrame({"word": ["a"] * 90 + ["b"] * 10 + ["c"] * 297 + [None] * 3}), [], ["word"])
    (first, *_) = found.of(inside)
    assert (first.value, first.inside, first.outside) == ("c", 0.0, 1.0)
    assert str(first) == "Word c: 0% against 100% (-2.3 sd)"


def test_single_segment_for_all_customers_is_reported(training):
    rules = parse_rules(
        "version: 1\nactions: {a: do}\nsegments:\n  - {name: All, when: {orders_total: {at_least: 0}}, action: a}\n"
        "default: {name: Rest, action: a}\n", "one",
    )  # fmt: skip
    rows = whole_profiles(training.latest)
    mart = build_customer_table(rows, RfmScorer(learn_breaks(rows), rules), rules, {})
    (group,) = summarize(mart, order_of_segments(rules, mart), rules)
    assert group.traits == ()
    assert all((delta.gap, delta.low, delta.high) == (0, 0, 0) for delta in group.deltas)
    assert summary_frame([group])["trait_1"].to_list() == ["all customers are in this segment"]


def test_time_before_the_first_customer_is_refused(archive):
    with pytest.raises(ShopstreamError):
        segment_customers(archive, 1, None, None, [])
