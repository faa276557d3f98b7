"""Days, weeks and months of a zone against SQL with the zone's own rules, which shares no code with the calendar."""

from datetime import UTC, datetime, timedelta
from typing import get_args
from zoneinfo import ZoneInfo

import duckdb
import numpy as np
import polars as pl
import pytest
from oracle.by_hand import ORDERS
from oracle.files import write_plain
from polars import col
from polars.testing import assert_frame_equal

from features.calendar import Calendar
from features.schema import DAY_MS, WeekStart
from shopstream.jobs.archive_features import batch_features
from shopstream.jobs.history import known_history
from shopstream.jobs.rollup import RollupRequest, roll_up
from shopstream.jobs.sales import read_sales

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LOST_AFTER = 30
CASES = [
    # days of 23 and 25 hours
    ("Europe/Berlin", "sunday", 2025),
    # half an hour
    ("Asia/Kolkata", "saturday", 2025),
    # summer time began at midnight, and ended for good in 2019
    ("America/Sao_Paulo", "sunday", 2018),
    # a day that does not exist, and another side of the date line
    ("Pacific/Apia", "monday", 2011),
    ("UTC", "monday", 2025),
]


def epoch_ms(moment):
    return (moment.astimezone(UTC) - EPOCH) // timedelta(milliseconds=1)


def borders(zone, year):
    """First instants of local months, weekends and days of a change of the clocks, in two years: epoch ms."""
    before = None
    for number in range(731):
        day = datetime(year, 1, 1) + timedelta(days=number)
        moment = day.replace(tzinfo=ZoneInfo(zone))
        changed = before is not None and moment.utcoffset() != before
        if changed or day.day == 1 or number % 97 in (0, 1, 2):
            for one in (day - timedelta(days=1), day) if changed else (day,):
                yield epoch_ms(one.replace(tzinfo=ZoneInfo(zone)))
        before = moment.utcoffset()


def order(number, customer, ts):
    return {
        **ORDERS[0], "order_id": f"o{number}", "customer_id": customer, "ts": ts, "updated_ts": ts,
        "total": float(10 + number % 90), "items": [], "status": "placed",
    }  # fmt: skip


@pytest.fixture(scope="module", params=CASES, ids=lambda case: f"{case[0]}-{case[1]}")
def shop(request, tmp_path_factory):
    zone, week_start, year = request.param
    rng = np.random.default_rng(7)
    edges = sorted(set(borders(zone, year)))
    times = [edge + step for edge in edges for step in (-1, 0)]
    times += [int(rng.integers(edges[0], edges[-1])) for _ in range(300)]
    orders = [order(n, f"c{int(rng.integers(40))}", ts) for n, ts in enumerate(times)]
    archive = write_plain(tmp_path_factory.mktemp("calendar"), [], orders)
    calendar = Calendar(zone, week_start)
    with duckdb.connect() as database:
        database.execute(f"SET TimeZone = '{zone}'")
        frame = pl.DataFrame(orders).select("customer_id", "ts", "total")  # noqa: F841 - DuckDB reads it
        database.execute("CREATE TABLE o AS SELECT customer_id, make_timestamptz(ts * 1000) AS ts, total FROM frame")
        yield archive, calendar, lambda text: database.sql(text).pl()


@pytest.fixture(scope="module")
def trends(shop):
    archive, calendar, _ = shop
    history = known_history(archive, calendar=calendar)
    return {t.index: t.rows for t in roll_up(archive, None, RollupRequest(lost_after_days=LOST_AFTER), history=history)}


def test_daily_sales_equal_sql(shop):
    archive, calendar, sql = shop
    result = read_sales(archive, 0, history=known_history(archive, calendar=calendar))
    expected = dict(sql("SELECT ts::DATE - DATE '1970-01-01', sum(total) FROM o GROUP BY 1").iter_rows())
    assert len(result.total) > 700
    assert {day: total for day, total in zip(result.days, result.total, strict=True) if total} == {
        day: pytest.approx(total) for day, total in expected.items() if day in result.days
    }


def test_cohorts_equal_sql(shop, trends):
    _, _, sql = shop
    expected = sql("""
        WITH bought AS (SELECT *, date_trunc('month', ts) AS month,
          min(date_trunc('month', ts)) OVER (PARTITION BY customer_id) AS cohort FROM o)
        SELECT strftime(cohort, '%Y-%m') AS cohort, strftime(month, '%Y-%m') AS month, epoch_ms(month) AS ts,
          cohort > (SELECT date_trunc('month', min(ts)) FROM o) AS known,
          count(DISTINCT customer_id) AS active, count(*) AS orders, sum(total) AS revenue FROM bought GROUP BY ALL
    """)
    columns = ["cohort", "month", "ts", "known", "active", "orders", "revenue"]
    result = trends["cohorts"].filter(col("orders") > 0)
    assert_frame_equal(
        result.select(columns).sort(columns), expected.select(columns).sort(columns), check_dtypes=False, rel_tol=1e-9
    )


