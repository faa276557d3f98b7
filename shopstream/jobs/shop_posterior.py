"""Computes the Bayes posterior of churn on a synthetic shop: it knows the process, and of a customer the history alone.

It sees sessions (day, outcome, pages, channel, device, category) and profiles up to the cut-off, and no latent value of
a customer. No model can predict better from these records. Prices, vouchers and returns would add little.

For a customer of latent type k with conversion p, the rate of orders is Gamma(r_k, r_k / m_k) distributed. Given a path
of activity (pauses, fading, drop-out) with the exposure E, n visits are Poisson of mean rate * E / p. So the rate
integrates out: its posterior is Gamma(r_k + n, r_k / m_k + E / p). With the expected exposure A to orders ahead,

    P(no order | k, p, path) = ((r_k / m_k + E / p) / (r_k / m_k + E / p + A)) ^ (r_k + n).

Types and conversions are summed over a grid. Paths are drawn: pauses, lengths of fading and gifts from the law of the
shop, drop-outs from a mixture that covers the past and the horizon. They are weighted by importance (law / mixture).
`producers` computes the activity of a path, so the posterior has the law of the generator.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.special import gammaln
from scipy.stats import beta as beta_law
from scipy.stats import betabinom, logistic
from scipy.stats import gamma as gamma_law

from features.schema import DAY_MS, DEVICES
from producers.archive.archive import utc_day
from producers.shop import seasonality
from producers.shop.catalogue import CATEGORIES
from producers.shop.orders import CANCELLED_SHARE, RETURN_MEAN_DAYS, RETURN_MIN_DAYS
from producers.shop.population import (
    CONVERSION_CONCENTRATION,
    CONVERSION_RANGE,
    FADE_DAYS,
    LIFETIME_SHAPE,
    TYPES,
    Population,
    draw_customers,
    gift_factor,
)
from producers.shop.profiles import AGE_SIGMA
from producers.shop.shop import EVENTS_PER_SESSION, FADE_CONVERSION, Model
from producers.shop.visits import (
    CHANNEL_OF_ACQUISITION,
    EXTRA_PAGES,
    EXTRA_SEARCHES,
    EXTRA_VIEWS,
    FADE_LENGTH,
    Outcome,
)
from shopstream.jobs.shop_sessions import ShopSessions, read_profiles, read_sessions

Float = npt.NDArray[np.float64]
Single = npt.NDArray[np.float32]
Index = npt.NDArray[np.int64]

PATHS: Final = 2_000
"""Number of paths drawn for each cut-off."""
RETAINED: Final = (40, 70, 50)
"""Numbers of past, near and far paths over which a customer's probability is averaged."""
CONVERSIONS: Final = 11
"""Nodes of the conversion for each customer, besides the lowest one."""
MOMENTS: Final = 5
"""Terms of log(1 - x) for the visits without an order."""
BLOCK_ROWS: Final = 64
_GIFTS: Final = tuple(sorted({kind.gift for kind in TYPES}))
_PAST_SHARE, _NEAR_SHARE = 0.5, 0.3
_RECENT_DAYS: Final = 60.0


def posterior_of(
    directory: Path, model: Model, requested: pl.DataFrame, horizon_days: int, seed: int, paths: int = PATHS
) -> pl.DataFrame:
    """Return the posterior probability of no valid order in the horizon, from the history up to each cut-off.

    Args:
        directory: folder of the archive of a synthetic shop.
        model: model of that shop.
        requested: customer_id and as_of (cut-off, epoch ms), each pair once; customers with a session by the cut-off.
        horizon_days: length of the horizon in days.
        seed: seed of the paths.
        paths: number of paths drawn for each cut-off.

    Returns:
        customer_id, as_of, posterior; in the order of `requested`.
    """
    customer_ids = requested["customer_id"].unique().sort()
    cutoffs = sorted(requested["as_of"].unique().to_list())
    sessions = read_sessions(directory, cutoffs, customer_ids.to_list())
    profiles = read_profiles(directory, customer_ids.to_list())
    parts: list[pl.DataFrame] = []
    for cutoff in cutoffs:
        numbers = np.searchsorted(
            customer_ids.to_numpy(), requested.filter(pl.col("as_of") == cutoff)["customer_id"].to_numpy()
        )
        numbers.sort()
        seen = _history(model, sessions, profiles, numbers, cutoff)
        drawn = _paths(model, cutoff, horizon_days, np.random.default_rng([seed, cutoff]), paths)
        parts.append(
            pl.DataFrame(
                {"customer_id": customer_ids.gather(numbers), "as_of": pl.repeat(cutoff, len(numbers), eager=True),
                 "posterior": _no_order(seen, drawn)}
            )
        )  # fmt: skip
    return requested.select("customer_id", "as_of").join(
        pl.concat(parts), on=["customer_id", "as_of"], how="left", maintain_order="left"
    )


