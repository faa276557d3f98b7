"""The shop goes on where its history ended: in order, without a gap, with new ids, at the same or a given rate."""

from datetime import date
from itertools import islice

import pyarrow as pa
import pytest

from features.errors import UsageError
from features.schema import DAY_MS, HOUR_MS
from producers.archive import archive
from producers.shop.continuation import live_batches, natural_rate
from producers.shop.history import history, history_salt
from producers.shop.shop import Shop, build

SHOP = Shop(end_ms=archive.day_start_ms(date(2025, 6, 1)), seed=6, customers=800, events=400_000, days=80)


@pytest.fixture(scope="module")
def model():
    return build(SHOP)


@pytest.fixture(scope="module")
def past(model):
    batches = list(history(model))
    return pa.concat_tables(b.events for b in batches), pa.concat_tables(b.orders for b in batches)


@pytest.fixture(scope="module")
def week(model):
    return list(islice(live_batches(model, step_ms=HOUR_MS), 7 * 24))


def joined(batches, topic):
    return pa.concat_tables(getattr(batch, topic) for batch in batches)


def test_live_batches_are_consecutive_and_hold_their_own_time(week):
    border = SHOP.end_ms
    for batch in week:
        assert batch.start_ms == border
        border = batch.end_ms
        for table, column in ((batch.events, "ts"), (batch.orders, "updated_ts"), (batch.customers, "signup_ts")):
            times = table[column].cast("int64").to_pylist()
            assert times == sorted(times)
            assert all(batch.start_ms <= t < batch.end_ms for t in times)
    assert border == SHOP.end_ms + 7 * DAY_MS


def test_live_ids_are_unique(past, week, model):
    fast = list(islice(live_batches(model, rate=50, step_ms=60_000), 30))
    faster = list(islice(live_batches(model, rate=60, step_ms=60_000), 30))
    for topic, index, column in (("events", 0, "event_id"), ("orders", 1, "order_id")):
        live = [joined(batches, topic) for batches in (week, fast, faster)]
        if topic == "orders":  # the changes of history's orders bear their ids
            live = [table.filter(pa.compute.equal(table["ts"], table["updated_ts"])) for table in live]
        old = set(past[index][column].to_pylist())
        new = [table[column].to_pylist() for table in live]
        for ids in new:
            assert len(ids) > 100
            assert len(set(ids)) == len(ids)
            assert not old & set(ids)
        of_history = history_salt(SHOP)  # what history left unfinished goes on in each of them
        own = [i for ids in new for i in ids if i[1:6] != of_history]
        assert len(set(own)) == len(own)


def test_live_rate_continues_that_of_the_history(week, model):
    daily = [joined(week[d * 24 : d * 24 + 24], "events").num_rows for d in range(7)]
    before = model.day_targets[-7:]
    assert sum(daily) == pytest.approx(before.sum(), rel=0.15)
    assert natural_rate(model) == pytest.approx(before.sum() / 7 / 86_400)
    orders = joined(week, "orders")
    placed = pa.compute.sum(pa.compute.equal(orders["ts"], orders["updated_ts"])).as_py()
    sessions = len(joined(week, "events")["session_id"].unique())
    assert placed / sessions == pytest.approx(SHOP.conversion, rel=0.2)


def test_visits_and_orders_cut_by_the_end_of_history_continue(past, week):
    events, orders = past
    later = joined(week, "events")
    cut = set(events["session_id"].to_pylist()) & set(later["session_id"].to_pylist())
    assert cut
    last = dict(zip(later["session_id"].to_pylist(), later["ts"].cast("int64").to_pylist(), strict=True))
    assert all(last[session] < SHOP.end_ms + 8 * HOUR_MS for session in cut)
    changes = joined(week, "orders")
    changed = set(changes["order_id"].to_pylist()) & set(orders["order_id"].to_pylist())
    assert len(changed) > 10
    status = dict(zip(changes["order_id"].to_pylist(), changes["status"].to_pylist(), strict=True))
    assert {"refunded", "cancelled"} & {status[order] for order in changed}


def test_profile_of_a_new_customer_arrives_with_its_first_visit(week):
    arrived = joined(week, "customers")
    ids = arrived["customer_id"].to_pylist()
    assert ids == [f"c{SHOP.customers + 1 + i:07d}" for i in range(len(ids))]
    assert len(ids) > 20
    first = {}
    events = joined(week, "events")
    for customer, ts in zip(events["customer_id"].to_pylist(), events["ts"].to_pylist(), strict=True):
        first.setdefault(customer, ts)
    signups = dict(zip(ids, arrived["signup_ts"].to_pylist(), strict=True))
    assert all(first[customer] == signup for customer, signup in signups.items())


def test_later_start_gives_the_records_of_an_earlier_start(week, model):
    hours = 2 * 24 + 5
    later = list(islice(live_batches(model, start_ms=SHOP.end_ms + hours * HOUR_MS, step_ms=HOUR_MS), 30))
    for ours, theirs in zip(later, week[hours:], strict=False):
        assert ours == theirs


def test_step_size_does_not_change_the_records(week, model):
    small = list(islice(live_batches(model, step_ms=7 * 60_000), 200))
    span_ms = small[-1].end_ms - SHOP.end_ms
    both = joined(small, "events"), joined(week[: span_ms // HOUR_MS], "events")
    size = min(t.num_rows for t in both)
    assert size > 4_000
    assert both[0].slice(0, size).equals(both[1].slice(0, size))


@pytest.mark.parametrize("rate", [5.0, 200.0])
def test_given_rate_is_constant_from_the_start_and_at_night(rate, model):
    counts = [batch.events.num_rows for batch in islice(live_batches(model, rate=rate, step_ms=60_000), 240)]
    assert sum(counts[60:]) / (180 * 60) == pytest.approx(rate, rel=0.05)
    assert sum(counts[:10]) / 600 == pytest.approx(rate, rel=0.25)


def test_impossible_live_options_are_usage_errors(model):
    for wrong in ({"start_ms": SHOP.end_ms - 1}, {"rate": 0}, {"rate": float("nan")}, {"step_ms": 0}):
        with pytest.raises(UsageError):
            live_batches(model, **wrong)
