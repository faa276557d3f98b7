"""Each rule on rows written by hand: what goes, what is repaired, what stays."""

import sys
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from conftest import HOUR, NOW_MS, T0, at, event, order, read, write

from features.errors import ShopstreamError, UsageError
from features.schema import ORDER_CHANGE_MS_MAX
from training.cleaning.plan import CleaningPlan, Outliers

DAY = 86_400_000


# --- duplicates -------------------------------------------------------------------------------------------------------
def test_repeated_event_is_written_once(clean):
    done = clean(events=[event(1), event(2), event(1), event(1)])
    assert [row["event_id"] for row in done.events()] == ["e1", "e2"]
    assert done.rules() == {("events", "exact duplicate"): 2}


def test_rows_that_differ_only_in_spelling_are_duplicates(clean):
    done = clean(events=[event(1), event(1, device=" Mobile", event_type="Page-View")])
    assert done.rules()["events", "exact duplicate"] == 1
    assert done.rules()["events", "spelling"] == 2


@pytest.mark.parametrize("order_of_rows", [1, -1])
def test_earlier_of_two_events_with_one_id_wins(clean, order_of_rows):
    done = clean(events=[event(1, ts=T0 + 5), event(1, ts=T0 + 4)][::order_of_rows])
    assert [row["ts"] for row in done.events()] == [at("2025-05-01T00:00:00.004")]
    assert done.rules() == {("events", "event id used twice"): 1}


def test_status_changes_of_an_order_are_not_duplicates(clean):
    refund = order(1, updated_ts=T0 + DAY, status="refunded")
    done = clean(orders=[order(1), refund, order(1)])
    assert [row["status"] for row in done.orders()] == ["placed", "refunded"]
    assert done.rules() == {("orders", "exact duplicate"): 1}


def test_an_order_has_one_customer(clean):
    done = clean(orders=[order(1), order(1, ts=T0 + HOUR, updated_ts=T0 + DAY, customer_id="bob", status="refunded")])
    assert [row["customer_id"] for row in done.orders()] == ["ann"]
    assert done.rules() == {("orders", "order id used twice"): 1}


def moved(customer, at, status="placed", **fields):
    return order(1, ts=T0, updated_ts=at, customer_id=customer, status=status, **fields)


@pytest.mark.parametrize("order_of_rows", [1, -1])
@pytest.mark.parametrize(
    ("records", "dropped"),
    [
        # the former customer's record is void, then the order is another one's, with all its later changes
        ([("ann", 0, "placed"), ("ann", 5, "void"), ("bob", 5, "placed"), ("bob", 9, "refunded")], []),
        ([("ann", 0, "placed"), ("ann", 5, "void"), ("bob", 7, "placed")], []),
        # there and back again
        (
            [("ann", 0, "placed"), ("ann", 5, "void"), ("bob", 5, "placed"), ("bob", 7, "void"), ("ann", 7, "placed")],
            [],
        ),
        # of records at one time the void one wins
        ([("ann", 0, "placed"), ("ann", 5, "refunded"), ("ann", 5, "void"), ("bob", 5, "placed")], []),
        # nobody gave it away
        ([("ann", 0, "placed"), ("bob", 5, "placed")], [("bob", 5)]),
        ([("ann", 0, "placed"), ("bob", 5, "placed"), ("ann", 6, "void"), ("bob", 9, "placed")], [("bob", 5)]),
        # two at one time: the first in byte order has it
        ([("ann", 0, "placed"), ("ann", 5, "void"), ("bob", 5, "placed"), ("cat", 5, "placed")], [("cat", 5)]),
        # a void record takes nothing from anybody
        ([("ann", 0, "placed"), ("bob", 5, "void")], []),
    ],
)
def test_an_order_passes_to_another_customer_when_the_former_record_is_void(clean, records, dropped, order_of_rows):
    rows = [moved(customer, T0 + hours * HOUR, status) for customer, hours, status in records]
    done = clean(orders=rows[::order_of_rows])
    kept = sorted((r["customer_id"], r["updated_ts"], r["status"]) for r in done.orders())
    wanted = [(c, h, s) for c, h, s in records if (c, h) not in dropped]
    assert kept == sorted((c, at(f"2025-05-01T{h:02d}:00:00"), s) for c, h, s in wanted)
    assert done.rules().get(("orders", "order id used twice"), 0) == len(dropped)


