"""Sales, cohorts, movement and segments by day against SQL over the archive's files, which shares no code with them."""

import itertools
from datetime import UTC, datetime

import duckdb
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle.by_hand import EVENTS, ORDERS
from oracle.files import write_plain
from polars import col
from polars.testing import assert_frame_equal
from typer.testing import CliRunner

from connectors.elasticsearch.period_writer import Replaced, Trend, documents
from features.calendar import UTC_CALENDAR
from features.errors import UsageError
from features.schema import DAY_MS, NOT_KNOWN, SECOND_ORDER_FIELDS, SEGMENT_DAY_FIELDS, TREND_KEYS
from features.scores.horizon import horizon_days
from features.scores.score import REASONED_RISKS
from producers.archive.archive import read_customers
from shopstream.cli.app import build_app
from shopstream.jobs.archive_features import archive_days, batch_features
from shopstream.jobs.history import History, known_history
from shopstream.jobs.rollup import RollupRequest, roll_up
from shopstream.jobs.sales import read_sales
from training.archive_period import ArchivePeriod
from training.sales import OTHER_CATEGORIES, daily_sales, valid_orders
from training.scorer import trend_scorer
from training.segments.cohorts import cohorts, first_orders, markets, movement, second_orders
from training.segments.daily import DayContext, segment_days

LOST_AFTER = 30

WON = """
CREATE VIEW won AS SELECT * FROM (
  SELECT *, row_number() OVER (
    PARTITION BY customer_id, order_id
    ORDER BY updated_ts DESC, list_position(['placed', 'cancelled', 'refunded', 'void'], status) DESC, total DESC
  ) AS place FROM read_parquet('{archive}/orders/*/*.parquet', hive_partitioning = false)
) WHERE place = 1 AND status = 'placed'
"""
PEOPLE = """
CREATE VIEW people AS SELECT customer_id, any_value(country) AS country, any_value(acquisition_channel) AS channel,
  min(signup_ts) AS signup
FROM read_parquet('{archive}/customers.parquet') GROUP BY ALL
"""
FIRSTS = """
CREATE VIEW firsts AS
WITH began AS (
  SELECT least((SELECT min(ts) FROM read_parquet('{archive}/events/*/*.parquet', hive_partitioning = false)),
    (SELECT min(ts) FROM read_parquet('{archive}/orders/*/*.parquet', hive_partitioning = false))) AS ts
)
SELECT customer_id, won.first_ts, country, channel,
  CASE WHEN signup IS NULL OR signup > first_ts
    THEN date_trunc('month', first_ts) > (SELECT date_trunc('month', ts) FROM began)
    ELSE signup >= (SELECT ts FROM began) END AS known
FROM (SELECT customer_id, min(ts) AS first_ts FROM won GROUP BY 1) won JOIN people USING (customer_id)
"""


@pytest.fixture(scope="module")
def sql(archive):
    with duckdb.connect() as database:
        database.execute("SET TimeZone = 'UTC'")
        for view in (WON, PEOPLE, FIRSTS):
            database.execute(view.format(archive=archive))
        yield lambda text: database.sql(text).pl()


@pytest.fixture(scope="module")
def trends(archive, bundle):
    found = roll_up(archive, bundle, RollupRequest(lost_after_days=LOST_AFTER))
    return {trend.index: trend.rows for trend in found}


def test_daily_sales_equal_a_sql_query(archive, sql):
    found = read_sales(archive, 100)
    expected = dict(sql("SELECT ts::DATE - DATE '1970-01-01', sum(total) FROM won GROUP BY 1").iter_rows())
    assert len(found.total) > 140
    for day, amount in zip(found.days, found.total, strict=True):
        assert amount == pytest.approx(expected.get(day, 0.0)), day
    lines = sql("""
        WITH line AS (SELECT order_id, total, unnest(items) AS item FROM won),
        priced AS (SELECT *, item.quantity * item.unit_price AS price FROM line)
        SELECT item.category, sum(total * price / whole) FROM priced
        JOIN (SELECT order_id, sum(price) AS whole FROM priced GROUP BY 1) USING (order_id) GROUP BY 1
    """)
    for category, amount in lines.iter_rows():
        assert found.categories[category].sum() == pytest.approx(amount), category
    assert sum(found.categories.values()) == pytest.approx(found.total)