def test_second_orders_equal_sql(shop, trends):
    _, _, sql = shop
    expected = sql(f"""
        WITH numbered AS (SELECT customer_id, ts, row_number() OVER (PARTITION BY customer_id ORDER BY ts) AS n FROM o),
        first AS (SELECT customer_id, min(ts) AS first FROM o GROUP BY 1)
        SELECT epoch_ms(ts) AS ts, strftime(ts, '%Y-%m-%d') AS day, strftime(first, '%Y-%m') AS cohort,
          (epoch_ms(ts) - epoch_ms(first)) / {DAY_MS} AS days,
          date_trunc('month', first) > (SELECT date_trunc('month', min(ts)) FROM o) AS known
        FROM numbered JOIN first USING (customer_id) WHERE n = 2
    """)
    columns = expected.columns
    assert expected.height > 20
    assert_frame_equal(trends["second-orders"].select(columns).sort(columns), expected.sort(columns), rel_tol=1e-12)


def test_movement_equals_sql(shop, trends):
    _, calendar, sql = shop
    # weeks of DuckDB begin on Monday: the date is moved there and back
    shift = -get_args(WeekStart).index(calendar.week_start)
    expected = sql(f"""
        WITH w AS (SELECT customer_id AS c, epoch_ms(ts) AS t,
          date_trunc('week', ts::DATE + {shift})::DATE - {shift} AS week FROM o),
        opening AS (SELECT c, week, min(t) AS t FROM w GROUP BY ALL),
        seen AS (SELECT *, (SELECT max(t) FROM w WHERE w.c = opening.c AND w.t < opening.t) AS before FROM opening)
        SELECT strftime(week, '%Y-%m-%d') AS week, epoch_ms(week::TIMESTAMPTZ) AS ts,
          count(*) FILTER (before IS NULL) AS new,
          count(*) FILTER (t - before <= {LOST_AFTER * DAY_MS}::BIGINT) AS "returning",
          count(*) FILTER (t - before > {LOST_AFTER * DAY_MS}::BIGINT) AS reactivated
        FROM seen GROUP BY ALL
    """)
    columns = ["week", "ts", "new", "returning", "reactivated"]
    result = trends["movement"].filter((col("new") > 0) | (col("returning") > 0) | (col("reactivated") > 0))
    assert_frame_equal(result.select(columns).sort("week"), expected.select(columns).sort("week"), check_dtypes=False)
    assert trends["movement"]["active"].to_list() == (
        trends["movement"].select((col("new") + col("reactivated") - col("lost")).cum_sum()).to_series().to_list()
    )


def test_segments_by_day_equal_sql_and_the_rows_of_its_last_instant(shop, trends):
    archive, calendar, sql = shop
    result = trends["segments-daily"].group_by("day", "ts").agg(col("customers", "revenue").sum()).sort("day")
    bought = dict(sql("SELECT strftime(ts::DATE, '%Y-%m-%d'), sum(total) FROM o GROUP BY 1").iter_rows())
    starts = dict(
        sql("""
            SELECT strftime(d, '%Y-%m-%d'), epoch_ms(d::TIMESTAMPTZ) FROM (
              SELECT unnest(generate_series((SELECT min(ts)::DATE FROM o), (SELECT max(ts)::DATE FROM o),
                INTERVAL 1 DAY))::DATE AS d)
        """).iter_rows()
    )
    assert result["ts"].n_unique() == result.height
    assert len(starts) - result.height == (calendar.time_zone == "Pacific/Apia")
    for day, ts, _, revenue in result.iter_rows():
        assert (ts, revenue) == (starts[day], pytest.approx(bought.get(day, 0.0))), day
    for day, ts, customers, _ in result.sample(5, seed=1).iter_rows():
        end = calendar.unit_start_ms("day", ts, 1) - 1
        assert customers == len(batch_features(archive, end)), day


def test_incomplete_periods_are_marked(shop, trends):
    _, _, sql = shop
    ((first, last),) = sql("SELECT strftime(min(ts), '%Y-%m-%d'), strftime(max(ts), '%Y-%m-%d') FROM o").rows()
    days = trends["segments-daily"].select("day", "complete").unique().sort("day")
    inside = days.filter(col("day").is_between(pl.lit(first), pl.lit(last), closed="none"))
    assert inside["complete"].all()
    months = trends["cohorts"].select("month", "complete").unique().sort("month")
    assert months.height > 20
    assert not months["complete"][-1]


def test_log_of_dates_has_the_days_of_its_zone(tmp_path):
    start = epoch_ms(datetime(2024, 2, 1, tzinfo=ZoneInfo("Europe/Berlin")))
    archive = write_plain(tmp_path, [], [order(1, "a", start), order(2, "b", start + 40 * DAY_MS)])
    history = known_history(archive, calendar=Calendar("Europe/Berlin"))
    months = {t.index: t.rows for t in roll_up(archive, None, RollupRequest(), history=history)}["cohorts"]
    assert months.filter(col("months_since") == 0)["cohort"].to_list() == ["2024-02", "2024-03"]
