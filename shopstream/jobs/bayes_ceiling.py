"""Predicts churn on a synthetic shop by what generated it: the bounds that a model's card shows.

`posterior` knows the process and sees the history only: no model can predict better from the same records. The two
others know the truth of each customer: the orders of a customer are a Poisson process whose rate on each day follows
from `producers`, so P(no order) is exp(-sum of rates). Evaluation only: no feature uses these values.
"""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl
from polars import col

from features.schema import DAY_MS
from producers.archive.archive import SHOP_FILE, TRUTH_FILE, utc_day
from producers.shop import seasonality
from producers.shop.orders import CANCELLED_SHARE
from producers.shop.population import LIFETIME_SHAPE, TYPES, Population
from producers.shop.shop import CONVERSION_MAX, EVENTS_PER_SESSION, FADE_CONVERSION, Model, build, shop_from_json
from producers.shop.tables import customer_ids
from shopstream.jobs.shop_posterior import posterior_of

Float = npt.NDArray[np.float64]

LIVES: Final = 12
"""Number of lifetime quantiles over which the `knows_present` predictor averages."""
CUSTOMERS_MAX: Final = 4_000
"""Customers of the posterior; of more, a sample."""
EVENTS_MAX: Final = 20_000_000
"""Events of the largest shop with a posterior, which reads them all: about a minute."""


def known_shop(directory: Path) -> Model | None:
    """Return the model that generated an archive; None if it is not a synthetic shop of this version."""
    if not (directory / SHOP_FILE).is_file() or not (directory / TRUTH_FILE).is_file():
        return None
    model = build(shop_from_json((directory / SHOP_FILE).read_text("utf-8")))
    truth = pl.read_parquet(directory / TRUTH_FILE, columns=["customer_id", "dropout_ts"])
    recorded = truth.sort("customer_id")["dropout_ts"].dt.epoch("ms").to_numpy()
    order = np.argsort(np.asarray(_ids(model).to_list()))
    # another version of the shop generated this archive otherwise: its truth does not match
    return model if np.array_equal(recorded, model.population.dropout_ms[order]) else None


def bounds_of(directory: Path, model: Model, requested: pl.DataFrame, horizon_days: int, seed: int = 1) -> pl.DataFrame:
    """Predict churn of customers of a synthetic shop by the posterior, and by predictors that know the truth.

    Args:
        directory: folder of the archive.
        model: model of the shop, see `known_shop`.
        requested: customer_id and as_of (epoch ms) of the predictions, each pair once.
        horizon_days: length of the prediction horizon in days.
        seed: seed of the posterior's paths, and of the sample of customers.

    Returns:
        customer_id, as_of, and P(no valid order) by `posterior`, `knows_present` and `knows_dropout`, for all requested
        rows, or those of CUSTOMERS_MAX customers. Without `posterior` for a shop of more than EVENTS_MAX events.
    """
    customers = requested["customer_id"].unique().sort()
    rows = requested.select("customer_id", "as_of")
    if len(customers) > CUSTOMERS_MAX:
        chosen = np.random.default_rng(seed).choice(len(customers), CUSTOMERS_MAX, replace=False)
        rows = rows.filter(col("customer_id").is_in(customers.gather(chosen.tolist()).implode()))
    parts = [
        pl.DataFrame(
            {
                "customer_id": _ids(model),
                "as_of": np.full(len(model.population), cutoff, np.int64),
                "knows_present": _present(model, cutoff, horizon_days),
                "knows_dropout": _no_order(model, model.population, cutoff, horizon_days),
            }
        )
        for cutoff in rows["as_of"].unique().sort().to_list()
    ]
    if model.shop.events <= EVENTS_MAX:
        rows = posterior_of(directory, model, rows, horizon_days, seed)
    return rows.join(pl.concat(parts), on=["customer_id", "as_of"], maintain_order="left")


def _ids(model: Model) -> pl.Series:
    return pl.Series(customer_ids(np.arange(1, len(model.population) + 1)).to_pylist(), dtype=pl.String)


def _no_order(model: Model, people: Population, cutoff: int, horizon_days: int) -> Float:
    """Return P(no valid order) in the horizon for each customer, from the daily rates."""
    rate = np.zeros(len(people))
    end = cutoff + horizon_days * DAY_MS
    edges = [cutoff, *range((cutoff // DAY_MS + 1) * DAY_MS, end, DAY_MS), end]
    for start, stop in itertools.pairwise(edges):
        day = utc_day(start)
        middle = (start + stop) // 2
        # `activity` counts the day before a drop-out fully or not at all; scale it by the remaining share of the day
        left = np.clip((people.dropout_ms - start) / (stop - start), 0, 1)
        visits = people.activity(start, stop, seasonality.season(day)).astype(np.float64) * left
        visits *= seasonality.traffic(model.shop.seed, day) * (stop - start) / DAY_MS
        probability = people.conversion * (1 - FADE_CONVERSION * people.fading(middle)) * model.conversion_factor
        rate += visits * np.minimum(probability * seasonality.campaign_on(day).conversion, CONVERSION_MAX)
    valid_share = (1 - CANCELLED_SHARE) * (1 - people.refund.astype(np.float64))
    no_order: Float = np.exp(-rate * model.events_per_activity / EVENTS_PER_SESSION * valid_share)
    return no_order


def _present(model: Model, cutoff: int, horizon_days: int) -> Float:
    """Average P(no order) over the possible remaining lifetimes of customers who are alive and not fading.

    Fading reveals a customer's end, so it is taken as known. The remaining lifetime of the others is Lomax distributed.
    """
    people = model.population
    ahead = people.dropout_ms - cutoff > people.fade_days.astype(np.float64) * DAY_MS
    age = (cutoff - people.signup_ms) / DAY_MS
    scale = np.asarray([kind.lifetime_days for kind in TYPES])[people.kind] * (LIFETIME_SHAPE - 1) + np.maximum(age, 0)
    total = np.zeros(len(people))
    for life in range(LIVES):
        left = (scale + people.fade_days) * ((life + 0.5) / LIVES) ** (-1 / LIFETIME_SHAPE) - scale
        dropout = np.where(ahead, cutoff + np.minimum(left, 36_500) * DAY_MS, people.dropout_ms).astype(np.int64)
        total += _no_order(model, dataclasses.replace(people, dropout_ms=dropout), cutoff, horizon_days)
    return total / LIVES