def test_rare_categories_are_merged_into_one(archive):
    days, read_day = archive_days(archive)
    bought = valid_orders(days, read_day)
    found = daily_sales(bought, days[0], days[-1], 3)
    assert list(found.categories)[-1] == OTHER_CATEGORIES
    assert len(found.categories) == 3
    assert sum(found.categories.values()) == pytest.approx(found.total)
    assert daily_sales(bought, days[0], days[-1], 0).categories == {}
    # one category is the total again
    assert (
        daily_sales(bought.with_columns(items=None).cast({"items": bought.schema["items"]}), *days[:2]).categories == {}
    )


def test_cohorts_equal_a_sql_query(trends, sql):
    expected = sql("""
        WITH bought AS (
          SELECT customer_id, total, date_trunc('month', ts) AS month,
            min(date_trunc('month', ts)) OVER (PARTITION BY customer_id) AS cohort, country, channel, known
          FROM (SELECT customer_id, total, ts FROM won) JOIN firsts USING (customer_id)
        )
        SELECT strftime(cohort, '%Y-%m') AS cohort, strftime(month, '%Y-%m') AS month, country, channel, known,
          count(DISTINCT customer_id) AS active, count(*) AS orders, sum(total) AS revenue
        FROM bought GROUP BY ALL
    """)
    keys = list(TREND_KEYS["cohorts"])
    found = trends["cohorts"]
    assert set(found["known"]) == {True, False}
    assert_frame_equal(
        found.filter(col("orders") > 0).select(expected.columns).sort(keys),
        expected.cast(dict.fromkeys(("active", "orders"), pl.Int64)).sort(keys),
        rel_tol=1e-9,
    )  # fmt: skip
    sizes = sql("SELECT strftime(min(ts), '%Y-%m') AS cohort FROM won GROUP BY customer_id").group_by("cohort").len()
    every = found.group_by("cohort", "months_since").agg(col("customers").sum())
    for cohort, size in sizes.iter_rows():
        mine = every.filter(col("cohort") == cohort)
        assert set(mine["customers"]) == {size}
        assert sorted(mine["months_since"]) == list(range(mine.height))  # every month since, up to the last
    assert found.filter(col("orders") == 0).height > 0
    assert found.select(keys).is_duplicated().sum() == 0


def test_second_orders_equal_a_sql_query(trends, sql):
    expected = sql(f"""
        WITH numbered AS (
          SELECT customer_id, ts, row_number() OVER (PARTITION BY customer_id ORDER BY ts) AS n FROM won
        )
        SELECT epoch_ms(ts) AS ts, strftime(ts, '%Y-%m-%d') AS day, strftime(first_ts, '%Y-%m') AS cohort,
          (epoch_ms(ts) - epoch_ms(first_ts)) / {DAY_MS} AS days, country, channel, known
        FROM numbered JOIN firsts USING (customer_id) WHERE n = 2
    """)
    found = trends["second-orders"]
    columns = [name for name in found.columns if name != "number"]
    assert_frame_equal(found.select(columns).sort(columns), expected.select(columns).sort(columns), rel_tol=1e-12)
    assert found.height > 100
    assert found.columns == [field.name for field in SECOND_ORDER_FIELDS]
    assert "customer_id" not in found.columns


def first_order(customer, day, number=0, country="DE"):
    return {
        "order_id": f"{customer}-{day}-{number}", "customer_id": customer, "ts": day * DAY_MS, "cents": 100,
        "country": country, "channel": "ads",
    }  # fmt: skip


