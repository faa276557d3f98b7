"""The declarations: every column of the contract once, each explained, and evaluation in any company."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from oracle.adversarial import adversarial
from oracle.by_hand import ANN, AS_OF, BOB, CAT, EVENTS, ORDERS
from oracle.loops import loop_rows
from oracle.rows import FEATURE_DTYPES, assert_same_rows, feature_frame
from oracle.shop import DAY, WINDOWS
from stream.feeding import as_events, as_orders

from features.backfill import evaluate_all
from features.definitions import DECLARED, FEATURES, ROW_FIELDS, ROW_SCHEMA, evaluate, ratio, within
from features.state.session_counts import byte_order
from features.state.state import State


@pytest.fixture(scope="module")
def shop():
    records = adversarial(21)
    known = sorted((e for e in records.events if e["ts"] <= records.as_of), key=lambda e: e["ts"])
    changes = [o for o in records.orders if o["updated_ts"] <= records.as_of]
    state = State()
    state.apply_events(as_events(known))
    state.apply_orders(as_orders(changes))
    return state, known, changes, records.as_of


def test_row_has_the_documented_columns():
    assert list(ROW_SCHEMA) == list(FEATURE_DTYPES)
    assert {name: dtype() for name, dtype in ROW_SCHEMA.items()} == FEATURE_DTYPES
    assert [field.name for field in ROW_FIELDS] == list(FEATURE_DTYPES)


def test_every_feature_is_explained_and_declared_once():
    names = [feature.name for feature in DECLARED]
    assert len(set(names)) == len(names)
    assert all(len(feature.help) > 5 for feature in FEATURES)
    assert all(feature.kind == "time" for feature in FEATURES if feature.name.endswith("_ts"))


def test_rows_equal_values_worked_out_by_hand():
    state = State()
    state.apply_events(as_events(sorted((e for e in EVENTS if e["ts"] <= AS_OF), key=lambda e: e["ts"])))
    state.apply_orders(as_orders([o for o in ORDERS if o["updated_ts"] <= AS_OF]))
    assert_same_rows(evaluate_all(state, AS_OF), feature_frame([ANN, BOB, CAT]))


@pytest.mark.parametrize("later", [0, 1, *(days * DAY + step for days in WINDOWS for step in (-1, 0, 1)), 3_000 * DAY])
def test_state_evaluates_at_later_times(shop, later):
    state, events, orders, as_of = shop
    expected = feature_frame(loop_rows(events, orders, as_of + later))
    assert_same_rows(evaluate_all(state, as_of + later), expected)


def test_row_of_a_customer_does_not_depend_on_the_other_rows(shop):
    state, *_, as_of = shop
    everyone = evaluate_all(state, as_of)
    codes = np.random.default_rng(0).permutation(state.customer_count).astype(np.int32)
    assert evaluate(state, codes, as_of).equals(everyone[codes])
    for code in codes[:10]:
        assert evaluate(state, np.array([code], np.int32), as_of).equals(everyone[int(code)])


def test_evaluating_no_customers_gives_the_declared_columns(shop):
    state, *_, as_of = shop
    assert evaluate(state, np.zeros(0, np.int32), as_of).schema == pl.Schema(ROW_SCHEMA)


def test_evaluation_does_not_change_the_state(shop):
    state, *_, as_of = shop
    before = {name: array.copy() for name, array in state.arrays().items()}
    evaluate_all(state, as_of + DAY)
    assert all(np.array_equal(array, before[name]) for name, array in state.arrays().items())


def test_tied_words_sort_by_their_bytes():
    state = State()
    words = ["b", "\uffee", "\U0001f6d2", "", "Z", "é", "e\u0301"]
    row = {"event_type": "product_view", "customer_id": "c", "session_id": "s", "ts": DAY, "device": "mobile"}
    state.apply_events(as_events([row | {"event_id": f"e{n}", "category": word} for n, word in enumerate(words)]))
    position = byte_order(state)
    in_order = [None] * len(position)
    for word, at in zip(state.words.array().to_pylist(), position.tolist(), strict=True):
        in_order[at] = word
    assert in_order == sorted(words, key=str.encode)


def test_window_includes_its_end_and_excludes_its_start():
    ages = pl.DataFrame({"age_ms": [0, 1, 7 * DAY - 1, 7 * DAY]})
    assert ages.select(within(7)).to_series().to_list() == [True, True, True, False]


def test_ratio_is_null_for_null_or_zero_denominators():
    frame = pl.DataFrame({"a": [1, 1, None, 0], "b": [4, 0, 2, None]}, schema={"a": pl.Int64, "b": pl.Int64})
    assert frame.select(ratio(pl.col("a"), pl.col("b"))).to_series().to_list() == [0.25, None, None, None]
