"""Sessions of clicks without sessions.

clicks of c   0 ......... 29:59.999   |   0 ......... 30:00.000
sessions      [---------- one ------]     [-one-]     [-another-]
"""

from itertools import pairwise

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.schema import ABANDONED_AFTER_MS, DAY_MS
from producers.importing.sessionise import with_sessions

START = 1_700_000_000_000


def sessions(clicks, session_id=None, event_id=None):
    frame = pl.DataFrame(
        {
            "_row": range(len(clicks)),
            "event_type": ["page_view"] * len(clicks),
            "customer_id": [customer for customer, _ in clicks],
            "ts": pl.Series([START + ts for _, ts in clicks], dtype=pl.Int64),
            "session_id": pl.Series(session_id or [None] * len(clicks), dtype=pl.String),
            "event_id": pl.Series(event_id or [None] * len(clicks), dtype=pl.String),
        }
    )
    return with_sessions(frame).sort("_row")


@pytest.mark.parametrize(("gap", "expected"), [(ABANDONED_AFTER_MS - 1, 1), (ABANDONED_AFTER_MS, 2)])
def test_session_ends_at_the_gap_to_the_millisecond(gap, expected):
    assert sessions([("c", 0), ("c", gap)])["session_id"].n_unique() == expected


def test_a_session_is_named_by_customer_and_first_click():
    found = sessions([("c", 60_000), ("c", 0)])
    assert found["session_id"].to_list() == [f"c-{START}"] * 2
    assert found["event_id"].to_list() == [f"c-{START}-1", f"c-{START}-0"]


def test_customers_do_not_share_sessions():
    assert sessions([("a", 0), ("b", 0), ("a", 1)])["session_id"].to_list() == [
        f"a-{START}",
        f"b-{START}",
        f"a-{START}",
    ]


def test_clicks_of_the_same_time_are_in_the_order_of_the_funnel_whatever_their_order_in_the_file():
    types = ["purchase", "page_view", "add_to_cart"]
    clicks = pl.DataFrame({"event_type": types, "customer_id": "c", "ts": START, "session_id": None, "event_id": None})
    found = with_sessions(clicks.cast({"session_id": pl.String, "event_id": pl.String}))
    assert found["event_type"].to_list() == ["page_view", "add_to_cart", "purchase"]
    assert found["event_id"].to_list() == [f"c-{START}-{n}" for n in range(3)]


@given(
    rows=st.lists(
        st.tuples(
            st.sampled_from(["a", "b"]), st.integers(0, 2), st.sampled_from(["page_view", "purchase"]),
            st.sampled_from([None, "mug", "pen"]), st.sampled_from([None, "s"]),
        ),
        min_size=2, max_size=12,
    ).flatmap(lambda rows: st.tuples(st.just(rows), st.permutations(rows)))
)  # fmt: skip
def test_clicks_of_one_moment_get_the_same_ids_in_any_order(rows):
    schema = {"customer_id": pl.String, "ts": pl.Int64, "event_type": pl.String, "product_id": pl.String}
    schema |= {"session_id": pl.String}
    one, other = (
        with_sessions(pl.DataFrame(some, schema, orient="row").with_columns(event_id=pl.lit(None, pl.String)))
        for some in rows
    )
    assert one.equals(other)


def test_each_session_is_cut_a_day_after_its_own_first_click():
    hour = 3_600_000
    times = [0, *(n * 20 * 60_000 for n in range(1, 75)), 49 * hour - 20 * 60_000]  # every 20 minutes for 24 h 40 min
    every = sorted({*times, *(24 * hour + n * 20 * 60_000 for n in range(75))})
    found = sessions([("c", ts) for ts in every])
    starts = found["session_id"].unique(maintain_order=True).to_list()
    assert starts[:2] == [f"c-{START}", f"c-{START + 24 * hour}"]
    spans = found.group_by("session_id").agg(pl.col("ts").max() - pl.col("ts").min())
    assert spans["ts"].max() < DAY_MS


def test_session_of_the_source_is_cut_a_day_after_its_first_click():
    found = sessions([("c", 0), ("c", DAY_MS - 1), ("c", DAY_MS), ("d", 0)], session_id=["s"] * 4)
    assert found["session_id"].to_list() == ["s", "s", f"s-{START + DAY_MS}", "s"]


def test_session_lasts_less_than_a_day():
    found = sessions([("c", n * 60_000) for n in range(3_000)])
    spans = found.group_by("session_id").agg(pl.col("ts").max() - pl.col("ts").min())
    assert len(spans) == 3
    assert spans["ts"].max() < DAY_MS


def test_ids_of_the_source_are_preserved():
    found = sessions([("c", 0), ("c", 1)], session_id=["own", None], event_id=[None, "mine"])
    assert found["session_id"].to_list() == ["own", f"c-{START}"]
    assert found["event_id"].to_list() == [f"c-{START}-0", "mine"]


def by_hand(clicks):
    """Each click's session start, by a plain loop."""
    starts = {}
    for customer in {customer for customer, _ in clicks}:
        times = sorted(ts for who, ts in clicks if who == customer)
        start = times[0]
        starts[customer, start] = start
        for before, ts in pairwise(times):
            start = ts if ts - before >= ABANDONED_AFTER_MS else start
            starts[customer, ts] = start
    return [starts[click] for click in clicks]


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["a", "b", "a-1"]), st.integers(0, 40).map(lambda n: n * 600_000)), min_size=1)
)
def test_sessions_equal_a_plain_loop_and_ids_are_unique(clicks):
    found = sessions(clicks)
    expected = [f"{customer}-{START + start}" for (customer, _), start in zip(clicks, by_hand(clicks), strict=True)]
    assert found["session_id"].to_list() == expected
    assert found["event_id"].n_unique() == len(clicks)