def test_first_order_is_known_by_the_signup_or_the_month():
    """The archive begins on 10 January 1970 (day 9); day 31 is 1 February."""
    span = ArchivePeriod(9 * DAY_MS, 100 * DAY_MS)
    signups = {
        "signed up before": (8, 40), "signed up at the first instant": (9, 10), "signed up later": (12, 12),
        "signed up after the order": (20, 12), "ordered as a guest": (50, 40), "no signup": (None, 12),
        "no signup, February": (None, 31),
    }  # fmt: skip
    bought = pl.DataFrame([first_order(name, day) for name, (_, day) in signups.items()])
    bought = pl.concat([bought, pl.DataFrame([first_order("no profile", 20), first_order("no profile, February", 40)])])
    profiles = pl.DataFrame(
        {
            "customer_id": list(signups),
            "country": "DE",
            "acquisition_channel": "ads",
            "signup_ts": pl.Series(
                [None if day is None else day * DAY_MS for day, _ in signups.values()], dtype=pl.Int64
            ).cast(pl.Datetime("ms", "UTC")),
        }
    )
    expected = {
        "signed up before": False, "signed up at the first instant": True, "signed up later": True,
        "signed up after the order": False, "ordered as a guest": True, "no signup": False,
        "no signup, February": True, "no profile": False, "no profile, February": True,
    }  # fmt: skip
    home = markets(profiles, bought)
    found = first_orders(bought, profiles, home, span)
    assert dict(found.select("customer_id", "known").iter_rows()) == expected
    without = first_orders(bought, None, markets(None, bought), span)
    assert set(without.filter(col("known"))["customer_id"]) == {
        name for name, (_, day) in signups.items() if day >= 31
    } | {"no profile, February"}
    sums = cohorts(bought, found, span).group_by("cohort", "month").agg(col("customers", "active", "orders").sum())
    assert sums.sort("cohort", "month").equals(
        cohorts(bought, without, span).group_by("cohort", "month").agg(col("customers", "active", "orders").sum())
        .sort("cohort", "month")
    )  # fmt: skip


def test_second_order_of_equal_customers_has_a_document_each():
    """Two customers alike in everything but the id; one with both orders at one instant; one with a single order."""
    span = ArchivePeriod(0, 100 * DAY_MS)
    rows = [first_order(who, day) for who in ("a", "b") for day in (3, 40, 50)]
    rows += [first_order("c", 5), first_order("c", 5, 1), first_order("d", 6)]
    bought = pl.DataFrame(rows).sample(fraction=1, shuffle=True, seed=3)
    firsts = first_orders(bought, None, markets(None, bought), span)
    found = second_orders(bought, firsts, span)
    assert found.select("ts", "day", "cohort", "days", "known", "number").rows() == [
        (5 * DAY_MS, "1970-01-06", "1970-01", 0.0, False, 0),
        (40 * DAY_MS, "1970-02-10", "1970-01", 37.0, False, 0),
        (40 * DAY_MS, "1970-02-10", "1970-01", 37.0, False, 1),
    ]
    ids = [doc.id for batch in documents("shop", Trend("second-orders", found)) for doc in batch]
    assert len(set(ids)) == 3
    assert second_orders(bought.clear(), firsts.clear(), span).is_empty()


@pytest.fixture(scope="module")
def stored(archive):
    """Tables of the orders by day."""
    days, read_day = archive_days(archive)
    return {day: list(read_day("orders", day)) for day in days}


