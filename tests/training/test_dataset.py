"""The training set: what a row may know, and what its label is."""

from collections import defaultdict

import polars as pl
import pyarrow as pa
import pytest
from polars.testing import assert_frame_equal

from features.backfill import rows_at
from features.errors import ShopstreamError, UsageError
from features.schema import DAY_MS, Event, Order, arrow_schema
from shopstream.jobs.archive_features import archive_days, batch_features
from training import dataset
from training.dataset import LABEL, build, plan_cutoffs
from training.labels import BOUGHT, DAYS, REVENUE, STEP, WINDOWS, OutcomeCollector, outcome_times
from training.options import Horizon

T0 = 20_000 * DAY_MS
CUTOFF = T0 + 50 * DAY_MS
HORIZON_DAYS = 30
IN = CUTOFF + 5
END = CUTOFF + HORIZON_DAYS * DAY_MS


def order(customer, ts, *, updated=None, status="placed", order_id=None):
    return {
        "order_id": order_id or f"{customer}-{ts}", "customer_id": customer, "ts": ts, "updated_ts": updated or ts,
        "status": status, "total": 10.0,
    }  # fmt: skip


def event(customer, ts):
    return {
        "event_id": f"{customer}-{ts}", "event_type": "page_view", "customer_id": customer, "session_id": f"s{ts}",
        "ts": ts, "device": "mobile",
    }  # fmt: skip


