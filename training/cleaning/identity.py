"""Resolves customer ids that several people share, and renumbers ids in order of first purchase.

Two profiles belong to one person if their first non-empty column of the plan's `identity` agrees, ignoring case and
blanks. A profile without any is assigned to a person of its id. Rows of a shared id belong to the only person of it
with the row's country, otherwise to the person who signed up first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl
from polars import col

from training.cleaning.change_log import ChangeLog
from training.cleaning.plan import CleaningPlan

MAPPING_SCHEMA: Final = {
    "old_id": pl.String, "new_id": pl.String, "country": pl.String, "signup_ts": pl.Int64,
    "first_purchase_ts": pl.Int64, "profile_row": pl.Int64,
}  # fmt: skip
DIGITS: Final = 7


@dataclass(frozen=True, slots=True)
class IdAssignment:
    """Assignment of rows to people.

    Attributes:
        by_country: customer_id, country, new_id: the only person of a shared id in this country.
        by_id: customer_id, new_id: the person of an id if the country does not decide.
        by_profile: _row of customers.parquet, new_id.
        mapping: MAPPING_SCHEMA, in order of first purchase; empty if every id stays.
    """

    by_country: pl.DataFrame
    by_id: pl.DataFrame
    by_profile: pl.DataFrame
    mapping: pl.DataFrame

    def renamed(self, topic: str, rows: pl.DataFrame, log: ChangeLog) -> pl.DataFrame:
        """Return the rows with the ids of people."""
        if self.mapping.is_empty():
            return rows
        if topic == "customers":
            joined = rows.join(self.by_profile, on="_row", how="left", maintain_order="left")
            new = joined.select(col("new_id").fill_null(col("customer_id"))).to_series()
        else:
            by_country, anywhere = self.by_country.rename({"new_id": "_c"}), self.by_id.rename({"new_id": "_d"})
            joined = rows.join(by_country, on=["customer_id", "country"], how="left", maintain_order="left")
            joined = joined.join(anywhere, on="customer_id", how="left", maintain_order="left")
            new = joined.select(pl.coalesce("_c", "_d", "customer_id")).to_series()
        changed = new != rows["customer_id"]
        log.change(
            topic, "customer id renumbered", "one id per person; new ids in order of first purchase", "customer_id",
            rows.filter(changed), rows["customer_id"].filter(changed), new.filter(changed),
        )  # fmt: skip
        return rows.with_columns(new.alias("customer_id"))


def person_keys(profiles: pl.DataFrame, plan: CleaningPlan) -> pl.Series:
    """Return the key that identifies a profile's person; null if the profile has none."""
    parts = [
        pl.when(col(name).is_not_null()).then(pl.lit(f"{name}:") + col(name).str.to_lowercase().str.strip_chars())
        for name in plan.identity
    ]
    return profiles.select(pl.coalesce(*parts, pl.lit(None, pl.String)).alias("_key")).to_series()


def assign_ids(
    profiles: pl.DataFrame, purchases: pl.DataFrame, everybody: pl.Series, plan: CleaningPlan
) -> IdAssignment:
    """Identify the people of an archive.

    Args:
        profiles: valid rows of customers.parquet, with `_row`.
        purchases: customer_id, country, ts: first placed order of each customer and country.
        everybody: customer ids of all topics.
        plan: plan of the cleaning.
    """
    profiles = profiles.select("customer_id", "country", "signup_ts", "_row").with_columns(person_keys(profiles, plan))
    keyed = profiles.filter(col("_key").is_not_null())
    shared = keyed.group_by("customer_id").agg(col("_key").n_unique().alias("n")).filter(col("n") > 1)
    persons = _persons(keyed.join(shared, on="customer_id", how="semi"))
    persons = _with_first_purchase(persons, purchases)
    if plan.ids == "keep" or (plan.ids == "shared" and persons.is_empty()):
        return _unchanged_ids()
    unshared = everybody.unique().drop_nulls().to_frame("customer_id").join(shared, on="customer_id", how="anti")
    if plan.ids == "shared":
        renumbered = _suffixed(persons, set(unshared["customer_id"].to_list()))
    else:
        first = purchases.group_by("customer_id").agg(col("ts").min().alias("first_purchase_ts"))
        own = profiles.group_by("customer_id").agg(
            col("country").first(), col("signup_ts").min(), col("_row").min().alias("profile_row")
        )
        single = unshared.join(first, on="customer_id", how="left").join(own, on="customer_id", how="left")
        renumbered = _numbered(pl.concat([persons, single], how="diagonal"))
    return _assignment(renumbered, profiles)


def _persons(keyed: pl.DataFrame) -> pl.DataFrame:
    """Return one row per person of a shared id: customer_id, _key, country, countries, signup_ts, profile_row."""
    return keyed.sort("_row").group_by("customer_id", "_key", maintain_order=True).agg(
        col("country").drop_nulls().first(), col("country").drop_nulls().unique().alias("_countries"),
        col("signup_ts").min(), col("_row").min().alias("profile_row"),
    ).sort("customer_id", "signup_ts", "_key", nulls_last=True).with_columns(
        (pl.int_range(pl.len()).over("customer_id") == 0).alias("_default")
    )  # fmt: skip