@given(cuts=st.lists(st.integers(0, 30), max_size=6), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=8, deadline=None)
def test_any_split_of_the_files_gives_the_same_trends(archive, stored, trends, cuts, seed):
    """The rows of a day in other files and in another order."""
    rng = np.random.default_rng(seed)

    def split(_, day):
        for table in rng.permutation(np.arange(len(stored[day]))).tolist():
            rows = stored[day][table].take(rng.permutation(stored[day][table].num_rows))
            borders = sorted({0, rows.num_rows, *(cut for cut in cuts if cut < rows.num_rows)})
            yield from (rows.slice(start, end - start) for start, end in itertools.pairwise(borders))

    bought = valid_orders(list(stored), split)
    profiles = pl.DataFrame(pl.from_arrow(read_customers(archive)))
    span = known_history(archive).period
    firsts = first_orders(bought, profiles, markets(profiles, bought), span)
    for index, rows in (
        ("cohorts", cohorts(bought, firsts, span)),
        ("second-orders", second_orders(bought, firsts, span)),
        ("movement", movement(bought, span, LOST_AFTER)),
    ):
        assert_frame_equal(rows, trends[index])


def test_customer_movement_equals_a_sql_query(trends, sql):
    expected = sql(f"""
        WITH o AS (SELECT customer_id AS c, epoch_ms(ts) AS t, epoch_ms(date_trunc('week', ts)) AS w FROM won),
        span AS (SELECT max(t) AS last FROM o),
        opening AS (SELECT c, w, min(t) AS t FROM o GROUP BY ALL),
        seen AS (SELECT *, (SELECT max(t) FROM o WHERE o.c = opening.c AND o.t < opening.t) AS before FROM opening),
        kinds AS (
          SELECT w, count(*) FILTER (before IS NULL) AS new,
            count(*) FILTER (t - before <= {LOST_AFTER * DAY_MS}::BIGINT) AS "returning",
            count(*) FILTER (t - before > {LOST_AFTER * DAY_MS}::BIGINT) AS reactivated
          FROM seen GROUP BY w
        )
        SELECT w AS ts, new, "returning", reactivated FROM kinds
    """)
    found = trends["movement"]
    assert found["ts"].diff().drop_nulls().unique().to_list() == [7 * DAY_MS]
    assert found["week"].str.to_date().dt.weekday().unique().to_list() == [1]
    joined = found.join(expected, on="ts", how="full", suffix="_sql").fill_null(0)
    assert joined.height == found.height
    for name in ("new", "returning", "reactivated"):
        assert joined[name].to_list() == joined[f"{name}_sql"].to_list(), name
    assert found["reactivated"].sum() > 20
    # at the end of a week, counted apart: who has an order in the days before it
    for ts, active in found.filter(col("complete")).select("ts", "active").iter_rows():
        end = ts + 7 * DAY_MS - 1
        (count,) = sql(f"""
            SELECT count(DISTINCT customer_id) FROM won
            WHERE epoch_ms(ts) > {end - LOST_AFTER * DAY_MS} AND epoch_ms(ts) <= {end}
        """).row(0)
        assert active == count, ts
    steps = found.select(col("new") + col("reactivated") - col("lost")).to_series()
    assert steps.to_list() == found["net"].to_list()
    assert min(steps) < 0 < max(steps)
    assert steps.cum_sum().to_list() == found["active"].to_list()


def orders(*times):
    return pl.DataFrame({"customer_id": [who for who, _ in times], "ts": [day * DAY_MS for _, day in times]})


def test_customer_movement_is_exact_at_its_borders():
    """Day 4 is Monday 1970-01-05.

        week of  4          11         18         25         32
        a        4 .................. 18 ................... 32     14 days each: never lost
        b        5 ............................. 25 (20 days)       lost on 19, reactivated on 25
    """  # fmt: skip
    found = movement(
        orders(("a", 4), ("a", 18), ("a", 32), ("b", 5), ("b", 25)), ArchivePeriod(4 * DAY_MS, 33 * DAY_MS), 14
    )
    columns = {name: found[name].to_list() for name in ("new", "returning", "reactivated", "lost", "net", "active")}
    assert columns == {
        "new": [2, 0, 0, 0, 0],
        "returning": [0, 0, 1, 0, 1],
        "reactivated": [0, 0, 0, 1, 0],
        "lost": [0, 0, 1, 0, 0],
        "net": [2, 0, -1, 1, 0],
        "active": [2, 2, 1, 2, 2],
    }
    assert found["complete"].to_list() == [True, True, True, True, False]


