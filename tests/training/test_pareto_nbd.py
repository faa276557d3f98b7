"""The posterior of visits times conversion: its likelihood, its parameters and its predictions on data of its story."""

import numpy as np
import polars as pl
import pytest
from scipy.special import hyp2f1

from features.definitions import ROW_SCHEMA
from features.schema import DAY_MS
from training.pareto_nbd import fit_counts, fit_visits, log_likelihood
from training.predict import COLUMNS, derived, log_left, still_there, visit_posterior

TRUE = {"r": 0.8, "alpha": 6.0, "s": 0.6, "beta": 30.0}


def simulated(customers, seed, days=90.0):
    """Counts, last event, age, and whether and how the customers go on."""
    rng = np.random.default_rng(seed)
    rate = rng.gamma(TRUE["r"], 1 / TRUE["alpha"], customers)
    leaves = rng.exponential(1 / rng.gamma(TRUE["s"], 1 / TRUE["beta"], customers))
    age = rng.uniform(30, days, customers)
    seen = np.minimum(leaves, age)
    counts = rng.poisson(rate * seen)
    last = np.where(counts > 0, seen * rng.random(customers) ** (1 / np.maximum(counts, 1)), 0.0)
    return counts.astype(float), last, age, rate, leaves


@pytest.mark.parametrize("parameters", [TRUE, {"r": 2.0, "alpha": 50.0, "s": 1.5, "beta": 4.0}])
def test_integral_equals_the_published_hypergeometric_form(parameters):
    """A_0 of Fader and Hardie (2005), in its two cases."""
    counts, last, age = np.array([0.0, 1, 5, 40]), np.array([0.0, 20, 60, 88]), np.array([90.0, 45, 90, 90])
    r, alpha, s, beta = parameters.values()
    total = r + s + counts
    if alpha >= beta:
        second, base, gap = s + 1, alpha, alpha - beta
    else:
        second, base, gap = r + counts, beta, beta - alpha

    def part(time):
        return hyp2f1(total, second, total + 1, gap / (base + time)) / (base + time) ** total

    expected = np.log(s / total * (part(last) - part(age)))
    assert log_left(parameters, counts, last, age) == pytest.approx(expected, rel=1e-8)


def test_parameters_are_recovered():
    counts, last, age, *_ = simulated(20_000, 3)
    found = fit_counts(counts, last, age)
    assert (found.r, found.alpha) == pytest.approx((TRUE["r"], TRUE["alpha"]), rel=0.1)
    # shape and scale of the leaving vary together; their quotient is the mean rate
    assert found.s / found.beta == pytest.approx(TRUE["s"] / TRUE["beta"], rel=0.25)
    best = log_likelihood(np.log(list(TRUE.values())), counts, last, age).mean()
    fitted = log_likelihood(np.log([found.r, found.alpha, found.s, found.beta]), counts, last, age).mean()
    assert fitted == pytest.approx(best, abs=2e-3)


def test_probability_of_being_there_equals_the_share_of_customers():
    counts, last, age, _, leaves = simulated(60_000, 4)
    alive = still_there(TRUE, counts, last, age)
    for low, high in ((0, 0.2), (0.2, 0.5), (0.5, 0.8), (0.8, 0.95), (0.95, 1.001)):
        inside = (alive >= low) & (alive < high)
        assert inside.sum() > 300
        assert (leaves > age)[inside].mean() == pytest.approx(alive[inside].mean(), abs=0.04)


def columns_of(counts, last, age, orders):
    empty = {name: np.zeros(len(counts)) for name in COLUMNS}
    return empty | {
        "sessions_90d": counts, "tenure_days": age - 1, "orders_90d": orders, "orders_total": orders,
        "days_since_visit": np.where(counts > 0, age - last, np.nan),
    }  # fmt: skip


def test_expected_orders_and_their_absence_are_those_of_the_story():
    rng = np.random.default_rng(5)
    counts, last, age, rate, leaves = simulated(60_000, 6)
    share = rng.beta(2.0, 10.0, len(counts))
    orders = rng.binomial(counts.astype(int), share).astype(float)
    parameters = TRUE | {"orders": 2.0, "misses": 10.0}
    found = visit_posterior(columns_of(counts, last, age, orders), parameters, 10)
    time = np.clip(leaves - age, 0, 10)
    expected = rate * share * time
    assert found["visits_orders"].mean() == pytest.approx(expected.mean(), rel=0.08)
    none = np.exp(-expected)
    for tenth in np.array_split(np.argsort(found["visits_churn"]), 10):
        assert found["visits_churn"][tenth].mean() == pytest.approx(none[tenth].mean(), abs=0.04)


def rows_of(visits):
    count = len(visits)
    rows = {name: [None] * count for name in ROW_SCHEMA} | {
        "customer_id": [str(n) for n in range(count)], "as_of": [100 * DAY_MS] * count, "tenure_days": [95.0] * count,
        "sessions_90d": visits, "orders_90d": [min(1, n) for n in visits], "orders_total": [1] * count,
        "days_since_visit": [3.0 if n else None for n in visits],
    }  # fmt: skip
    return pl.DataFrame(rows, schema=ROW_SCHEMA)


def test_a_shop_without_visits_has_no_posterior():
    assert fit_visits(rows_of([0] * 20), 1) is None
    assert fit_visits(rows_of([]), 1) is None
    found = fit_visits(rows_of([0, 1, 2, 9] * 20), 1)
    assert found is not None
    assert found.orders / (found.orders + found.misses) == pytest.approx(3 / 12, abs=0.1)


def test_inputs_have_the_posterior_only_with_its_parameters():
    columns = columns_of(np.array([0.0, 3]), np.array([0.0, 60]), np.array([90.0, 90]), np.array([0.0, 1]))
    parameters = {"r": 0.6, "alpha": 40.0, "a": 0.8, "b": 2.5}
    visits = TRUE | {"orders": 2.0, "misses": 10.0}
    with np.errstate(invalid="ignore", divide="ignore"):
        before, after = derived(columns, parameters, 90), derived(columns, parameters | {"visits": visits}, 90)
    assert list(after) == [*before, "visits_alive", "visits_churn", "visits_orders"]
    assert np.isfinite(after["visits_churn"]).all()
    assert all(np.array_equal(before[name], after[name], equal_nan=True) for name in before)