# --- what is seen of each customer ------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class _History:
    """History of n customers up to a cut-off; d days from the start of the archive, the last one up to the cut-off.

    Attributes:
        signup_ms: sign-up, epoch ms, (n,).
        known_ms: time at which the customer is known to be alive: sign-up, or the start of the history if later, (n,).
        visits: visits by day but the one at the sign-up, (n, d).
        bought: those visits with an order, (n, d).
        browsing: coefficients of fading, its square and its cube in the log-likelihood of the pages, (3, n, d).
        kinds: log-likelihood of channels, devices, categories and profile under each type, with its prior, (n, k).
    """

    signup_ms: Index
    known_ms: Index
    visits: Single
    bought: Single
    browsing: Single
    kinds: Float


def _history(model: Model, seen: ShopSessions, profiles: pl.DataFrame, numbers: Index, cutoff: int) -> _History:
    signup = profiles["signup_ts"].to_numpy()
    sessions = seen.at(cutoff)
    row_of = np.full(len(profiles), -1)
    row_of[numbers] = np.arange(len(numbers))
    rows = row_of[sessions["number"].to_numpy()]
    sessions, rows = sessions.filter(rows >= 0), rows[rows >= 0]
    start_ms = sessions["start"].to_numpy()
    days = (cutoff - model.shop.start_ms) // DAY_MS + 1
    cell = rows * days + (start_ms - model.shop.start_ms) // DAY_MS
    later = start_ms > signup[numbers][rows]  # the visit at the sign-up is certain

    def counted(weights: npt.NDArray[np.generic]) -> Single:
        total = np.bincount(cell, weights.astype(np.float64), minlength=len(numbers) * days)
        return total.reshape(len(numbers), days).astype(np.float32)

    bought = sessions["purchase"].to_numpy() > 0
    browsing = _browsing(sessions)
    return _History(
        signup[numbers],
        np.maximum(signup[numbers], model.shop.start_ms),
        counted(later),
        counted(later & bought),
        np.stack([counted(one) for one in browsing]),
        _kinds(sessions.with_columns(pl.Series("row", rows), pl.Series("later", later)), profiles[numbers.tolist()]),
    )


def _browsing(sessions: pl.DataFrame) -> Float:
    """Return the coefficients of f, f^2 and f^3 in each session's log-likelihood under the fading f, (3, sessions).

    Pages, searches and views beyond those that the outcome requires are geometric with the mean m (1 - FADE_LENGTH f).
    A cubic in f, fitted by least squares, is exact to 0.01 for one count.
    """
    counts = {name: sessions[name].to_numpy() for name in ("page_view", "search", "product_view", "add_to_cart")}
    outcome = np.select(
        [sessions["purchase"].to_numpy() > 0, sessions["checkout"].to_numpy() > 0, counts["add_to_cart"] > 0,
         counts["product_view"] > 0],
        [Outcome.PURCHASE, Outcome.CHECKOUT, Outcome.CART, Outcome.VIEW],
        Outcome.BOUNCE,
    )  # fmt: skip
    required = np.where(outcome == Outcome.VIEW, 1, counts["add_to_cart"])
    fading = np.linspace(0, 1, 21)
    powers = np.column_stack([fading, fading**2, fading**3])
    length = 1 - FADE_LENGTH * fading
    shorter = np.linalg.lstsq(powers, np.log(length), rcond=None)[0]
    coefficients = np.zeros((3, len(sessions)))
    for means, extra in (
        (EXTRA_PAGES, counts["page_view"] - 1),
        (EXTRA_SEARCHES, counts["search"]),
        (EXTRA_VIEWS, counts["product_view"] - required),
    ):
        mean = np.asarray(means)
        rest = np.log1p(mean * length[:, None]) - np.log1p(mean)
        number = np.maximum(extra, 0)
        coefficients += (
            number * shorter[:, None] - (number + 1) * np.linalg.lstsq(powers, rest, rcond=None)[0][:, outcome]
        )
    return coefficients