def test_country_comes_from_the_profile_or_the_first_order():
    profiles = pl.DataFrame(
        {"customer_id": ["a", "b"], "country": ["DE", None], "acquisition_channel": [None, "ads"]},
        schema_overrides={"country": pl.String, "acquisition_channel": pl.String},
    )
    bought = pl.DataFrame(
        {"customer_id": ["a", "b", "b", "c"], "country": ["FR", "IT", "ES", None], "channel": ["mail", "x", "y", None]}
    )
    found = {row[0]: row[1:] for row in markets(profiles, bought).iter_rows()}
    assert found == {"a": ("DE", "mail"), "b": ("IT", "ads"), "c": (NOT_KNOWN, NOT_KNOWN)}
    assert {row[0]: row[1:] for row in markets(None, bought).iter_rows()}["b"] == ("IT", "x")


def test_segments_of_a_day_equal_those_of_the_bundle_scorer(archive, bundle, trends, sql):
    found = trends["segments-daily"]
    people = sql("SELECT * FROM people")
    days = found["ts"].unique().sort()
    for ts in days.gather([3, 90, len(days) - 2]):
        rows = batch_features(archive, ts + DAY_MS - 1)
        scores = bundle.scorer().score(rows)
        assert scores["churn_reasons"].is_not_null().equals(scores["churn_risk"].is_in(REASONED_RISKS).fill_null(False))
        expected = (
            rows.select("customer_id")
            .hstack(scores.select("segment", "churn_probability"))
            .join(people, on="customer_id")
        )
        counted = expected.group_by("segment", "country", "channel").agg(
            pl.len().alias("n"), col("churn_probability").sum().alias("p"), col("churn_probability").count().alias("k")
        )
        day = found.filter(col("ts") == ts, col("customers") > 0)
        both = day.join(counted, on=["segment", "country", "channel"], how="full", coalesce=True)
        assert both.height == day.height == counted.height
        assert both["customers"].to_list() == both["n"].to_list()
        assert both["churn_customers"].to_list() == both["k"].to_list()
        assert both["churn_sum"].to_list() == pytest.approx(both["p"].to_list())


def test_days_add_up_to_customers_and_sales(archive, trends, sql):
    found = trends["segments-daily"]
    by_day = found.group_by("ts").agg(col("customers", "revenue").sum()).sort("ts")
    sales = dict(sql("SELECT epoch_ms(ts::DATE), sum(total) FROM won GROUP BY 1").iter_rows())
    for ts, customers, revenue in by_day.iter_rows():
        assert revenue == pytest.approx(sales.get(ts, 0.0)), ts
        if ts % (30 * DAY_MS) == 0:
            (count,) = sql(f"""
                SELECT count(DISTINCT customer_id) FROM (
                  SELECT customer_id FROM read_parquet('{archive}/events/*/*.parquet')
                  WHERE epoch_ms(ts) < {ts + DAY_MS}
                  UNION ALL SELECT customer_id FROM read_parquet('{archive}/orders/*/*.parquet')
                  WHERE epoch_ms(updated_ts) < {ts + DAY_MS})
            """).row(0)
            assert customers == count
    every = found.group_by("segment", "country", "channel").len()
    assert set(every["len"]) == {by_day.height}  # zeros are there
    assert found.filter(col("customers") == 0).height > 0


def test_days_name_the_bundle_whose_horizon_their_probabilities_have(bundle, trends):
    assert trends["segments-daily"]["bundle"].unique().to_list() == [bundle.name]
    assert horizon_days(bundle.name) == bundle.horizon_days


