"""Gathers statistics of the whole archive in the first pass: words, products, first purchases, keys, amounts.

Everything here is a sum, a count or a minimum, so it does not depend on the order of files or rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import polars as pl
from polars import col

from features.schema import DAY_MS, NOT_KNOWN, STATUSES
from training.cleaning import duplicates
from training.cleaning.plan import FIELDS, CleaningPlan
from training.cleaning.reading import DTYPES, lines_of
from training.cleaning.repairs import WORD_COLUMNS, ArchiveKnowledge
from training.cleaning.spelling import likely_slips, one_spelling

BINS_PER_E: Final = 100
"""Bins of amounts per unit of their natural logarithm: quartiles are accurate to 1 %."""
_AMOUNT: Final = {"events": "price", "orders": "total"}


@dataclass(slots=True)
class DataProfile:
    """Counts of an archive, and the conclusions from them.

    Attributes:
        plan: plan of the cleaning.
    """

    plan: CleaningPlan
    _words: dict[str, Counter[str]] = field(default_factory=dict)
    _values: dict[tuple[str, str], Counter[Any]] = field(default_factory=dict)
    _products: dict[str, set[str]] = field(default_factory=dict)
    _hashes: dict[str, list[duplicates.UInt64]] = field(default_factory=dict)
    _orders: list[pl.DataFrame] = field(default_factory=list)
    _customers: set[str] = field(default_factory=set)
    _amounts: Counter[tuple[str, str, int]] = field(default_factory=Counter)
    _profiles: pl.DataFrame | None = None
    _foreign: pl.DataFrame | None = None
    _bounds: dict[str, pl.DataFrame] = field(default_factory=dict)

    # --- counting -----------------------------------------------------------------------------------------------------
    def spellings(self, topic: str, rows: pl.DataFrame) -> None:
        """Count words, and the values of columns that serve to fill missing ones."""
        for name, vocabulary in WORD_COLUMNS[topic].items():
            self._words.setdefault(vocabulary, Counter()).update(_counts(rows[name]))
        if topic == "orders":
            self._words.setdefault("category", Counter()).update(_counts(lines_of(rows["items"])[1]["category"]))
        for name, how in self.plan.fill.get(topic, {}).items():  # type: ignore[call-overload]
            if how in ("most_common", "median"):
                self._values.setdefault((topic, name), Counter()).update(_counts(rows[name]))

    def records(self, topic: str, rows: pl.DataFrame) -> None:
        """Count the valid records of a day."""
        self._hashes.setdefault(topic, []).append(duplicates.key_hashes(topic, rows))
        if self.plan.ids == "all":
            self._customers.update(rows["customer_id"].unique().to_list())
        if topic == "events":
            pairs = rows.select("product_id", "category").drop_nulls().unique()
            for product, category in pairs.iter_rows():
                self._products.setdefault(product, set()).add(category)
        else:
            self._orders.append(rows.select("order_id", "customer_id", "country", "ts", "updated_ts", "status"))
        amounts = rows.select(_group(topic), _bin(_AMOUNT[topic])).drop_nulls()
        for group, number, count in amounts.group_by("group", "bin").len().iter_rows():
            self._amounts[topic, group, number] += count

    def profiles(self, rows: pl.DataFrame) -> None:
        """Store the valid profiles."""
        self._profiles = rows.select("customer_id", "country", "acquisition_channel").unique(
            "customer_id", keep="first", maintain_order=True
        )

    # --- what follows -------------------------------------------------------------------------------------------------
    def known(self) -> ArchiveKnowledge:
        """Return the knowledge that repairs use."""
        spellings: dict[str, dict[str, str]] = {
            vocabulary: one_spelling(
                counts,
                self.plan.spellings.get(vocabulary, {}),
                countries=vocabulary == "country",
            )
            for vocabulary, counts in self._words.items()
            if vocabulary in self.plan.one_spelling
        }
        words = spellings.get("category", {})
        products = {
            product: {words.get(one, one) for one in categories} for product, categories in self._products.items()
        }
        only = {product: next(iter(categories)) for product, categories in products.items() if len(categories) == 1}
        profiles = self._profiles
        common = {key: self._common(key, counts) for key, counts in self._values.items() if counts}
        return ArchiveKnowledge(spellings, only, profiles, common)

    def _common(self, key: tuple[str, str], counts: Counter[Any]) -> Any:
        topic, name = key
        if self.plan.fill[topic][name] == "median":  # type: ignore[index]
            values = sorted(counts)
            middle = (counts.total() + 1) // 2
            at = int(np.searchsorted(np.cumsum([counts[value] for value in values]), middle))
            kind = next(one.kind for one in FIELDS[topic] if one.name == name)
            return pl.Series([values[at]]).cast(DTYPES[kind])[0]
        return min(counts, key=lambda value: (-counts[value], str(value).encode()))

    def repeated(self, topic: str) -> pl.Series:
        """Return the hashes of keys that occur more than once."""
        return duplicates.repeated(self._hashes.get(topic, []))

    def foreign_records(self) -> pl.DataFrame:
        """Return the records that belong to another order of the same id; see `duplicates.foreign_records`."""
        if self._foreign is None:
            self._foreign = duplicates.foreign_records(self._orders)
        return self._foreign

    def purchases(self) -> pl.DataFrame:
        """Return customer_id, country, ts: the first placed order of each customer and country."""
        empty = pl.DataFrame(schema={"customer_id": pl.String, "country": pl.String, "ts": pl.Int64})
        parts = [part.filter(col("status") == STATUSES[0]).select(empty.columns) for part in self._orders]
        words = self.known().spellings.get("country", {})
        placed = pl.concat([empty, *parts]).with_columns(col("country").replace(dict(words)))
        return placed.group_by("customer_id", "country").agg(col("ts").min())

    def customers(self) -> pl.Series:
        """Return the customers of events and orders; empty unless the plan renumbers every id."""
        return pl.Series("customer_id", sorted(self._customers), dtype=pl.String)

    # --- what is odd --------------------------------------------------------------------------------------------------
    def outliers(self, topic: str, rows: pl.DataFrame) -> Iterator[tuple[str, str, pl.DataFrame]]:
        """Yield rule, reason and flags of a day's clean rows."""
        name, key = _AMOUNT[topic], duplicates.KEY_COLUMNS[topic][0]
        fence = self.plan.outliers.fence
        if topic not in self._bounds:
            self._bounds[topic] = self._fences(topic)
        bounded = rows.select(key, name, _group(topic)).join(self._bounds[topic], on="group", how="inner")
        odd = bounded.filter((col(name) > 0) & ~col(name).is_between(col("low"), col("high")))
        yield f"odd {name}", f"{fence:g} interquartile ranges beyond the quartiles of its logarithm", odd.select(
            col(key).alias("id"), pl.lit(name).alias("column"), col(name).cast(pl.String).alias("value"),
            pl.format("{} to {}", col("low").round(2), col("high").round(2)).alias("bound"),
        ).sort("id")  # fmt: skip
        if topic == "events":
            most = self.plan.outliers.events_a_day
            busy = rows.group_by("customer_id", (col("ts") // DAY_MS).alias("day")).len().filter(col("len") > most)
            yield "too many events", "seldom a person", busy.sort("customer_id", "day").select(
                col("customer_id").alias("id"), pl.lit("event_id").alias("column"),
                col("len").cast(pl.String).alias("value"), pl.lit(f"{most:,} on one UTC day").alias("bound"),
            )  # fmt: skip

    def _fences(self, topic: str) -> pl.DataFrame:
        rows = [(group, number, count) for (of, group, number), count in self._amounts.items() if of == topic]
        counts = pl.DataFrame(rows, schema={"group": pl.String, "bin": pl.Int64, "n": pl.Int64}, orient="row")
        words = self.known().spellings.get("category", {}) if topic == "events" else {}
        counts = counts.with_columns(col("group").replace(dict(words))).group_by("group", "bin").agg(col("n").sum())
        below = col("n").cum_sum().over("group", order_by="bin") / col("n").sum().over("group")
        counts = counts.sort("group", "bin").with_columns(below.alias("below"))
        quartiles = counts.group_by("group").agg(
            col("bin").filter(col("below") >= 0.25).min().alias("q1"),
            col("bin").filter(col("below") >= 0.75).min().alias("q3"),
        )
        # at least a factor of 2 on either side: prices of one product line may hardly differ
        reach = pl.max_horizontal((col("q3") - col("q1")) * self.plan.outliers.fence, pl.lit(BINS_PER_E * np.log(2)))
        return quartiles.select(
            "group",
            ((col("q1") - reach) / BINS_PER_E).exp().alias("low"),
            ((col("q3") + 1 + reach) / BINS_PER_E).exp().alias("high"),
        )

    def slips(self) -> Iterator[tuple[str, pl.DataFrame]]:
        """Yield topic and flags of words that look misspelt."""
        known = self.known().spellings
        for vocabulary in self.plan.one_spelling:
            counts: Counter[str] = Counter()
            for word, count in self._words.get(vocabulary, Counter()).items():
                counts[known.get(vocabulary, {}).get(word, word)] += count
            slips = likely_slips(counts)
            topic = next(of for of, words in WORD_COLUMNS.items() if vocabulary in words.values())
            yield topic, pl.DataFrame(
                [(word, vocabulary, word, f"{meant}?") for word, meant in slips.items()],
                schema={"id": pl.String, "column": pl.String, "value": pl.String, "bound": pl.String}, orient="row",
            )  # fmt: skip


def _counts(values: pl.Series) -> dict[Any, int]:
    counts = values.drop_nulls().value_counts()
    return dict(counts.iter_rows())


def _group(topic: str) -> pl.Expr:
    return (col("category").fill_null(NOT_KNOWN) if topic == "events" else pl.lit("all")).alias("group")


def _bin(name: str) -> pl.Expr:
    positive = pl.when(col(name) > 0).then(col(name))
    return (positive.log() * BINS_PER_E).floor().cast(pl.Int64).alias("bin")