def _with_first_purchase(persons: pl.DataFrame, purchases: pl.DataFrame) -> pl.DataFrame:
    owners = _country_owners(persons)
    owned = purchases.join(owners, on=["customer_id", "country"], how="left").join(
        persons.filter("_default").select("customer_id", col("_key").alias("_other")), on="customer_id", how="left"
    )
    first = owned.group_by("customer_id", pl.coalesce("_key", "_other").alias("_key")).agg(
        col("ts").min().alias("first_purchase_ts")
    )
    return persons.join(first, on=["customer_id", "_key"], how="left")


def _country_owners(persons: pl.DataFrame) -> pl.DataFrame:
    """Return customer_id, country, _key where only one person of the id has the country."""
    lived = persons.select("customer_id", "_key", col("_countries").alias("country")).explode("country").drop_nulls()
    alone = lived.group_by("customer_id", "country").agg(col("_key").first(), pl.len().alias("n")).filter(col("n") == 1)
    return alone.drop("n")


_ORDER: Final = ("first_purchase_ts", "signup_ts", "customer_id", "_key")


def _suffixed(persons: pl.DataFrame, taken: set[str]) -> pl.DataFrame:
    persons = persons.sort("customer_id", *_ORDER[:2], "_key", nulls_last=True)
    names: list[str] = []
    for old in persons["customer_id"].to_list():
        number = 1
        while (name := f"{old}-{number}") in taken:
            number += 1
        taken.add(name)
        names.append(name)
    return persons.with_columns(pl.Series("new_id", names, dtype=pl.String)).sort(*_ORDER, nulls_last=True)


def _numbered(everybody: pl.DataFrame) -> pl.DataFrame:
    # buyers first, then non-buyers by their old ids: a second cleaning changes nothing
    ordered = everybody.sort("first_purchase_ts", "customer_id", "signup_ts", "_key", nulls_last=True)
    width = max(DIGITS, len(str(len(ordered))))
    numbers = pl.int_range(1, pl.len() + 1).cast(pl.String).str.zfill(width)
    return ordered.with_columns((pl.lit("c") + numbers).alias("new_id"))


def _assignment(renumbered: pl.DataFrame, profiles: pl.DataFrame) -> IdAssignment:
    single = renumbered.filter(col("_key").is_null())
    several = renumbered.filter(col("_key").is_not_null())
    by_country = _country_owners(several).join(
        several.select("customer_id", "_key", "new_id"), on=["customer_id", "_key"]
    )
    default = several.filter("_default").select("customer_id", "new_id")
    by_id = pl.concat([single.select("customer_id", "new_id"), default])
    by_key = profiles.join(several.select("customer_id", "_key", "new_id"), on=["customer_id", "_key"], how="inner")
    rest = profiles.join(by_key, on="_row", how="anti").join(by_id, on="customer_id", how="inner")
    by_profile = pl.concat([by_key.select("_row", "new_id"), rest.select("_row", "new_id")])
    mapping = renumbered.rename({"customer_id": "old_id"}).select(
        col(name).cast(dtype) for name, dtype in MAPPING_SCHEMA.items()
    )
    if mapping.filter(col("old_id") != col("new_id")).is_empty():
        return _unchanged_ids()
    return IdAssignment(by_country.select("customer_id", "country", "new_id"), by_id, by_profile, mapping)


def _unchanged_ids() -> IdAssignment:
    text = {"customer_id": pl.String, "new_id": pl.String}
    return IdAssignment(
        pl.DataFrame(schema={"customer_id": pl.String, "country": pl.String, "new_id": pl.String}),
        pl.DataFrame(schema=text), pl.DataFrame(schema={"_row": pl.Int64, "new_id": pl.String}),
        pl.DataFrame(schema=MAPPING_SCHEMA),
    )  # fmt: skip


def one_profile_each(rows: pl.DataFrame, log: ChangeLog) -> pl.DataFrame:
    """Keep one profile per customer: drop exact duplicates, then all but the most complete profile."""
    columns = [name for name in rows.columns if not name.startswith("_")]
    distinct = rows.unique(columns, keep="first", maintain_order=True)
    log.drop("customers", "exact duplicate", "all columns equal those of a kept row", "duplicate",
                rows.join(distinct, on="_row", how="anti"))  # fmt: skip
    known = pl.sum_horizontal(col(name).is_not_null() for name in columns)
    best = distinct.sort(known, "signup_ts", *columns[1:3], descending=[True, False, False, False], nulls_last=True)
    best = best.unique("customer_id", keep="first")
    again = distinct.join(best, on="_row", how="anti").sort("_row")
    log.drop("customers", "another profile of the customer", "the profile with the most values is kept", "value", again)
    return distinct.join(best, on="_row", how="semi", maintain_order="left")


def several_ids(profiles: pl.DataFrame, plan: CleaningPlan) -> pl.DataFrame:
    """Return flags for people with several customer ids; nothing is merged."""
    keyed = profiles.select("customer_id").with_columns(person_keys(profiles, plan)).drop_nulls()
    shared = (
        keyed.group_by("_key").agg(col("customer_id").unique().sort().alias("ids")).filter(col("ids").list.len() > 1)
    )
    return shared.sort(col("ids").list.first()).select(
        col("ids").list.first().alias("id"), pl.lit("customer_id").alias("column"),
        col("ids").list.slice(1).list.join(", ").alias("value"), pl.lit("one person, one id").alias("bound"),
    )  # fmt: skip


def distinct_ids(parts: Sequence[pl.Series]) -> pl.Series:
    """Return the customer ids of all parts."""
    return pl.concat([pl.Series("customer_id", dtype=pl.String), *parts]).unique()
