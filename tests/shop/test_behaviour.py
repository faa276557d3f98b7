"""What the shop shows to who analyses it: a funnel, a rhythm, types that differ, and churn that announces itself."""

from datetime import date

import duckdb
import numpy as np
import pytest

from features.schema import DAY_MS
from producers.archive.archive import day_start_ms
from producers.shop.history import HistoryCounts, history
from producers.shop.population import LIFETIME_SHAPE, TYPES, draw_customers, draw_initial
from producers.shop.profiles import customers_table
from producers.shop.random_streams import Stream, generator
from producers.shop.seasonality import BLACK_WEEK, NO_CAMPAIGN, SUMMER_SALE, campaign_on
from producers.shop.shop import Shop, build

END_MS = day_start_ms(date(2025, 6, 1))


@pytest.fixture(scope="module")
def sql(archive_dir):
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        for topic in ("events", "orders"):
            connection.execute(f"create view {topic} as from read_parquet('{archive_dir}/{topic}/*/*.parquet')")
        for table in ("customers", "truth"):
            connection.execute(f"create view {table} as from read_parquet('{archive_dir}/{table}.parquet')")
        connection.execute(
            "create table sessions as select customer_id, session_id, min(ts) start_ts, max(ts) last_ts, count(*) n,"
            " bool_or(event_type = 'product_view') seen, bool_or(event_type = 'add_to_cart') cart,"
            " bool_or(event_type = 'checkout') checkout, bool_or(event_type = 'purchase') bought"
            " from events group by all"
        )
        yield lambda query: connection.execute(query).fetchall()


def test_funnel_narrows_within_the_usual_bounds(sql):
    ((events, seen, cart, checkout, bought),) = sql(
        "select avg(n), avg(seen::int), avg(cart::int), avg(checkout::int), avg(bought::int) from sessions"
    )
    assert 6.6 < events < 7.6
    assert 0.80 < seen < 0.95
    assert 0.32 < cart < 0.40
    assert 0.16 < checkout < 0.24
    assert 0.097 < bought < 0.120
    assert 0.67 < 1 - bought / cart < 0.73


@pytest.mark.parametrize(("conversion", "abandonment"), [(0.03, 0.8), (0.2, 0.5)])
def test_conversion_and_abandonment_are_settable(conversion, abandonment):
    shop = Shop(end_ms=END_MS, customers=400, events=150_000, days=120, conversion=conversion, abandonment=abandonment)
    total = sum((batch.counts for batch in history(build(shop))), start=HistoryCounts())
    assert total.converted_sessions / total.sessions == pytest.approx(conversion, rel=0.12)
    assert 1 - total.converted_sessions / total.cart_sessions == pytest.approx(abandonment, abs=0.03)


def test_activity_declines_before_churn(sql):
    """The last ten days against the time well before: fewer visits, shorter ones, more carts left, fewer purchases."""
    early, late = sql(
        "with leaving as (from truth where not alive and dropout_ts > timestamptz '2024-12-01'),"
        " s as (select *, date_diff('hour', start_ts, dropout_ts) / 24 left_days from sessions join leaving using"
        "       (customer_id) where start_ts < dropout_ts)"
        " select count(*) / any_value(if(left_days < 10, 10, 70)) a_day, avg(n) n, avg(bought::int) bought,"
        "        1 - sum(bought::int) / sum(cart::int) abandoned"
        " from s where left_days < 10 or left_days between 80 and 150 group by left_days < 10 order by left_days < 10"
    )
    assert late[0] < 0.6 * early[0]
    assert late[1] < 0.85 * early[1]
    assert late[2] < 0.7 * early[2]
    assert late[3] > early[3] + 0.05


def test_no_session_starts_after_churn_or_before_sign_up(sql):
    assert sql("select count(*) from sessions join truth using (customer_id) where start_ts >= dropout_ts") == [(0,)]
    assert sql("select count(*) from sessions join customers using (customer_id) where start_ts < signup_ts") == [(0,)]
    ((arrived, first_visits),) = sql(
        "select count(*), count(s.session_id) from customers c left join sessions s on s.customer_id = c.customer_id"
        " and s.start_ts = c.signup_ts where signup_ts >= timestamptz '2024-06-01'"
    )
    assert arrived == first_visits == 1100


def test_share_of_churned_customers_is_realistic(sql):
    ((gone,),) = sql("select avg((not alive)::int) from truth")
    assert 0.2 < gone < 0.6
    ((silent_alive,),) = sql(
        "select count(*) from truth where alive and customer_id not in"
        " (select customer_id from sessions where start_ts > timestamptz '2025-05-18')"
    )
    assert silent_alive > 100  # silence alone does not tell