# --- times ------------------------------------------------------------------------------------------------------------
def test_rows_with_impossible_times_are_dropped(clean):
    bad = [event(2, ts=None), event(3, ts=0), event(4, ts=-DAY), event(5, ts=NOW_MS + DAY + 1)]
    done = clean(events=[event(1), event(6, ts=NOW_MS + DAY), *bad])
    assert [row["event_id"] for row in done.events()] == ["e1", "e6"]
    assert done.rules() == {
        ("events", "ts missing"): 1,
        ("events", "ts too early"): 2,
        ("events", "ts in the future"): 1,
    }


@pytest.mark.parametrize(("later", "kept"), [(-1, False), (0, True), (ORDER_CHANGE_MS_MAX, True),
                                             (ORDER_CHANGE_MS_MAX + 1, False)])  # fmt: skip
def test_order_changes_outside_the_bounds_are_dropped(clean, later, kept):
    ts = T0 - ORDER_CHANGE_MS_MAX
    assert len(clean(orders=[order(0, ts=T0), order(1, ts=ts, updated_ts=ts + later)]).orders()) == 1 + kept


def test_time_in_seconds_is_converted_and_moved_to_its_day(clean):
    done = clean(events=[event(1, ts=T0 // 1_000 + 7)])
    assert done.events()[0]["ts"] == at("2025-05-01T00:00:07")
    assert (done.out / "events/date=2025-05-01").is_dir()
    assert done.rule("events", "seconds for milliseconds")["examples"][0]["after"] == T0 + 7_000
    assert clean(events=[event(1, ts=T0 // 1_000)], plan=CleaningPlan(seconds=False)).rules() == {
        ("events", "ts too early"): 1
    }


def test_times_as_text_are_parsed_in_the_zone_of_the_plan(clean):
    texts = ["2025-05-01T10:00:00+02:00", "2025-05-01T08:00:01Z", "2025-05-01 10:00:02", "yesterday", str(T0)]
    done = clean(events=[event(n, ts=text) for n, text in enumerate(texts)], plan=CleaningPlan(zone="Europe/Berlin"))
    assert [row["ts"].isoformat()[11:19] for row in done.events()] == ["00:00:00", "08:00:00", "08:00:01", "08:00:02"]
    assert done.rule("events", "ts unreadable")["count"] == 1
    assert done.rule("events", "ts without a zone")["count"] == 2  # epoch milliseconds say none either


def test_time_columns_without_a_zone_use_the_zone_of_the_plan(clean):
    done = clean(events=[event(1, ts=datetime(2025, 5, 1, 10))], plan=CleaningPlan(zone="Asia/Kolkata"))
    assert done.events()[0]["ts"] == at("2025-05-01T04:30:00")
    assert done.rules() == {("events", "ts without a zone"): 1}


# --- values -----------------------------------------------------------------------------------------------------------
def test_numbers_as_text_are_parsed_or_become_null(clean):
    done = clean(events=[event(1, price=" 1.5", quantity="2"), event(2, price="dear", quantity="1")])
    assert [(row["price"], row["quantity"]) for row in done.events()] == [(1.5, 2), (None, 1)]
    assert done.rules()["events", "price of another type"] == 1


def test_amounts_are_rounded_to_whole_cents(clean):
    items = [{"product_id": "p", "category": "c", "quantity": 1, "unit_price": 0.015}]
    done = clean(events=[event(1, price=1.015)], orders=[order(1, total=9.999, items=items)])
    assert done.events()[0]["price"] == 1.02
    assert done.orders()[0]["total"] == 10.0
    assert done.orders()[0]["items"][0]["unit_price"] == 0.02
    assert done.rules() == {("events", "fractions of a cent"): 1, ("orders", "fractions of a cent"): 2}


def test_most_common_spelling_replaces_the_others(clean):
    line = {"product_id": "p", "quantity": 1, "unit_price": 1.0}
    events = [
        event(n, category=word) for n, word in enumerate(["Home-Goods", "home goods", "home goods", "HOME_GOODS"])
    ]
    done = clean(events=events, orders=[order(1, items=[line | {"category": "Home  Goods"}], country="de")])
    assert {row["category"] for row in done.events()} == {"home goods"}
    assert done.orders()[0]["items"][0]["category"] == "home goods"
    assert done.orders()[0]["country"] == "DE"


def test_declared_spelling_wins_over_the_most_common_one(clean):
    plan = CleaningPlan(spellings={"category": {"Bücher": "books"}, "device": {"iPhone": "mobile"}})
    done = clean(events=[event(1, category="bücher", device="IPHONE"), event(2, category="Bücher")], plan=plan)
    assert [(row["category"], row["device"]) for row in done.events()] == [("books", "mobile")] * 2


def test_likely_typing_error_is_flagged_and_not_changed(clean):
    done = clean(events=[event(n, category="electronics") for n in range(150)] + [event(999, category="electroncis")])
    assert done.rules() == {("events", "looks misspelt"): 1}
    assert "electroncis" in {row["category"] for row in done.events()}


def test_fills_are_declared_by_column(clean):
    plan = CleaningPlan.model_validate({"fill": {
        "events": {"category": "by_product", "country": "by_customer", "channel": "most_common",
                   "device": {"constant": "desktop"}},
        "customers": {"age": "median", "gender": "drop"},
    }})  # fmt: skip
    people = [
        {"customer_id": name, "email": f"{name}@example.com", "country": "FR", "age": age, "gender": gender}
        for name, age, gender in [("ann", 20, "f"), ("bob", 40, "m"), ("cyd", None, "f"), ("dan", 30, None)]
    ]
    events = [
        event(1, product_id="p", category="toys", channel="mail"),
        event(2, product_id="p", category=None, channel=None, device=None),
    ]
    done = clean(events=events, customers=people, plan=plan)
    assert {(r["category"], r["country"], r["channel"]) for r in done.events()} == {("toys", "FR", "mail")}
    assert done.events()[1]["device"] == "desktop"
    assert [(r["customer_id"], r["age"]) for r in done.customers()] == [("ann", 20), ("bob", 40), ("cyd", 30)]
    assert done.rules()["customers", "gender missing"] == 1


def test_outliers_are_flagged_and_not_changed(clean):
    events = [event(n, category="toys", price=9.0 + n % 3) for n in range(100)] + [
        event(500, category="toys", price=900.0)
    ]
    done = clean(events=events, plan=CleaningPlan(outliers=Outliers(events_a_day=100)))
    assert done.rules() == {("events", "odd price"): 1, ("events", "too many events"): 1}
    assert len(done.events()) == 101
    flags = pl.read_parquet(done.out / "cleaning_flags.parquet")
    assert sorted(flags["id"].to_list()) == ["ann", "e500"]


def test_rows_with_amounts_or_lines_out_of_bounds_are_dropped(clean):
    line = {"product_id": "p", "category": "c", "quantity": 0, "unit_price": 1.0}
    done = clean(
        events=[event(1, price=-1.0), event(2, price=float("inf")), event(3, quantity=0), event(4, quantity=1.5)],
        orders=[order(1, items=[line]), order(2, total=1.1e12), order(3)],
    )
    assert done.events() == []
    assert [row["order_id"] for row in done.orders()] == ["o3"]


# --- customer ids -----------------------------------------------------------------------------------------------------
def shared():
    people = [
        {"customer_id": "7", "email": "late@example.com", "country": "FR", "signup_ts": T0 - DAY, "name": "L"},
        {"customer_id": "7", "email": "Early@example.com ", "country": "DE", "signup_ts": T0, "name": "E"},
        {"customer_id": "8", "email": "alone@example.com", "country": "DE", "signup_ts": T0, "name": "A"},
    ]
    orders = [order(1, customer_id="7", country="DE"), order(2, customer_id="7", country="FR"),
              order(3, customer_id="8", country="DE"), order(4, customer_id="7", country="IT")]  # fmt: skip
    return {"customers": people, "orders": orders, "events": [event(1, customer_id="7", country="DE")]}


def test_shared_customer_id_is_split_in_order_of_first_purchase(clean):
    done = clean(**shared())
    assert [row["customer_id"] for row in done.orders()] == ["7-1", "7-2", "8", "7-2"]
    assert done.events()[0]["customer_id"] == "7-1"
    assert [row["customer_id"] for row in done.customers()] == ["7-2", "7-1", "8"]
    mapping = pl.read_parquet(done.out / "customer_ids.parquet")
    assert mapping.select("old_id", "new_id", "profile_row").rows() == [("7", "7-1", 1), ("7", "7-2", 0)]
    assert not set(mapping.columns) & {"email", "name"}


def test_generated_ids_do_not_collide_with_existing_ids(clean):
    rows = shared()
    rows["customers"].append({"customer_id": "7-1", "email": "other@example.com"})
    done = clean(**rows)
    assert sorted(row["customer_id"] for row in done.customers()) == ["7-1", "7-2", "7-3", "8"]


@pytest.mark.parametrize("ids", ["shared", "all"])
def test_second_cleaning_leaves_generated_ids_unchanged(clean, ids):
    plan = CleaningPlan(ids=ids)
    first = clean(**shared(), plan=plan)
    ids_of = [row["customer_id"] for row in first.orders()]
    assert ids == "shared" or ids_of == ["c0000001", "c0000002", "c0000003", "c0000002"]
    again = clean(first.out, plan=plan)
    assert again.rules() == {}
    assert [row["customer_id"] for row in again.orders()] == ids_of


def test_most_complete_profile_of_a_customer_wins(clean):
    same = {"customer_id": "ann", "email": "ann@example.com"}
    people = [same | {"age": None}, same | {"age": 30}, same | {"age": 30}]
    done = clean(customers=people, events=[event(1)])
    assert [row["age"] for row in done.customers()] == [30]
    assert done.rules() == {("customers", "another profile of the customer"): 1, ("customers", "exact duplicate"): 1}


def test_people_with_several_ids_are_flagged(clean):
    done = clean(customers=[{"customer_id": name, "email": "a@example.com"} for name in ("x", "y")], events=[event(1)])
    assert done.rules() == {("customers", "several ids"): 1}
    assert len(done.customers()) == 2


# --- the report and the plan ------------------------------------------------------------------------------------------
def test_report_escapes_hostile_text(clean):
    hostile = "<script>alert(1)</script>"
    done = clean(events=[event(1, device=hostile, customer_id=hostile), event(2)])
    page = (done.out / "cleaning_report.html").read_text("utf-8")
    assert "alert(1)" in page
    assert "<script" not in page
    assert done.stored_report() == done.report


def test_dropped_rows_are_written_to_their_own_file(clean):
    done = clean(events=[event(1), event(2, device="fridge")])
    row = pl.read_parquet(done.out / "cleaning_dropped.parquet").row(0, named=True)
    assert (row["rule"], row["id"], row["file"], row["row"]) == (
        "device unknown", "e2", "events/date=2025-05-01/part.parquet", 1,
    )  # fmt: skip
    assert "device='fridge'" in row["record"]


def test_output_folder_inside_the_dirty_archive_is_refused(clean, tmp_path):
    source = write(tmp_path / "here", events=[event(1)])
    from shopstream.jobs.clean import clean_archive  # noqa: PLC0415

    with pytest.raises(UsageError, match="contain one another"):
        clean_archive(source, source / "clean", CleaningPlan(), NOW_MS)


def test_broken_file_is_named_and_no_output_remains(clean, tmp_path):
    source = write(tmp_path / "broken", events=[event(1)])
    (source / "events/date=2025-05-01/part.parquet").write_bytes(b"no parquet")
    with pytest.raises(ShopstreamError, match=r"part\.parquet cannot be read"):
        clean(source)
    assert not clean.out.exists()
    assert [path for path in tmp_path.iterdir() if "partial" in path.name] == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("zone: Mars", "line 1: zone: 'Mars' is not a time zone"),
        ("earliest: 2020-01-01\nfence: 3", "line 2: fence: unknown key"),
        ("fill:\n  events:\n    price: by_product", "only the category of an event follows from its product"),
        ("fill:\n  orders:\n    order_id: {constant: x}", "keys are never filled"),
        ("fill:\n  events:\n    colour: drop", "unknown column colour"),
        ("spellings:\n  category: {a: b, b: c}", "'b' is both replaced and a replacement"),
        ("ids: some", "line 1: ids"),
    ],
)
def test_error_in_a_plan_names_its_line(tmp_path, text, said):
    from training.cleaning.plan import load_plan  # noqa: PLC0415

    path = tmp_path / "plan.yaml"
    path.write_text(text)
    with pytest.raises(UsageError) as told:
        load_plan(path)
    assert said in str(told.value)
    assert "plan.yaml, line" in str(told.value)


def test_archive_of_orders_only_is_cleaned(clean):
    done = clean(orders=[order(1), order(1)])
    assert done.report["rows"] == {"orders": {"in": 2, "out": 1, "dropped": 1, "unexplained": 0}}
    assert len(read(done.out, "orders")) == 1