def _by_kind(field: str) -> Float:
    return np.asarray([getattr(kind, field) for kind in TYPES], np.float64)


def _kinds(sessions: pl.DataFrame, profiles: pl.DataFrame) -> Float:
    """Return the log of prior x likelihood of each latent type by channels, devices, categories and profile, (n, k)."""
    count, kinds = len(profiles), len(TYPES)
    rows = sessions["row"].to_numpy()
    acquisition = profiles["acquisition"].to_numpy()
    total = np.tile(np.log(_by_kind("share")), (count, 1))
    mix = np.asarray([kind.channels for kind in TYPES], np.float64)
    mix /= mix.sum(axis=1, keepdims=True)
    total += np.where(acquisition[:, None] >= 0, np.log(mix[:, acquisition].T), 0.0)
    channel = sessions["channel"].to_numpy()
    chosen = (1 - CHANNEL_OF_ACQUISITION) * mix[:, channel].T
    chosen += CHANNEL_OF_ACQUISITION * (channel == acquisition[rows])[:, None]
    counts = sessions["later"].to_numpy() & (channel >= 0)
    for kind in range(kinds):
        total[:, kind] += np.bincount(rows, np.where(counts, np.log(chosen[:, kind]), 0.0), minlength=count)
    mobile = np.bincount(rows, sessions["device"].to_numpy() == DEVICES.index("mobile"), minlength=count)
    visits = np.bincount(rows, minlength=count)
    share = _by_kind("mobile")
    total += betabinom.logpmf(mobile[:, None], visits[:, None], share * 3, (1 - share) * 3)
    category = sessions["category"].to_numpy()
    cells = rows[category >= 0] * len(CATEGORIES) + category[category >= 0]
    viewed = np.bincount(cells, minlength=count * len(CATEGORIES)).reshape(count, 1, len(CATEGORIES))
    taste = _taste()
    total += (gammaln(taste + viewed) - gammaln(taste)).sum(axis=2)
    total -= gammaln(taste.sum(axis=1) + viewed.sum(axis=2)) - gammaln(taste.sum(axis=1))
    age, premium = profiles["age"].to_numpy().astype(np.float64), profiles["premium"].cast(pl.Float64).to_numpy()
    of_age = logistic.logpdf(age[:, None] + 0.5, _by_kind("age"), AGE_SIGMA * 0.55)
    flag = _by_kind("premium")
    of_premium = np.log(np.where(premium[:, None] == 1, flag, 1 - flag))
    total += np.where(np.isnan(age)[:, None], 0.0, of_age) + np.where(np.isnan(premium)[:, None], 0.0, of_premium)
    return total


def _taste() -> Float:
    """Return the Dirichlet parameters of the categories of each type, (k, categories); see `population._taste`."""
    base = np.asarray([category.taste for category in CATEGORIES])
    liked = np.asarray([[3.0 if one.name in kind.favourites else 1.0 for one in CATEGORIES] for kind in TYPES])
    taste: Float = base * liked / (base * liked).sum(axis=1, keepdims=True) * 4
    return taste