def test_customer_types_buy_at_their_rates(sql):
    rates = dict(sql("select latent_type, avg(bought::int) from sessions join truth using (customer_id) group by 1"))
    assert rates["browser"] < 0.6 * rates["bargain"] < rates["loyal"]
    assert rates["loyal"] > rates["regular"] > rates["bargain"]
    value = dict(
        sql(
            "select latent_type, avg(total) from orders join truth using (customer_id) where ts = updated_ts group by 1"
        )
    )
    assert value["premium"] > 1.5 * value["bargain"]


def test_a_few_products_sell_most(sql):
    ((share,),) = sql(
        "with p as (select product_id, count(*) n from events where event_type = 'product_view' group by 1)"
        " select sum(n) filter (r <= (select count(*) from p) / 5) / sum(n) from (select *, row_number() over"
        " (order by n desc) r from p)"
    )
    assert 0.5 < share < 0.85


def test_activity_follows_hours_and_weekdays(sql):
    by_hour = dict(sql("select hour(start_ts), count(*) from sessions group by 1"))
    assert max(by_hour, key=by_hour.get) in (18, 19, 20)
    assert min(by_hour, key=by_hour.get) in (2, 3)
    assert by_hour[19] > 6 * by_hour[3]
    by_weekday = dict(sql("select isodow(start_ts), count(*) from sessions group by 1"))
    assert by_weekday[7] > 1.1 * by_weekday[5]


def test_campaigns_raise_visits_and_lower_prices(sql):
    black, before = (
        sql(f"select count(*) / 8 from sessions where start_ts >= date '{a}' and start_ts < date '{b}'")[0][0]
        for a, b in (("2024-11-25", "2024-12-03"), ("2024-11-09", "2024-11-17"))
    )
    assert black > 1.5 * before
    ((ratio,),) = sql(
        "with v as (select product_id, ts, price from events where event_type = 'product_view'),"
        " a as (select product_id, avg(price) p from v where ts between '2024-11-26' and '2024-12-01' group by 1),"
        " b as (select product_id, avg(price) p from v where ts between '2024-11-01' and '2024-11-20' group by 1)"
        " select avg(a.p / b.p) from a join b using (product_id)"
    )
    assert ratio == pytest.approx(BLACK_WEEK.price, abs=1e-3)


def test_campaigns_have_their_calendar_days():
    assert campaign_on(date(2024, 11, 24)) is NO_CAMPAIGN
    assert campaign_on(date(2024, 11, 25)) is BLACK_WEEK  # the Monday before 29 November
    assert campaign_on(date(2024, 12, 2)) is BLACK_WEEK
    assert campaign_on(date(2024, 12, 3)) is NO_CAMPAIGN
    assert campaign_on(date(2025, 11, 24)) is BLACK_WEEK  # Black Friday is the 28th
    assert campaign_on(date(2026, 7, 14)) is SUMMER_SALE


def test_orders_are_refunded_within_sixty_days(sql):
    shares = dict(sql("select status, count(distinct order_id) from orders group by 1"))
    assert 0.02 < shares["cancelled"] / shares["placed"] < 0.045
    assert 0.04 < shares["refunded"] / shares["placed"] < 0.11
    ((longest, shortest, parts),) = sql(
        "select max(updated_ts - ts) < interval 60 day + interval 1 second, min(updated_ts - ts) >= interval 1 minute,"
        " count(*) filter (status = 'placed') from orders where updated_ts > ts"
    )
    assert longest
    assert shortest
    assert parts > 20  # some send one line back and keep the rest


def test_purchase_rates_are_gamma_and_lifetimes_lomax():
    n = 200_000
    people = draw_customers(generator(1, Stream.POPULATION), np.full(n, END_MS))
    for index, kind in enumerate(TYPES):
        own = people.kind == index
        assert own.mean() == pytest.approx(kind.share, abs=0.005)
        rate = people.visit_rate[own] * people.conversion[own]
        assert rate.mean() == pytest.approx(kind.orders, rel=0.04)
        assert rate.var() == pytest.approx(kind.orders**2 / kind.orders_shape, rel=0.08)
        median_days = kind.lifetime_days * (LIFETIME_SHAPE - 1) * (2 ** (1 / LIFETIME_SHAPE) - 1)
        assert np.median(people.dropout_ms[own] - END_MS) / DAY_MS == pytest.approx(median_days, rel=0.04)


def test_established_customers_are_active_at_the_start_of_history():
    start_ms = END_MS - 100 * DAY_MS
    people = draw_initial(9, 1_000, start_ms, 100)
    established = people.signup_ms < start_ms
    assert established.sum() == 450
    assert (people.dropout_ms[established] > start_ms).all()
    assert (np.diff(people.signup_ms) >= 0).all()


def test_profile_does_not_depend_on_the_other_requested_customers():
    people = draw_initial(9, 300, END_MS - 100 * DAY_MS, 100)
    everybody = customers_table(9, people, np.arange(300))
    assert customers_table(9, people, np.asarray([7, 250])).equals(everybody.take([7, 250]))
