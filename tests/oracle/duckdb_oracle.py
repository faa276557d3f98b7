"""The fast oracle: the contract as SQL over the Parquet files of an archive.

Every answer is recomputed from the files' valid rows; the words of the SQL are those of the contract.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Final, Self

import duckdb
import polars as pl
from oracle.rows import FEATURE_DTYPES, cents

EVENT_COLUMNS: Final = {
    "event_id": "VARCHAR",
    "event_type": "VARCHAR",
    "customer_id": "VARCHAR",
    "session_id": "VARCHAR",
    "ts": "TIMESTAMPTZ",
    "product_id": "VARCHAR",
    "category": "VARCHAR",
    "price": "DOUBLE",
    "quantity": "DOUBLE",
    "device": "VARCHAR",
    "channel": "VARCHAR",
    "country": "VARCHAR",
}
ORDER_COLUMNS: Final = {
    "order_id": "VARCHAR",
    "customer_id": "VARCHAR",
    "session_id": "VARCHAR",
    "ts": "TIMESTAMPTZ",
    "updated_ts": "TIMESTAMPTZ",
    "status": "VARCHAR",
    "total": "DOUBLE",
    "items": "STRUCT(product_id VARCHAR, category VARCHAR, quantity DOUBLE, unit_price DOUBLE)[]",
    "channel": "VARCHAR",
    "country": "VARCHAR",
    "payment_method": "VARCHAR",
}
TYPES: Final = ("page_view", "search", "product_view", "add_to_cart", "remove_from_cart", "checkout", "purchase")

ID_BYTES_MAX, TEXT_BYTES_MAX, LINES_MAX = 512, 1_024, 10_000


def _bounded(bytes_max: int, *names: str) -> str:
    return "".join(f"AND coalesce(strlen({name}), 0) <= {bytes_max}\n" for name in names)


VALID: Final = {
    "events": f"""
event_id <> '' AND customer_id <> '' AND session_id <> ''
AND event_type IN {TYPES}
AND device IN ('mobile', 'desktop', 'tablet')
AND ts >= 1
AND (price IS NULL OR isnan(price) OR price BETWEEN 0 AND 1e12)
AND (quantity IS NULL OR isnan(quantity) OR (isfinite(quantity) AND quantity >= 1 AND quantity = floor(quantity)))
{_bounded(ID_BYTES_MAX, "event_id", "customer_id", "session_id", "product_id")}
{_bounded(TEXT_BYTES_MAX, "category", "channel", "country")}
""",
    "orders": f"""
order_id <> '' AND customer_id <> ''
AND status IN ('placed', 'cancelled', 'refunded', 'void')
AND ts >= 1 AND updated_ts BETWEEN ts AND ts + 400 * 86400000::BIGINT
AND total BETWEEN 0 AND 1e12
{_bounded(ID_BYTES_MAX, "order_id", "customer_id", "session_id")}
{_bounded(TEXT_BYTES_MAX, "channel", "country", "payment_method")}
AND len(coalesce(items, [])) <= {LINES_MAX}
AND len(list_filter(coalesce(items, []), lambda item:
  item IS NULL
  OR coalesce(strlen(item.product_id), 0) > {ID_BYTES_MAX} OR coalesce(strlen(item.category), 0) > {TEXT_BYTES_MAX}
  OR NOT (item.unit_price IS NULL OR isnan(item.unit_price) OR item.unit_price BETWEEN 0 AND 1e12)
  OR NOT (item.quantity IS NULL OR isnan(item.quantity)
    OR (isfinite(item.quantity) AND item.quantity >= 1 AND item.quantity = floor(item.quantity)))
)) = 0
""",
}
"""What makes a row a record. NaN is no amount where one is required (SQL holds it above every number), and null where
one is not."""

RECORDS: Final = {
    "events": f"""