# --- paths of activity ------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class _Paths:
    """Paths drawn for a cut-off; s paths, g strengths of gifts, d days of the history.

    Attributes:
        first_day: first day of the history, days since 1970-01-01.
        cutoff: cut-off, epoch ms.
        dropout_ms: drop-out of each path, epoch ms, (s,).
        far_ms: time after which a drop-out does not matter; paths beyond it stand for all later ones.
        parts: paths with a past, a near and a far drop-out.
        log_drawn: log of the density by which the drop-out was drawn, per day, or of the mass beyond far_ms, (s,).
        activity: log of the activity by day, (g, d, s).
        fading: fading by day, and its square and cube, (3, d, s).
        conversions: conversion by day relative to the customer's, and its powers, (m, d, s).
        log_conversion: log of that conversion, (d, s).
        exposure: activity x traffic since the first day, up to and with a day, in visits, (g, s, d + 1).
        ahead: expected orders in the horizon per unit of the rate of orders, before returns, (g, s).
        valid: share of the orders that are valid at the end of the horizon, by type, (k,).
    """

    first_day: int
    cutoff: int
    dropout_ms: Index
    far_ms: int
    parts: tuple[slice, ...]
    log_drawn: Float
    activity: Single
    fading: Single
    conversions: Single
    log_conversion: Single
    exposure: Single
    ahead: Single
    valid: Float