def reader(orders=(), events=()):
    """Days and a reader of records that are held in memory."""
    found = defaultdict(list)
    for topic, rows, time in (("orders", orders, "updated_ts"), ("events", events, "ts")):
        for row in rows:
            found[topic, row[time] // DAY_MS].append(row)
    schemas = {
        topic: pa.schema([field.with_nullable(True) for field in arrow_schema(record)])
        for topic, record in (("orders", Order), ("events", Event))
    }
    tables = {key: pa.Table.from_pylist(rows, schema=schemas[key[0]]) for key, rows in found.items()}
    return sorted({day for _, day in found}), lambda topic, day: [tables[topic, day]] if (topic, day) in tables else []


def labels(orders, cutoffs=(CUTOFF,)):
    days, read_day = reader(orders)
    rows = build(days, read_day, list(cutoffs), HORIZON_DAYS, end_ms=END).rows
    return {(row["customer_id"], row["as_of"]): row[LABEL] for row in rows.iter_rows(named=True)}


# --- labels -----------------------------------------------------------------------------------------------------------
#  first order      cut-off                      end of the horizon
#  ----x---------------|------------------------------|------------
@pytest.mark.parametrize(
    ("after", "churned"),
    [
        ([], 1),
        ([order("a", CUTOFF)], 1),  # at the cut-off: known, not in the horizon
        ([order("a", CUTOFF + 1)], 0),
        ([order("a", END)], 0),
        ([order("a", END + 1)], 1),
        ([order("a", IN, order_id="x"), order("a", IN, updated=END, status="cancelled", order_id="x")], 1),
        # refunded only after the horizon: at its end the order stood
        ([order("a", IN, order_id="x"), order("a", IN, updated=END + 1, status="refunded", order_id="x")], 0),
        # placed in the horizon, and known only after it
        ([order("a", IN, updated=END + 1)], 1),
    ],
)  # fmt: skip
def test_label_is_whether_an_order_is_valid_at_the_end_of_the_horizon(after, churned):
    assert labels([order("a", T0), *after])["a", CUTOFF] == churned


def test_order_change_within_the_horizon_is_not_a_new_order():
    first = [order("a", T0, order_id="x"), order("a", T0 + 1, order_id="y")]
    assert labels([*first, order("a", T0 + 1, updated=CUTOFF + 9, status="refunded", order_id="y")])["a", CUTOFF] == 1


def test_customers_without_an_order_at_the_cutoff_have_no_row():
    cancelled = [order("b", T0, order_id="x"), order("b", T0, updated=T0 + 9, status="cancelled", order_id="x")]
    assert set(labels([order("a", T0), *cancelled, order("c", CUTOFF + 1)])) == {("a", CUTOFF)}


# --- the next purchase ------------------------------------------------------------------------------------------------
DAYS_90 = CUTOFF + 90 * DAY_MS


def followed(orders, *, end=DAYS_90, events=()):
    """Customer -> what it did next, by the name of the outcome."""
    days, read_day = reader(orders, events)
    rows = build(days, read_day, [CUTOFF], HORIZON_DAYS, end_ms=end).followed.filter(pl.col("as_of") == CUTOFF)
    return {row["customer_id"]: {name: row[name] for name in WINDOWS} for row in rows.iter_rows(named=True)}


def at(day, **values):
    return order("a", CUTOFF + int(day * DAY_MS), order_id=f"{day}", **values)


#  first order      cut-off          30 days                        90 days
#  ----x---------------|----------------|------------------------------|----
@pytest.mark.parametrize(
    ("after", "bought", "next_days", "revenue"),
    [
        ([], 0, 90, 0),
        ([order("a", CUTOFF)], 0, 90, 0),  # at the cut-off: known, not after it
        ([at(3.25)], 1, 3.25, 10),
        ([at(30)], 1, 30, 10),
        ([order("a", END + 1)], 0, 30 + 1 / DAY_MS, 10),
        ([at(90)], 0, 90, 10),
        ([order("a", DAYS_90 + 1)], 0, 90, 0),
        ([at(3), at(20), at(89)], 1, 3, 30),
        # of two orders within one step the later one is seen
        ([at(6), at(8)], 1, 8, 20),
        # only an order that stands is a purchase
        ([at(3), at(3, updated=CUTOFF + 12 * DAY_MS, status="cancelled")], 0, 90, 0),
        ([at(3), at(3, updated=CUTOFF + 12 * DAY_MS, status="cancelled"), at(41)], 0, 41, 10),
        # it stood for 30 days, and no longer at the end of 90
        ([at(3), at(3, updated=CUTOFF + 40 * DAY_MS, status="refunded")], 1, 90, 0),
    ],
)  # fmt: skip
def test_outcome_holds_the_valid_orders_at_the_end_of_its_window(after, bought, next_days, revenue):
    filler = order("b", DAYS_90)
    found = followed([order("a", T0), *after, filler])["a"]
    assert found == {BOUGHT: bought, DAYS: pytest.approx(next_days, abs=1e-9), REVENUE: revenue}


#  cut-off     30 days     60 days     90 days
#  ---|-----------|-----------|-----------|---
@pytest.mark.parametrize(
    ("after", "known_days", "step"),
    [
        ([], 90, 0),
        ([at(3)], 90, 1),
        ([at(30)], 90, 1),
        ([at(31)], 90, 2),
        ([at(61), at(80)], 90, 3),
        ([order("a", DAYS_90 + 1)], 90, 0),
        ([at(31)], 59, 0),
        ([at(31)], 60, 2),
        ([at(3)], 29, None),
        # valid at the end of its step: what is known later changes nothing
        ([at(3), at(3, updated=CUTOFF + 40 * DAY_MS, status="refunded")], 90, 1),
        ([at(3), at(3, updated=CUTOFF + 12 * DAY_MS, status="cancelled"), at(41)], 90, 2),
    ],
)
def test_step_is_the_first_at_whose_end_an_order_is_valid(after, known_days, step):
    end = CUTOFF + known_days * DAY_MS
    needed = sorted({CUTOFF, *outcome_times([CUTOFF], end, 90)})
    collector = None
    for time, found in rows_at(*reader([order("a", T0), *after]), needed):
        if time == CUTOFF:
            collector = OutcomeCollector(found.sort("customer_id"), CUTOFF, 90)
        else:
            collector.observe(time, found)
    labelled = collector.labelled()
    assert labelled.filter(pl.col("customer_id") == "a")[STEP].to_list() == [step]


def test_an_outcome_does_not_depend_on_where_the_archive_ends():
    """Later cut-offs are looked at too, at times that lie between the steps of this one."""
    orders = [order("a", T0), at(6), at(8)]
    assert [followed(orders, end=DAYS_90 + days * DAY_MS)["a"][DAYS] for days in range(5)] == [8.0] * 5


def test_incomplete_window_has_no_outcome_even_for_buyers():
    """To keep those who bought early would call the shop quicker than it is."""
    orders = [order("a", T0), order("b", T0), at(2)]
    nothing = {DAYS: None, REVENUE: None}
    assert followed(orders, end=DAYS_90 - 1) == {"a": {BOUGHT: 1} | nothing, "b": {BOUGHT: 0} | nothing}
    assert followed(orders)["b"] == {BOUGHT: 0, DAYS: 90, REVENUE: 0}


def test_outcomes_include_customers_without_an_order():
    orders = [order("a", T0), order("c", CUTOFF + DAY_MS), order("d", CUTOFF + DAY_MS)]
    found = followed(orders, events=[event("b", T0), event("c", T0)])
    assert {name: one[BOUGHT] for name, one in found.items()} == {"a": 0, "b": 0, "c": 1}  # d is not known yet


def test_records_after_a_window_do_not_change_its_outcome(training, archive):
    """The archive cut short says the same of every window that had ended by then."""
    days, read_day = archive_days(archive)
    end = training.end_ms - 10 * DAY_MS
    cutoffs = [cutoff for cutoff in training.cutoffs if cutoff + 30 * DAY_MS <= end]
    short = build(days, until(read_day, end), cutoffs, 30, end_ms=end).followed
    short, whole = (each.filter(pl.col("as_of").is_in(cutoffs)) for each in (short, training.followed))
    for name, window in WINDOWS.items():
        over = pl.col("as_of") + window * DAY_MS <= end
        assert short.filter(over).select(name).equals(whole.filter(over).select(name))
        assert short.filter(over)[name].null_count() == 0
        assert short.filter(~over)[name].is_null().all()
    assert short.filter(pl.col("as_of") + 90 * DAY_MS <= end).height > 0


# --- leaks ------------------------------------------------------------------------------------------------------------
def until(read_day, end):
    """A reader of the records that were known at a time."""

    def read(topic, day):
        time = "ts" if topic == "events" else "updated_ts"
        for table in read_day(topic, day):
            yield table.filter(pa.compute.less_equal(table[time].cast(pa.int64()), end))

    return read


def leaks(training, archive):
    """Cut-offs whose rows differ from those of an archive that ends there."""
    found = []
    for cutoff in training.cutoffs[::3]:
        days, read_day = archive_days(archive)
        ((_, alone),) = rows_at(days, until(read_day, cutoff), [cutoff])
        alone = alone.sort("customer_id")
        ours = training.rows.filter(pl.col("as_of") == cutoff).drop(LABEL)
        every = training.followed.filter(pl.col("as_of") == cutoff).drop(*WINDOWS, STEP)
        if not (ours.equals(alone.filter(pl.col("orders_total") > 0)) and every.equals(alone)):
            found.append(cutoff)
    return found


def test_records_after_a_cutoff_do_not_change_its_row(training, archive):
    assert len(training.cutoffs) > 3
    assert leaks(training, archive) == []


def test_planted_leak_is_detected(archive, monkeypatch):
    """Rows that know one day more than they say."""

    def leaking(days, read_day, cutoffs, counts=None, on_day=lambda _: None):
        for time, rows in rows_at(days, read_day, [cutoff + DAY_MS for cutoff in cutoffs], counts, on_day):
            yield time - DAY_MS, rows.with_columns(as_of=pl.lit(time - DAY_MS, pl.Int64))

    monkeypatch.setattr(dataset, "rows_at", leaking)
    days, read_day = archive_days(archive)
    first, end = dataset.known_span(days, read_day)
    cutoffs = plan_cutoffs(first, end, Horizon(30, 40, 15, 6))
    assert leaks(build(days, read_day, cutoffs, 30, end_ms=end), archive) == cutoffs[::3]


def test_rows_of_many_cutoffs_equal_those_of_single_cutoffs(training, archive):
    cutoff = training.cutoffs[2]
    alone = batch_features(archive, cutoff).filter(pl.col("orders_total") > 0)
    assert_frame_equal(training.rows.filter(pl.col("as_of") == cutoff).drop(LABEL), alone, check_exact=True)


# --- cut-offs ---------------------------------------------------------------------------------------------------------
def test_cutoffs_end_a_horizon_before_the_end_and_begin_after_the_history():
    found = plan_cutoffs(T0, T0 + 365 * DAY_MS, Horizon(90, 90, 15, 24))
    assert found[-1] == T0 + 275 * DAY_MS
    assert found[0] >= T0 + 90 * DAY_MS
    assert len(found) == 13
    assert plan_cutoffs(T0, T0 + 365 * DAY_MS, Horizon(90, 90, 15, 2)) == found[-2:]


def test_archive_that_is_too_short_is_an_error():
    with pytest.raises(ShopstreamError, match=r"holds 100 days.*90.*90"):
        plan_cutoffs(T0, T0 + 100 * DAY_MS, Horizon())


def test_a_horizon_beyond_the_end_is_refused():
    days, read_day = reader([order("a", T0)])
    with pytest.raises(UsageError, match="horizon"):
        build(days, read_day, [CUTOFF], HORIZON_DAYS, end_ms=END - 1)


def test_time_span_covers_events_and_placed_orders():
    rows = [order("a", T0 + 7), order("a", T0 + 7, updated=T0 + 40 * DAY_MS, status="refunded")]
    assert dataset.known_span(*reader(rows, [event("a", T0 + 3), event("a", T0 + 9 * DAY_MS)])) == (
        T0 + 3,
        T0 + 9 * DAY_MS,
    )
    with pytest.raises(ShopstreamError, match="no events"):
        dataset.known_span(*reader())


def test_invalid_rows_do_not_change_the_time_span():
    rows = [order("a", T0), order("a", T0 + 3 * DAY_MS) | {"total": -1.0}, order("", T0 - 5 * DAY_MS)]
    others = [event("a", T0 + DAY_MS), event("a", T0 + 9 * DAY_MS) | {"device": "fridge"}]
    assert dataset.known_span(*reader(rows, others)) == (T0, T0 + DAY_MS)
    with pytest.raises(ShopstreamError, match="no events"):
        dataset.known_span(*reader(rows[1:], others[1:]))