def test_training_days_of_the_model_are_marked(archive, bundle, trends):
    found = trends["segments-daily"]
    marked = found.filter(col("in_training"))["ts"].max()
    assert marked + DAY_MS <= bundle.trained_until_ms + 1
    assert found.filter(col("ts") <= marked)["in_training"].all()
    assert bundle.trained_until_ms < marked + 2 * DAY_MS
    unscored = roll_up(archive, None, RollupRequest(from_ms=_ms(2025, 3, 1), to_ms=_ms(2025, 3, 3)))[0].rows
    assert not unscored["in_training"].any()
    assert unscored["churn_customers"].sum() == 0
    assert unscored["customers"].sum() > 0
    assert unscored["segment"].n_unique() > 3


def _ms(year, month, day):
    return int(datetime(year, month, day, tzinfo=UTC).timestamp() * 1000)


def test_range_gives_the_same_rows_as_the_whole(archive, bundle, trends):
    """From a Wednesday to before a Tuesday of another month: its days, and whole weeks and months."""
    asked = RollupRequest(_ms(2025, 3, 26), _ms(2025, 4, 8), LOST_AFTER)
    part = {trend.index: trend for trend in roll_up(archive, bundle, asked)}
    assert (part["segments-daily"].from_ms, part["segments-daily"].to_ms) == (asked.from_ms, asked.to_ms)
    assert (part["movement"].from_ms, part["movement"].to_ms) == (_ms(2025, 3, 24), _ms(2025, 4, 14))
    assert (part["second-orders"].from_ms, part["second-orders"].to_ms) == (asked.from_ms, asked.to_ms)
    assert (part["cohorts"].from_ms, part["cohorts"].to_ms) == (_ms(2025, 3, 1), _ms(2025, 5, 1))
    for index, trend in part.items():
        inside = trends[index].filter(col("ts").is_between(trend.from_ms, trend.to_ms, closed="left"))
        if index == "segments-daily":  # zeros are of the groups that the range has
            inside = inside.join(trend.rows.select("segment", "country", "channel").unique(), how="semi",
                                 on=["segment", "country", "channel"])  # fmt: skip
        keys = list(TREND_KEYS[index])
        assert_frame_equal(trend.rows.sort(keys), inside.sort(keys), rel_tol=1e-9)


def test_range_within_a_day_covers_the_whole_day(archive, trends):
    (busiest,) = trends["second-orders"].group_by("day").len().sort("len", "day").tail(1)["day"]
    noon = _ms(*map(int, busiest.split("-"))) + DAY_MS // 2
    (part,) = (t for t in roll_up(archive, None, RollupRequest(noon, noon + 1)) if t.index == "second-orders")
    assert part.to_ms - part.from_ms == DAY_MS
    assert part.rows.equals(trends["second-orders"].filter(col("day") == busiest))
    assert part.rows.height > 1


def test_range_outside_the_archive_is_a_usage_error(archive, bundle):
    with pytest.raises(UsageError, match="no day in the range"):
        roll_up(archive, bundle, RollupRequest(_ms(2030, 1, 1)))


def test_customer_first_seen_later_is_in_no_segment(bundle):
    """An order whose first record came after its day: the day's revenue is whole all the same."""

    class Nobody:
        def score(self, rows):
            return pl.DataFrame({"segment": [], "churn_probability": []}, schema_overrides={"segment": pl.String})

    orders = pl.DataFrame({"customer_id": ["late"], "ts": [5], "cents": [250]})
    in_germany = orders.with_columns(country=pl.lit("DE"), channel=pl.lit(None, pl.String))
    known = DayContext(orders, markets(None, in_germany), ArchivePeriod(0, 2 * DAY_MS), None)
    rows = pl.DataFrame({"customer_id": []}, schema={"customer_id": pl.String})
    found = segment_days([(DAY_MS - 1, rows)], Nobody(), known)
    assert found.select("segment", "country", "channel", "customers", "revenue").rows() == [
        (NOT_KNOWN, "DE", NOT_KNOWN, 0, 2.5)
    ]
    assert found.columns == [field.name for field in SEGMENT_DAY_FIELDS]
    assert found["bundle"].to_list() == [None]