WITH RECURSIVE valid AS (SELECT *, ts // 3600000 AS hour FROM raw_events WHERE {VALID["events"]}),
counting AS (
  SELECT event_id, min(ts) AS ts FROM valid GROUP BY event_id
  UNION ALL
  SELECT event_id, min(valid.ts) AS ts FROM valid JOIN counting USING (event_id)
  WHERE valid.hour > counting.ts // 3600000 + 48 GROUP BY event_id
)
SELECT * EXCLUDE hour FROM valid SEMI JOIN counting USING (event_id, ts)
QUALIFY row_number() OVER (PARTITION BY event_id, ts) = 1
""",
    "orders": f"""
SELECT *, cents(total) AS total_cents, list_position(['placed', 'cancelled', 'refunded', 'void'], status) AS status_rank
FROM raw_orders WHERE {VALID["orders"]}
""",
}

WINNERS: Final = """
winners AS (
  SELECT * FROM orders WHERE updated_ts <= $as_of
  QUALIFY row_number() OVER (
    PARTITION BY customer_id, order_id ORDER BY updated_ts DESC, status_rank DESC, total_cents DESC
  ) = 1
)
"""

SESSIONS: Final = f"""
seen AS (SELECT * FROM events WHERE ts <= $as_of),
clicks AS (
  SELECT customer_id, session_id, min(ts) AS start_ts, max(ts) AS last_ts,
    (max(ts) - min(ts)) / 1e3 AS duration_s,
    count(*) AS events,
    {", ".join(f"count(*) FILTER (event_type = '{t}') AS n_{t}" for t in TYPES)},
    first(device ORDER BY ts, event_id) AS device,
    first(channel ORDER BY ts, event_id) AS channel,
    first(country ORDER BY ts, event_id) AS country,
    min(ts) FILTER (event_type = 'product_view') AS view_ts,
    min(ts) FILTER (event_type = 'add_to_cart') AS cart_ts,
    min(ts) FILTER (event_type = 'checkout') AS checkout_ts,
    min(ts) FILTER (event_type = 'purchase') AS purchase_ts
  FROM seen GROUP BY customer_id, session_id
),
sessions AS (
  SELECT *, n_purchase > 0 AS converted,
    n_add_to_cart > 0 AND n_purchase = 0 AND last_ts <= $as_of - 1800000 AS abandoned
  FROM clicks
),
views AS (
  SELECT customer_id, session_id, category, count(*) AS n FROM seen
  WHERE event_type = 'product_view' AND category IS NOT NULL
  GROUP BY customer_id, session_id, category
)
"""


def _within(days: int, ts: str) -> str:
    return f"({ts} > $as_of - {days} * 86400000::BIGINT AND {ts} <= $as_of)"


def _order_windows() -> str:
    placed = {days: f"status = 'placed' AND {_within(days, 'ts')}" for days in (7, 30, 90, 365)}
    counts = [f"count(*) FILTER ({test}) AS orders_{days}d" for days, test in placed.items()]
    sums = [f"coalesce(sum(total_cents) FILTER ({test}), 0) / 1e2 AS revenue_{days}d" for days, test in placed.items()]
    return ",\n    ".join([*counts, *sums])


FEATURES: Final = f"""
WITH {WINNERS}, {SESSIONS},
spine AS (
  SELECT customer_id, min(ts) AS first_seen_ts FROM (
    SELECT customer_id, ts FROM seen
    UNION ALL SELECT customer_id, ts FROM orders WHERE updated_ts <= $as_of
  ) GROUP BY customer_id
),
bought AS (
  SELECT customer_id,
    max(ts) FILTER (status = 'placed') AS last_order_ts,
    min(ts) FILTER (status = 'placed') AS first_order_ts,
    count(*) FILTER (status = 'placed') AS orders_total,
    coalesce(sum(total_cents) FILTER (status = 'placed'), 0) / 1e2 AS revenue_total,
    {_order_windows()},
    count(*) FILTER (status IN ('cancelled', 'refunded') AND {_within(365, "ts")}) AS returns_365d
  FROM winners GROUP BY customer_id
),
visited AS (SELECT customer_id, max(ts) AS last_seen_ts FROM seen GROUP BY customer_id),
browsed AS (
  SELECT customer_id,
    count(*) FILTER ({_within(7, "start_ts")}) AS sessions_7d,
    count(*) FILTER ({_within(30, "start_ts")}) AS sessions_30d,
    count(*) FILTER ({_within(90, "start_ts")}) AS sessions_90d
  FROM sessions GROUP BY customer_id
),
month AS (
  SELECT customer_id,
    sum(events) AS events_30d,
    avg(duration_s) AS session_duration_mean_30d,
    sum(n_product_view) AS product_views_30d,
    sum(n_search) AS searches_30d,
    sum(n_add_to_cart) AS add_to_carts_30d,
    count(*) FILTER (n_add_to_cart > 0) AS cart_sessions_30d,
    count(*) FILTER (abandoned) AS abandoned_carts_30d,
    count(*) FILTER (converted) AS converted_sessions_30d,
    count(*) FILTER (device = 'mobile') / count(*) AS mobile_share_30d
  FROM sessions WHERE {_within(30, "start_ts")} GROUP BY customer_id
),
viewed AS (
  SELECT customer_id, category, sum(n) AS n FROM views JOIN sessions USING (customer_id, session_id)
  WHERE {_within(90, "start_ts")} GROUP BY customer_id, category
),
taste AS (
  SELECT customer_id, first(category ORDER BY n DESC, category) AS top_category_90d,
    max(n) / sum(n) AS top_category_share_90d
  FROM viewed GROUP BY customer_id
),
joined AS (
  SELECT *, $as_of AS as_of,
    ($as_of - first_seen_ts) / 86400000 AS tenure_days,
    ($as_of - last_order_ts) / 86400000 AS recency_days,
    ($as_of - last_seen_ts) / 86400000 AS days_since_visit,
    CASE WHEN orders_total >= 2
      THEN (last_order_ts - first_order_ts) / 86400000 / (orders_total - 1) END AS order_gap_mean_days,
    revenue_365d / nullif(orders_365d, 0) AS avg_order_value_365d,
    events_30d / nullif(sessions_30d, 0) AS events_per_session_30d,
    abandoned_carts_30d / nullif(cart_sessions_30d, 0) AS cart_abandon_rate_30d,
    converted_sessions_30d / nullif(sessions_30d, 0) AS conversion_rate_30d,
    sessions_7d / (nullif(sessions_30d, 0) * 7e0 / 30) AS visit_trend
  FROM spine LEFT JOIN bought USING (customer_id) LEFT JOIN visited USING (customer_id)
    LEFT JOIN browsed USING (customer_id) LEFT JOIN month USING (customer_id) LEFT JOIN taste USING (customer_id)
),
rated AS (SELECT *, recency_days / nullif(order_gap_mean_days, 0) AS recency_ratio FROM joined)
"""

NULL_WHEN_NOTHING: Final = {
    *("last_order_ts", "recency_days", "avg_order_value_365d", "order_gap_mean_days", "recency_ratio"),
    *("last_seen_ts", "days_since_visit", "events_per_session_30d", "session_duration_mean_30d"),
    *("cart_abandon_rate_30d", "conversion_rate_30d", "mobile_share_30d", "visit_trend"),
    *("top_category_90d", "top_category_share_90d"),
}
"""The columns that may be null; in all others a count or sum over nothing is 0."""


def _feature_columns() -> str:
    types = {pl.String(): "VARCHAR", pl.Int64(): "BIGINT", pl.Float64(): "DOUBLE"}
    nullable = {"customer_id", *NULL_WHEN_NOTHING}
    values = {name: name if name in nullable else f"coalesce({name}, 0)" for name in FEATURE_DTYPES}
    return ", ".join(f"CAST({values[name]} AS {types[dtype]}) AS {name}" for name, dtype in FEATURE_DTYPES.items())


class ArchiveOracle:
    """The valid records of one archive, and what is true of them at any time.

    Args:
        directory: an archive; its `events` or `orders` folder may be missing.
    """

    def __init__(self, directory: Path) -> None:
        self._db = duckdb.connect(config={"threads": 1})
        self._db.create_function("cents", cents, ["DOUBLE"], "BIGINT")
        self._load("events", directory, EVENT_COLUMNS)
        self._load("orders", directory, ORDER_COLUMNS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._db.close()

    def rows(self, as_of: int) -> pl.DataFrame:
        """The feature row of every customer seen by `as_of` (epoch ms), in byte order of customer_id."""
        return self._frame(f"{FEATURES} SELECT {_feature_columns()} FROM rated ORDER BY customer_id", as_of)

    def sessions(self, as_of: int) -> pl.DataFrame:
        """The document of every session known at `as_of`; times in epoch ms."""
        counts = ", ".join(f"n_{event_type}" for event_type in TYPES)
        return self._frame(
            f"""WITH {SESSIONS},
            top AS (SELECT customer_id, session_id, first(category ORDER BY n DESC, category) AS category
              FROM views GROUP BY customer_id, session_id)
            SELECT customer_id, session_id, start_ts, last_ts, duration_s, events, {counts}, device, channel, country,
              category, CASE WHEN n_purchase > 0 THEN 'purchase' WHEN n_checkout > 0 THEN 'checkout'
                WHEN n_add_to_cart > 0 THEN 'cart' WHEN n_product_view > 0 THEN 'view' ELSE 'visit' END AS stage,
              view_ts, cart_ts, checkout_ts, purchase_ts,
              CASE WHEN view_ts >= start_ts THEN (view_ts - start_ts) / 1e3 END AS to_view_s,
              CASE WHEN cart_ts >= view_ts THEN (cart_ts - view_ts) / 1e3 END AS view_to_cart_s,
              CASE WHEN checkout_ts >= cart_ts THEN (checkout_ts - cart_ts) / 1e3 END AS cart_to_checkout_s,
              CASE WHEN purchase_ts >= checkout_ts THEN (purchase_ts - checkout_ts) / 1e3 END AS checkout_to_purchase_s,
              CASE WHEN purchase_ts >= start_ts THEN (purchase_ts - start_ts) / 1e3 END AS to_purchase_s,
              converted, abandoned
            FROM sessions LEFT JOIN top USING (customer_id, session_id)
            ORDER BY customer_id, session_id""",
            as_of,
        )

    def orders(self, as_of: int) -> pl.DataFrame:
        """The document of every order known at `as_of`: the winning record; `items` is the number of its lines."""
        return self._frame(
            f"""WITH {WINNERS}
            SELECT order_id, customer_id, ts, updated_ts, status, total_cents / 1e2 AS total, session_id, channel,
              country, payment_method, coalesce(len(items), 0) AS items
            FROM winners ORDER BY customer_id, order_id""",
            as_of,
        )

    def order_items(self, as_of: int) -> pl.DataFrame:
        """The document of every line of every winning record known at `as_of`; `line` counts from 1."""
        return self._frame(
            f"""WITH {WINNERS},
            lines AS (SELECT *, unnest(range(1, len(items) + 1)) AS line FROM winners WHERE len(items) > 0),
            typed AS (SELECT * REPLACE (items[line] AS items),
              nullif(items[line].quantity, 'NaN'::DOUBLE)::BIGINT AS quantity,
              cents(nullif(items[line].unit_price, 'NaN'::DOUBLE)) AS unit_cents FROM lines)
            SELECT order_id, line, customer_id, ts, status, items.product_id AS product_id, items.category AS category,
              quantity, unit_cents / 1e2 AS unit_price, quantity * unit_cents / 1e2 AS amount, channel, country
            FROM typed ORDER BY customer_id, order_id, line""",
            as_of,
        )

    def invalid(self) -> dict[str, int]:
        """Rows of the files that are no valid record, by table; a duplicate of a valid one is valid."""
        counts = {}
        for table, valid in VALID.items():
            result = self._db.execute(f"SELECT count(*) FROM raw_{table} WHERE ({valid}) IS NOT TRUE").fetchone()
            counts[table] = int(result[0]) if result else 0
        return counts

    def _frame(self, sql: str, as_of: int) -> pl.DataFrame:
        frame = pl.from_arrow(self._db.sql(sql, params={"as_of": as_of}).to_arrow_table())
        assert isinstance(frame, pl.DataFrame)
        return frame

    def _load(self, table: str, directory: Path, columns: dict[str, str]) -> None:
        files = sorted(str(path) for path in directory.glob(f"{table}/date=*/*.parquet"))
        if files:
            source = self._db.read_parquet(files, union_by_name=True, hive_partitioning=False)
        else:
            source = self._db.sql("SELECT NULL AS nothing LIMIT 0")
        source.project(", ".join(self._column(n, t, n in source.columns) for n, t in columns.items())).create(
            f"raw_{table}"
        )
        self._db.execute(f"CREATE TABLE {table} AS {RECORDS[table]}")

    @staticmethod
    def _column(name: str, sql_type: str, present: bool) -> str:
        value = f"CAST({name if present else 'NULL'} AS {sql_type})"
        return f"epoch_ms({value}) AS {name}" if sql_type == "TIMESTAMPTZ" else f"{value} AS {name}"


def oracle_rows(directory: Path, as_of: int) -> pl.DataFrame:
    """The feature rows of an archive at one time; `ArchiveOracle` answers for several without reading twice."""
    with ArchiveOracle(directory) as oracle:
        return oracle.rows(as_of)
