"""Draws customer profiles: names from seeded faker pools, and the other fields."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import faker
import numpy as np
import pyarrow as pa

from features.schema import Customer, arrow_schema
from producers.shop.population import CHANNELS, COUNTRY_NAMES, TYPES, Index, Population
from producers.shop.random_streams import Stream, generator
from producers.shop.tables import customer_ids

CUSTOMERS_SCHEMA: Final = arrow_schema(Customer)
GENDERS: Final = ("female", "male", "other")
GENDER_SHARES: Final = (0.53, 0.45, 0.02)
OPT_IN_SHARE: Final = 0.58
AGE_SIGMA: Final = 11.0
AGE_RANGE: Final = (18, 90)
BLOCK_ROWS: Final = 50_000
_SPELLED: Final = {ord(k): v for k, v in {"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "ł": "l", "ø": "o"}.items()}
_POOL: Final = 150
_LOCALES: Final = {
    "DE": "de_DE", "FR": "fr_FR", "GB": "en_GB", "NL": "nl_NL", "AT": "de_AT", "CH": "de_CH",
    "ES": "es_ES", "IT": "it_IT", "PL": "pl_PL", "US": "en_US",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class NamePools:
    """Names by country and gender, flat: the pool of country c and gender g begins at row (c x genders + g) x size."""

    first: pa.StringArray
    last: pa.StringArray
    first_mail: pa.StringArray
    """The same names in the form used in e-mail addresses."""
    last_mail: pa.StringArray


@lru_cache(maxsize=2)
def name_pools(seed: int) -> NamePools:
    """Return the name pools of a seed (and of the installed version of faker)."""
    first: list[str] = []
    last: list[str] = []
    for country in COUNTRY_NAMES:
        source = faker.Faker(_LOCALES[country])
        source.seed_instance(seed)
        for draw in (source.first_name_female, source.first_name_male, source.first_name):
            first += [draw() for _ in range(_POOL)]
            last += [source.last_name() for _ in range(_POOL)]
    return NamePools(*(pa.array(v, pa.string()) for v in (first, last, [*map(_mail, first)], [*map(_mail, last)])))


def _mail(name: str) -> str:
    spelled = name.lower().translate(_SPELLED)
    plain = unicodedata.normalize("NFKD", spelled).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z]+", "-", plain).strip("-") or "x"


def customers_table(seed: int, population: Population, numbers: Index) -> pa.Table:
    """Return the profiles of some customers (rows), independent of which other customers are drawn with them.

    Args:
        seed: seed of the shop.
        population: population of the shop.
        numbers: rows, ascending. The draw is addressed by blocks of BLOCK_ROWS, so a customer's profile does not depend
            on the other rows requested.
    """
    if len(numbers) == 0:
        return CUSTOMERS_SCHEMA.empty_table()
    blocks = np.unique(numbers // BLOCK_ROWS)
    parts = [_block(seed, population, numbers[numbers // BLOCK_ROWS == block], int(block)) for block in blocks]
    return pa.concat_tables(parts)


def profile_blocks(seed: int, population: Population) -> Iterator[pa.Table]:
    """Yield all profiles, block by block."""
    for start in range(0, len(population), BLOCK_ROWS):
        yield customers_table(seed, population, np.arange(start, min(start + BLOCK_ROWS, len(population))))


def _block(seed: int, population: Population, rows: Index, block: int) -> pa.Table:
    pools = name_pools(seed)
    within = rows - block * BLOCK_ROWS
    # one row of numbers for each customer of the block: drawn by column, they would depend on the requested rows
    uniform = generator(seed, Stream.PROFILES, block).random((int(within[-1]) + 1, 6))[within]
    kind, country = population.kind[rows], population.country[rows]
    gender = np.searchsorted(np.cumsum(GENDER_SHARES)[:-1], uniform[:, 0], side="right")
    pool = (country.astype(np.int64) * len(GENDERS) + gender) * _POOL
    first = pa.array(pool + (uniform[:, 1] * _POOL).astype(np.int64))
    last = pa.array(pool + (uniform[:, 2] * _POOL).astype(np.int64))
    mean_age = np.asarray([t.age for t in TYPES])[kind]
    # the logistic quantile is close to the normal one and needs one uniform number
    spread = np.log((uniform[:, 3] + 1e-9) / (1 - uniform[:, 3])) * AGE_SIGMA * 0.55
    join = pa.compute.binary_join_element_wise
    columns = {
        "customer_id": customer_ids(rows + 1),
        "name": join(pools.first.take(first), pools.last.take(last), " "),
        "email": join(
            join(pools.first_mail.take(first), pools.last_mail.take(last), pa.array(rows + 1).cast(pa.string()), "."),
            "example.com",
            "@",
        ),
        "country": pa.array(COUNTRY_NAMES, pa.string()).take(pa.array(country)),
        "gender": pa.array(GENDERS, pa.string()).take(pa.array(gender)),
        "acquisition_channel": pa.array(CHANNELS, pa.string()).take(pa.array(population.acquisition[rows])),
        "signup_ts": pa.array(population.signup_ms[rows]).cast(pa.timestamp("ms", tz="UTC")),
        "age": pa.array(np.clip(mean_age + spread, *AGE_RANGE).astype(np.int64)),
        "premium": pa.array(uniform[:, 4] < np.asarray([t.premium for t in TYPES])[kind]),
        "marketing_opt_in": pa.array(uniform[:, 5] < OPT_IN_SHARE),
    }
    return pa.table([columns[name] for name in CUSTOMERS_SCHEMA.names], schema=CUSTOMERS_SCHEMA)


def truth_table(population: Population, visits_factor: float, conversion_factor: float, end_ms: int) -> pa.Table:
    """Return the model's latent values, which no feature may use: for evaluation only.

    Args:
        population: population at the end of history.
        visits_factor: visits per day per unit of visit rate.
        conversion_factor: the model's factor on conversion.
        end_ms: end of history, the time of `alive` and `fading`.
    """
    time = pa.timestamp("ms", tz="UTC")
    conversion = np.minimum(population.conversion.astype(np.float64) * conversion_factor, 1)
    visits = population.visit_rate.astype(np.float64) * visits_factor
    return pa.table(
        {
            "customer_id": customer_ids(np.arange(1, len(population) + 1)),
            "latent_type": pa.array([t.name for t in TYPES], pa.string()).take(pa.array(population.kind)),
            "signup_ts": pa.array(population.signup_ms).cast(time),
            "dropout_ts": pa.array(population.dropout_ms).cast(time),
            "fade_days": population.fade_days.astype(np.float64),
            "alive": population.dropout_ms > end_ms,
            "fading": population.fading(end_ms).astype(np.float64),
            "visits_per_day": visits,
            "orders_per_day": visits * conversion,
            "conversion": conversion,
            "price_bias": population.price_bias.astype(np.float64),
            "voucher_share": population.voucher.astype(np.float64),
            "refund_share": population.refund.astype(np.float64),
        }
    )