def test_reasons_are_calculated_only_when_the_rules_use_them(bundle, training):
    class Asking:
        columns = frozenset({"churn_reasons"})

    rows = training.latest
    quick = trend_scorer(bundle.scorer(), bundle.rules).score(rows)
    whole = bundle.scorer().score(rows)
    assert whole["churn_reasons"].null_count() < quick["churn_reasons"].null_count() == rows.height
    assert quick.drop("churn_reasons").equals(whole.drop("churn_reasons"))
    assert trend_scorer(bundle.scorer(), Asking()).score(rows).equals(whole)


def test_the_command_writes_files_or_replaces_periods(bundle, tmp_path, monkeypatch):
    app = build_app()
    asked, written = [], []
    trend = Trend("movement", pl.DataFrame({"week": ["a", "b"]}), 1, 2)
    monkeypatch.setenv("SHOPSTREAM_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("shopstream.jobs.rollup.roll_up", lambda *given: asked.append(given[:3]) or [trend])
    monkeypatch.setattr("shopstream.jobs.history.known_history", lambda *_: History(0, 1))
    monkeypatch.setattr("shopstream.jobs.write_trends.check_elastic", lambda settings: None)
    monkeypatch.setattr("shopstream.jobs.shop_calendar.trend_calendar", lambda settings: UTC_CALENDAR)
    monkeypatch.setattr(
        "shopstream.jobs.write_trends.write_trends",
        lambda settings, trends, calendar, told: written.append((settings.run, trends)) or [Replaced("movement", 2, 3)],
    )
    arguments = ["shop", "--bundle", str(bundle.folder), "--from", "2025-05-01", "--to", "2025-05-04"]
    done = CliRunner().invoke(app, ["rollup", *arguments, "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["movement.parquet"]
    assert not written
    done = CliRunner().invoke(app, ["rollup", "shop", "--lost-after", "10", "--run", "other"])
    assert done.exit_code == 0, done.output
    assert written == [("other", [trend])]
    assert "2 documents, 3 earlier ones removed" in done.output
    (_, first, range_), (_, second, whole) = asked
    assert (first.name, second) == (bundle.name, None)  # the data folder has no bundle
    assert range_ == RollupRequest(_ms(2025, 5, 1), _ms(2025, 5, 4))
    assert whole == RollupRequest(lost_after_days=10)


def test_ids_of_trend_documents_are_unique(trends):
    for index, rows in trends.items():
        ids = [doc.id for batch in documents("shop", Trend(index, rows)) for doc in batch]
        assert len(set(ids)) == len(ids) == rows.height


def test_valid_orders_are_sorted_by_time(archive, sql):
    found = valid_orders(*archive_days(archive))
    assert found.height == sql("SELECT 1 FROM won").height
    assert found.equals(found.sort("ts", "order_id"))


def test_an_order_counts_at_the_customer_who_has_it(tmp_path):
    """A void order counts nowhere; one that passed to another customer counts there."""
    found = valid_orders(*archive_days(write_plain(tmp_path, EVENTS, ORDERS)))
    pairs = sorted(found.select("customer_id", "order_id").iter_rows())
    assert pairs == [("ann", "o1"), ("ann", "o2"), ("ann", "o3"), ("ann", "o5"), ("bob", "o7")]


def test_the_lines_of_two_customers_with_one_order_id_are_apart(tmp_path):
    """Both have it for a while: the shares of the lines are those of each order."""
    items = [{"product_id": "p", "category": c, "quantity": 1, "unit_price": 1.0} for c in "ab"]
    row = {"order_id": "o", "ts": 10 * DAY_MS, "updated_ts": 10 * DAY_MS, "status": "placed"}
    orders = [
        row | {"customer_id": "ann", "total": 10.0, "items": items},
        row | {"customer_id": "bob", "total": 4.0, "items": items[:1]},
    ]
    sales = daily_sales(valid_orders(*archive_days(write_plain(tmp_path, [], orders))), 10, 10)
    assert {name: day.tolist() for name, day in sales.categories.items()} == {"a": [9.0], "b": [5.0]}