def _paths(model: Model, cutoff: int, horizon_days: int, rng: np.random.Generator, count: int) -> _Paths:
    far_days = horizon_days + float(FADE_DAYS[1])
    behind_days = (cutoff - model.shop.start_ms) / DAY_MS
    away_days, log_drawn, parts = _dropouts(behind_days, far_days, rng, count)
    dropout_ms = cutoff + (away_days * DAY_MS).astype(np.int64)
    drawn = draw_customers(rng, np.zeros(count, np.int64))
    own = drawn.gift / _by_kind("gift")[drawn.kind].astype(np.float32)
    people = dataclasses.replace(drawn, dropout_ms=dropout_ms, visit_rate=np.ones(count, np.float32))
    gifts: Single = np.outer(np.asarray(_GIFTS, np.float32), own).astype(np.float32)
    first_day = model.shop.start_ms // DAY_MS
    visits = model.events_per_activity / EVENTS_PER_SESSION
    history = range(first_day, cutoff // DAY_MS + 1)
    share = float(seasonality.share_of_day(0, cutoff % DAY_MS).mean())
    activity = np.stack([_activity(people, gifts, day) for day in history], axis=1)
    traffic = np.asarray([seasonality.traffic(model.shop.seed, _date(day)) for day in history]) * visits
    traffic[-1] *= share
    exposure = np.cumsum(activity * traffic[:, None], axis=1).transpose(0, 2, 1)
    fading = np.stack([_fading(people, day) for day in history])
    factor = [model.conversion_factor * seasonality.campaign_on(_date(day)).conversion for day in history]
    conversion = (np.asarray(factor)[:, None] * (1 - FADE_CONVERSION * fading)).astype(np.float32)
    ahead = np.zeros((len(_GIFTS), count))
    last = (cutoff + horizon_days * DAY_MS) // DAY_MS
    for day in range(cutoff // DAY_MS, last + 1):
        part = 1 - share if day == cutoff // DAY_MS else share if day == last else 1.0
        campaign = seasonality.campaign_on(_date(day))
        rate = part * visits * _expected_traffic(day) * model.conversion_factor * campaign.conversion
        ahead += _activity(people, gifts, day) * (rate * (1 - FADE_CONVERSION * _fading(people, day)))
    return _Paths(
        first_day, cutoff, dropout_ms, cutoff + int(far_days * DAY_MS), parts, log_drawn,
        np.log(np.maximum(activity, 1e-12)).astype(np.float32),
        np.stack([fading, fading**2, fading**3]).astype(np.float32),
        np.stack([conversion**power for power in range(1, MOMENTS + 1)]), np.log(np.maximum(conversion, 1e-12)),
        np.pad(exposure, ((0, 0), (0, 0), (1, 0))).astype(np.float32), ahead.astype(np.float32), _valid(horizon_days),
    )  # fmt: skip


def _dropouts(
    behind_days: float, far_days: float, rng: np.random.Generator, count: int
) -> tuple[Float, Float, tuple[slice, ...]]:
    """Draw drop-outs, in days after the cut-off; return them with the log of their density, and the three parts.

    A half is in the past, denser towards the cut-off; a third is where fading may show by the end of the horizon.
    """
    even, recent, near = (int(share * count) for share in (_PAST_SHARE / 2, _PAST_SHARE / 2, _NEAR_SHARE))
    far = count - even - recent - near

    def strata(number: int) -> Float:
        return (rng.permutation(number) + rng.random(number)) / number

    within = 1 - np.exp(-behind_days / _RECENT_DAYS)
    past = np.concatenate([strata(even) * behind_days, -_RECENT_DAYS * np.log1p(-strata(recent) * within)])
    dense = np.exp(-past / _RECENT_DAYS) / _RECENT_DAYS / within
    log_past = np.log((even / behind_days + recent * dense) / count)
    days = np.concatenate([-past, strata(near) * far_days, np.full(far, far_days + 1)])
    log_drawn = np.concatenate(
        [log_past, np.full(near, np.log(near / far_days / count)), np.full(far, np.log(far / count))]
    )
    edges = (0, even + recent, even + recent + near, count)
    return days, log_drawn, tuple(slice(start, end) for start, end in itertools.pairwise(edges))


def _date(day: int) -> date:
    return utc_day(day * DAY_MS)


def _activity(people: Population, gifts: Single, day: int) -> Single:
    """Return the activity of paths on a day for each strength of gifts, (g, s)."""
    average = people.activity(day * DAY_MS, (day + 1) * DAY_MS, 1.0)
    return average * gift_factor(gifts, seasonality.season(_date(day)))


def _fading(people: Population, day: int) -> Float:
    return people.fading(day * DAY_MS + DAY_MS // 2).astype(np.float64)


def _expected_traffic(day: int) -> float:
    """Return the mean of a future day's traffic; its noise is not known yet."""
    at = _date(day)
    return seasonality.season(at) * seasonality.WEEKDAY_WEIGHT[at.weekday()] * seasonality.campaign_on(at).traffic


def _valid(horizon_days: int) -> Float:
    """Return the expected share of the horizon's orders that are still valid at its end, by type."""
    ages = (np.arange(200) + 0.5) / 200 * horizon_days
    scale = (RETURN_MEAN_DAYS - RETURN_MIN_DAYS) / 2
    returned = float(gamma_law.cdf(np.maximum(ages - RETURN_MIN_DAYS, 0), 2.0, scale=scale).mean())
    taste = _taste() / _taste().sum(axis=1, keepdims=True)
    factor = taste @ np.asarray([category.refund_factor for category in CATEGORIES])
    valid: Float = (1 - CANCELLED_SHARE) * (1 - _by_kind("refund") * factor * returned)
    return valid


# --- weights ----------------------------------------------------------------------------------------------------------
def _no_order(seen: _History, paths: _Paths) -> Float:
    """Return P(no valid order in the horizon) of each customer, (n,)."""
    result = np.empty(len(seen.signup_ms))
    for start in range(0, len(result), BLOCK_ROWS):
        rows = slice(start, start + BLOCK_ROWS)
        result[rows] = _averaged(_terms(seen, paths, rows), seen.kinds[rows], paths)
    return result


@dataclass(frozen=True, slots=True)
class _Terms:
    """Terms of the weights of s paths for each of b customers; g strengths of gifts, m moments.

    Attributes:
        visits: number of visits, (b,).
        orders: number of visits with an order, (b,).
        likelihood: log-likelihood of days, pages and outcomes but for the rate and the conversion, (g, b, s).
        exposure: expected visits per unit of the rate of visits, (g, b, s).
        moments: sums of conversion ** m over the visits without an order, (m, b, s).
        ahead: expected orders in the horizon per unit of the rate of orders, (g, b, s).
        dropout: log of law / density drawn of the drop-out, by type, (k, b, s).
    """

    visits: Single
    orders: Single
    likelihood: Single
    exposure: Single
    moments: Single
    ahead: Single
    dropout: Single

    def of_paths(self, best: Index) -> _Terms:
        """Return the terms of some paths of each customer, (b, number)."""

        def taken(terms: Single) -> Single:
            return np.take_along_axis(terms, best[None], axis=2)

        return _Terms(
            self.visits, self.orders, taken(self.likelihood), taken(self.exposure), taken(self.moments),
            taken(self.ahead), taken(self.dropout),
        )  # fmt: skip

    def log_weights(self, kind: int, conversions: Single) -> Single:
        """Return log weights of a type without its prior, (b, nodes, s), for conversions of (b, nodes)."""
        gift = _GIFTS.index(TYPES[kind].gift)
        shape, rate = TYPES[kind].orders_shape, TYPES[kind].orders_shape / TYPES[kind].orders
        visits, orders, nodes = self.visits[:, None], self.orders[:, None], conversions[:, :, None]
        level = (
            shape * np.log(rate) + gammaln(shape + visits) - gammaln(shape) + (orders - visits) * np.log(conversions)
        )
        missed = np.zeros(1, np.float32)
        for power in range(MOMENTS, 0, -1):
            missed = (missed + self.moments[power - 1][:, None, :] / np.float32(power)) * nodes
        rates = np.log(np.float32(rate) + self.exposure[gift][:, None, :] / nodes)
        weights: Single = (self.likelihood[gift] + self.dropout[kind])[:, None, :] - missed
        weights -= np.float32(shape) * rates
        weights -= self.visits[:, None, None] * rates
        weights += level.astype(np.float32)[:, :, None]
        return weights


def _terms(seen: _History, paths: _Paths, rows: slice) -> _Terms:
    visits, bought = seen.visits[rows], seen.bought[rows]
    shared = bought @ paths.log_conversion
    for power in range(3):
        shared += seen.browsing[power, rows] @ paths.fading[power]
    missed = visits - bought
    first = np.where(
        seen.signup_ms[rows] >= seen.known_ms[rows], seen.known_ms[rows] // DAY_MS - paths.first_day + 1, 0
    )
    exposure = paths.exposure[:, :, -1, None] - paths.exposure[:, :, first]
    return _Terms(
        visits.sum(axis=1),
        bought.sum(axis=1),
        np.stack([visits @ one for one in paths.activity]) + shared,
        np.ascontiguousarray(exposure.transpose(0, 2, 1)),
        np.stack([missed @ one for one in paths.conversions]),
        np.broadcast_to(paths.ahead[:, None, :], (len(_GIFTS), len(visits), paths.ahead.shape[1])),
        _log_law(seen.signup_ms[rows], seen.known_ms[rows], paths) - paths.log_drawn.astype(np.float32),
    )


def _log_law(signup_ms: Index, known_ms: Index, paths: _Paths) -> Single:
    """Return the log density per day of each path's drop-out (beyond far_ms: the log of the mass), (k, b, s).

    Lifetimes are Lomax distributed, given that the customer is alive at a known time.
    """
    far = paths.dropout_ms > paths.far_ms
    end = np.where(far, paths.far_ms, paths.dropout_ms)
    age = ((end - signup_ms[:, None]) / DAY_MS).astype(np.float32)
    known = ((known_ms - signup_ms) / DAY_MS).astype(np.float32)[:, None]
    scale = (_by_kind("lifetime_days") * (LIFETIME_SHAPE - 1)).astype(np.float32)[:, None, None]
    alive = age > known
    log_age, shape = np.log(scale + np.where(alive, age, 1)), np.float32(LIFETIME_SHAPE)
    law = shape * np.log(scale + known) - shape * log_age + np.where(far, 0, np.log(shape) - log_age)
    return np.where(alive, law, np.float32(-1e4)).astype(np.float32)


def _averaged(terms: _Terms, kinds: Float, paths: _Paths) -> Float:
    """Average P(no order) over types, conversions and paths, (b,).

    A first pass with one conversion finds the paths that matter for each customer.
    """
    nodes, priors = _conversions(terms)
    middle = nodes[:, [nodes.shape[1] // 2]].astype(np.float32)
    coarse = np.stack([terms.log_weights(kind, middle)[:, 0] for kind in range(len(TYPES))])
    coarse += kinds.T[:, :, None].astype(np.float32)
    highest = coarse.max(axis=(0, 2))
    total = np.exp(coarse - highest[:, None]).sum(axis=0)
    best, lost = _resampled(total, paths.parts)
    chosen = terms.of_paths(best)
    summed, stayed = np.zeros(len(nodes)), np.zeros(len(nodes))
    single = nodes.astype(np.float32)
    with np.errstate(divide="ignore"):
        log_prior = (np.log(priors) + (kinds - highest[:, None])[:, None, :]).astype(np.float32)
        log_lost = np.log(lost).astype(np.float32)
    for kind, one in enumerate(TYPES):
        gift, rate = _GIFTS.index(one.gift), np.float32(one.orders_shape / one.orders)
        weights = chosen.log_weights(kind, single)
        weights += log_prior[:, :, kind, None] + log_lost[:, None, :]
        np.exp(np.minimum(weights, 80, out=weights), out=weights)
        none = chosen.ahead[gift][:, None, :] * np.float32(paths.valid[kind])
        none = none / (rate + chosen.exposure[gift][:, None, :] / single[:, :, None])
        none = np.exp(-(np.float32(one.orders_shape) + chosen.visits[:, None, None]) * np.log1p(none))
        summed += weights.sum(axis=(1, 2), dtype=np.float64)
        stayed += np.einsum("bns,bns->b", weights, none, dtype=np.float64)
    return stayed / summed


def _resampled(weights: Single, parts: Sequence[slice]) -> tuple[Index, Float]:
    """Draw paths by their weights, systematically within each part; a path may be drawn several times.

    Args:
        weights: weights of the first pass, (b, s).
        parts: paths of the past, near and far drop-outs; each part is drawn by itself, however unlikely it is.

    Returns:
        Positions of the paths, and the weight that each one stands for, relative to its own: (b, RETAINED).
    """
    positions, factors = [], []
    rows = np.arange(len(weights))[:, None]
    for part, retained in zip(parts, RETAINED, strict=True):
        running = np.cumsum(weights[:, part], axis=1, dtype=np.float64)
        mass = running[:, -1:]
        running = np.where(mass > 0, running / np.where(mass > 0, mass, 1), 1.0)
        at = np.searchsorted(
            (running + rows).ravel(), ((np.arange(retained) + 0.5) / retained + rows).ravel(), side="right"
        )
        inside = np.clip(at.reshape(len(weights), retained) - rows * running.shape[1], 0, running.shape[1] - 1)
        own = np.take_along_axis(weights[:, part], inside, axis=1).astype(np.float64)
        positions.append(inside + part.start)
        factors.append(np.where(own > 0, mass / retained / np.where(own > 0, own, 1), 0.0))
    return np.concatenate(positions, axis=1), np.concatenate(factors, axis=1)


def _conversions(terms: _Terms) -> tuple[Float, Float]:
    """Return nodes of each customer's conversion, (b, nodes), and the prior mass of each by type, (b, nodes, k).

    The first node is the lowest conversion, an atom. The others cover the likely range evenly in their logarithm.
    """
    low, high = CONVERSION_RANGE
    factor = terms.moments[0].max(axis=1) / np.maximum(terms.visits - terms.orders, 1)
    factor = np.where(factor > 0, factor, 1.0)
    orders = terms.orders + 1.7
    middle = np.log(np.clip(orders / (terms.visits * factor + CONVERSION_CONCENTRATION), low, high))
    reach = 3.2 / np.sqrt(orders)
    bottom, top = np.maximum(middle - reach, np.log(low)), np.minimum(middle + reach, np.log(high))
    nodes = np.exp(np.linspace(bottom, top, CONVERSIONS, axis=1))
    mean = _by_kind("conversion")
    law = beta_law(mean * CONVERSION_CONCENTRATION, (1 - mean) * CONVERSION_CONCENTRATION)
    step = ((top - bottom) / (CONVERSIONS - 1))[:, None, None]
    mass = law.pdf(nodes[:, :, None]) * nodes[:, :, None] * step
    mass[:, [0, -1]] /= 2
    atom = np.broadcast_to(law.cdf(low), (len(nodes), 1, len(TYPES)))
    return np.column_stack([np.full(len(nodes), low), nodes]), np.concatenate([atom, mass], axis=1)
