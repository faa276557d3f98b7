"""The measured effect of contacts: known effects are recovered, no effect is found where there is none."""

import numpy as np
import polars as pl
import pytest

from features.hold_out import HoldOut
from training.report.uplift import (
    GROUP_MIN,
    HALF_WIDTH_MAX,
    Uplift,
    enter,
    from_json,
    measure_uplift,
    to_json,
    uplift_sentence,
    wald,
)

DAY = 86_400_000
HORIZON = 90


def customers(seed, effect, count=3_000, share=0.2, reach=0.6, base=0.3):
    """The better customers are contacted more often, so a plain comparison is wrong."""
    rng = np.random.default_rng(seed)
    held_out = rng.random(count) < share
    liking = rng.normal(0, 1, count)
    contacted = ~held_out & (rng.random(count) < np.clip(reach + 0.25 * liking, 0, 1))
    chance = np.clip(base + 0.1 * liking, 0.02, 0.95) + effect * contacted
    ordered = rng.random(count) < chance
    return pl.DataFrame({
        "held_out": held_out, "contacted": contacted, "ordered": ordered,
        "revenue": np.where(ordered, rng.gamma(2.0, 25.0, count), 0.0),
    })  # fmt: skip


@pytest.mark.parametrize("effect", [0.0, 0.08, -0.05])
def test_interval_covers_the_known_effect(effect):
    covered, covered_revenue, estimates = [], [], []
    for seed in range(400):
        rows = customers(seed, effect)
        groups = [rows.filter(pl.col("held_out") == held) for held in (False, True)]
        pairs = [
            tuple(group[name].cast(pl.Float64).to_numpy() for name in ("ordered", "contacted")) for group in groups
        ]
        estimate, low, high = wald(*pairs, shares=True)
        estimates.append(estimate)
        covered.append(low <= effect <= high)
        money = [
            tuple(group[name].cast(pl.Float64).to_numpy() for name in ("revenue", "contacted")) for group in groups
        ]
        _, low, high = wald(*money, shares=False)
        covered_revenue.append(low <= effect * 50 <= high)
    assert 0.92 <= np.mean(covered) <= 0.98
    assert 0.92 <= np.mean(covered_revenue) <= 0.98
    assert np.mean(estimates) == pytest.approx(effect, abs=0.006)


def test_plain_difference_of_the_contacted_would_be_biased():
    rows = pl.concat([customers(seed, 0.0) for seed in range(20)])
    contacted = rows.filter("contacted")["ordered"].mean()
    assert contacted - rows.filter("held_out")["ordered"].mean() > 0.03


@pytest.mark.parametrize("count", [60, 120])
def test_interval_of_small_groups_covers_no_effect(count):
    covered = []
    for seed in range(400):
        rows = customers(seed, 0.0, count, share=0.5, base=0.08)
        pairs = [
            tuple(rows.filter(pl.col("held_out") == held)[name].cast(pl.Float64).to_numpy()
                  for name in ("ordered", "contacted")) for held in (False, True)
        ]  # fmt: skip
        _, low, high = wald(*pairs, shares=True)
        covered.append(low <= 0 <= high)
    assert np.mean(covered) >= 0.93


def test_effect_is_known_only_with_enough_customers():
    few = measure_uplift(customers(1, 0.1, 300), HORIZON, 12, 0.2)
    assert not few.known
    assert few.effect is few.saved is None
    assert few.needed > 300
    assert f"not yet known; needs {few.needed:,} customers" in uplift_sentence(few)
    many = measure_uplift(customers(1, 0.1, 8_000), HORIZON, 12, 0.2)
    assert many.known
    effect, low, high = many.effect
    assert low < 0.1 < high
    assert high - low <= 2 * HALF_WIDTH_MAX
    assert f"{effect:+.1%} of the contacted" in uplift_sentence(many)
    assert from_json(to_json(many)) == many


def test_effect_without_customers_contacts_or_hold_out_is_not_known():
    nobody = customers(1, 0.0, 500)
    for rows in (nobody.clear(), nobody.with_columns(contacted=pl.lit(False)), nobody.filter(~pl.col("held_out"))):
        found = measure_uplift(rows, HORIZON, 0, 0.1)
        assert not found.known
        assert found.needed > max(len(rows), 2 * GROUP_MIN)


def test_saved_share_is_the_effect_among_those_who_would_not_order():
    covered, estimates = [], []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        held_out = rng.random(3_000) < 0.3
        liking = rng.random(3_000)
        contacted = ~held_out & (rng.random(3_000) < 0.3 + 0.5 * liking)
        would, persuaded = rng.random(3_000) < 0.6 * liking, rng.random(3_000) < 0.25
        ordered = would | (persuaded & contacted)
        rows = pl.DataFrame(
            {"held_out": held_out, "contacted": contacted, "ordered": ordered, "revenue": 10.0 * ordered}
        )
        saved, low, high = measure_uplift(rows, HORIZON, 0, 0.3).saved
        estimates.append(saved)
        covered.append(low <= 0.25 <= high)
    assert np.mean(estimates) == pytest.approx(0.25, abs=0.015)
    assert 0.91 <= np.mean(covered) <= 0.99


def table(*rows):
    return pl.DataFrame(rows, schema=["customer_id", "held_out", "savable"], orient="row")


def records(*rows):
    return pl.DataFrame(
        [(name, day * DAY, 10.0) for name, day in rows],
        schema={"customer_id": pl.String, "ts": pl.Int64, "revenue": pl.Float64},
        orient="row",
    )


def test_customers_enter_once_by_rank_and_outcomes_count_within_the_horizon():
    waves = {
        0: table(("a", False, 9.0), ("h", True, 8.0), ("b", False, 7.0), ("low", True, 1.0)),
        7 * DAY: table(("a", False, 9.0), ("c", False, 5.0), ("h", True, 8.0), ("g", True, 6.0)),
        14 * DAY: table(("d", False, 9.0)),
    }
    contacts = records(("b", 3), ("c", 8)).drop("revenue")
    orders = records(("a", 5), ("h", -1), ("h", 31), ("c", 8), ("g", 20), ("g", 21))
    entered, pending = enter(waves, contacts, orders, 30 * DAY, 60 * DAY)
    rows = {row["customer_id"]: row for row in entered.iter_rows(named=True)}
    assert set(rows) == {"a", "h", "b", "c", "g"}  # `low` ranks below the contacted; nobody is contacted from day 14
    assert [rows[name]["contacted"] for name in "abchg"] == [False, True, True, False, False]
    assert [rows[name]["ordered"] for name in "abchg"] == [True, False, True, False, True]
    assert rows["g"]["revenue"] == 20
    assert (rows["a"]["entered"], rows["g"]["entered"], pending) == (0, 7 * DAY, 0)
    entered, pending = enter(waves, contacts, orders, 30 * DAY, 33 * DAY)
    assert (len(entered), pending) == (3, 2)


def test_hold_out_group_is_stable_random_and_nested():
    ids = [f"c-{number}" for number in range(20_000)]
    small, large, other = (HoldOut(*rule) for rule in ((0.1, "s"), (0.2, "s"), (0.1, "t")))
    members = np.array(small.members(ids))
    assert members.mean() == pytest.approx(0.1, abs=0.007)
    assert (np.array(large.members(ids)) >= members).all()
    both = (members & np.array(other.members(ids))).mean()
    assert both == pytest.approx(0.01, abs=0.003)
    assert not any(HoldOut().members(ids))
    # the group is part of what shops rely on: it never changes
    assert [one for one in ids[:60] if small.contains(one)] == ["c-8", "c-13", "c-45", "c-58"]


def test_sentence_of_an_unknown_effect_has_its_counts():
    text = uplift_sentence(Uplift(90, 40, 10, 20, 0, 5, 700))
    assert "needs 700 customers who qualified at least 90 days ago, and has 50 (10 held out, 20 contacted)" in text
