"""Assembles typed rows into order records: checks all rows of an order together and joins its lines.

The result does not depend on the order of rows or files: rows are sorted by content first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from features.schema import AMOUNT_MAX, ORDER_CHANGE_MS_MAX, ORDER_LINES_MAX, STATUSES
from producers.importing.conversion import NO_DAY_RATE, Conversion
from producers.importing.money import amounts, products, rounded, sums
from producers.importing.row_rates import NO_RATE
from producers.importing.rows import CHANGED, ORDER_BYTES_MAX, RULE_DIGITS

ORDER_COLUMNS: Final = (
    "order_id", "customer_id", "ts", "updated_ts", "status", "total", "session_id", "items", "channel", "country",
    "payment_method",
)  # fmt: skip
_ITEM: Final = pl.Struct(
    {"product_id": pl.String, "category": pl.String, "quantity": pl.Int64, "unit_price": pl.Float64}
)
_SHARED: Final = ("session_id", "channel", "country", "payment_method")
"""Fields of an order that one row per order has; further rows may repeat them."""
_CONTENT: Final = (
    "order_id", "ts", "updated_ts", "customer_id", "status", "_total", "product_id", "category", "_quantity",
    "_unit_price", "_rate", *_SHARED,
)  # fmt: skip
_GROUP: Final = "_group"
_PLACED: Final = pl.col("status").is_null() | (pl.col("status") == STATUSES[0])
REPEATED: Final = "repeats a record"
"""Reason of a row that is left out: its id and all of its values are those of another row."""
_SEVERAL_TIMES: Final = "order id used twice, at several times"
MADE_ID: Final = "{}-{}-{}"
"""Order id of a row without one: customer, epoch ms, position."""
MADE_ID_END: Final = "-[0-9]+-[0-9]+$"
"""Part of `MADE_ID` after the customer, a regular expression."""
_SINGLE: Final = ~pl.col("_grouped") & ~pl.col("_bad")
_ID_CHECKS: Final = (
    (
        "order id used twice, by several customers",
        pl.col("customer_id").drop_nulls().n_unique().over("order_id") > 1,
    ),
    (
        "order with different totals",
        _SINGLE & (pl.col("_total").n_unique().over("order_id", "status", pl.coalesce("updated_ts", "ts")) > 1),
    ),
    (
        "order of several currencies",
        _SINGLE & (pl.col("_rate").n_unique().over("order_id") > 1) & (pl.col("ts").n_unique().over("order_id") == 1),
    ),
)
"""Reasons to refuse all rows of an id but repetitions. The first one that holds is counted."""


@dataclass(frozen=True, slots=True)
class Assembled:
    """Records, and the rows that are refused or left out together with others.

    Attributes:
        records: columns of the record.
        refused: `_file`, `_line`, reason, and `detail` if a reason has one.
        left_out: `_file`, `_line`, reason.
        dropped: `_file`, reason: rows with an optional value that the record does not hold.
    """

    records: pl.DataFrame
    refused: pl.DataFrame
    left_out: pl.DataFrame
    dropped: pl.DataFrame


def order_records(rows: pl.DataFrame, conversions: Sequence[Conversion] = (Conversion(),)) -> Assembled:
    """Return the order records of typed rows. All rows of an order id are among them.

    Args:
        rows: typed rows of a plan.
        conversions: conversion of each mapping, by the number of its plan.
    """
    change = pl.when(_SINGLE).then(pl.col("updated_ts").fill_null(pl.col("ts"))).otherwise("updated_ts")
    rows = _with_made_ids(_sorted(rows.with_columns(updated_ts=change)))
    again = _SINGLE & pl.all_horizontal(pl.col(name).eq_missing(pl.col(name).shift(1)) for name in _CONTENT)
    rows = rows.with_columns(_again=again & (pl.int_range(pl.len()) > 0))
    left_out = [_refused(rows.filter("_again").with_columns(reason=pl.lit(REPEATED)))]
    rows = rows.filter(~pl.col("_again"))
    reasons = [pl.when(pl.col("order_id").is_not_null() & fails).then(pl.lit(reason)) for reason, fails in _ID_CHECKS]
    rows = rows.with_columns(pl.coalesce(reasons).alias("reason"))
    refused = [_refused(rows.filter(pl.col("reason").is_not_null() & ~pl.col("_bad")))]
    rows = rows.filter(pl.col("reason").is_null()).drop("reason")
    single, more = _single(rows.filter(_SINGLE), conversions[0])
    remaining, ruled, uneven = _by_rules(rows.filter("_grouped"))
    lines, others, repeated, dropped = _joined(_with_day_rates(remaining, conversions), conversions[0])
    refused += [more, others, uneven]
    left_out += [ruled, repeated]
    records = pl.concat([single, lines]).select(ORDER_COLUMNS)
    records, clashing = _without_clashes(records, rows, pl.concat([*refused, *left_out], how="diagonal"))
    records = records.sort("ts", "order_id", "updated_ts", "status", "total")
    return Assembled(records, pl.concat([*refused, clashing], how="diagonal"), pl.concat(left_out), dropped)


def _with_made_ids(rows: pl.DataFrame) -> pl.DataFrame:
    """Return sorted rows, each with an order id; rows of a log without ids get one of customer, time and position."""
    own = pl.col("_own_id") & ~pl.col("_bad")
    made, given = rows.filter(own), rows.filter(~own)
    if made.is_empty():
        return rows
    position = pl.int_range(pl.len()).over("customer_id", "ts")
    made = made.with_columns(order_id=pl.format(MADE_ID, "customer_id", "ts", position))
    # an id of another file may equal one that is made
    return made if given.is_empty() else _sorted(pl.concat([made, given]))


def _sorted(rows: pl.DataFrame) -> pl.DataFrame:
    """Return rows sorted by content. Columns of one value have no part in it, and would cost time."""
    different = [name for name in _CONTENT if rows.select(pl.col(name).ne_missing(pl.col(name).first()).any()).item()]
    return rows.sort(different, nulls_last=True) if different else rows


def _without_clashes(
    records: pl.DataFrame, rows: pl.DataFrame, settled: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the records of orders that have one record per moment, and the refused rows of the other orders.

    Args:
        records: columns of the record, without repetitions.
        rows: typed rows of all orders.
        settled: `_file` and `_line` of rows that are refused or left out already.
    """
    several = records.filter(pl.col("order_id").is_duplicated())
    times = pl.col("ts").n_unique().over("order_id") > 1
    # of several statuses at one time the contract names the winner
    values = pl.struct("order_id", "updated_ts", "status").is_duplicated().any().over("order_id")
    why = several.select(
        "order_id",
        reason=pl.when(times).then(pl.lit(_SEVERAL_TIMES))
        .when(values).then(pl.lit("order id used twice, with different values")),
    ).drop_nulls().unique()  # fmt: skip
    if why.is_empty():
        return records, _refused(rows.clear().with_columns(reason=pl.lit(None, pl.String)))
    clashing = rows.filter(~pl.col("_bad")).join(why, on="order_id")
    clashing = clashing.join(settled, on=["_file", "_line"], how="anti")
    return records.join(why, on="order_id", how="anti"), _refused(clashing)


def _refused(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.select("_file", "_line", "reason")


# --- a row is an order ------------------------------------------------------------------------------------------------
def _single(rows: pl.DataFrame, conversion: Conversion) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the records of rows that are orders, and the refused rows."""
    too_long = pl.col("order_id").str.len_bytes() > ORDER_BYTES_MAX["order_id"]
    reason = pl.when(too_long).then(pl.lit(f"order_id longer than {ORDER_BYTES_MAX['order_id']} bytes"))
    rows = rows.with_columns(reason.alias("reason"))
    refused, rows = rows.filter(pl.col("reason").is_not_null()), rows.filter(pl.col("reason").is_null())
    records = rows.with_columns(
        total=conversion.amounts(rows["_total"], rows["_rate"]),
        unit_price=conversion.amounts(rows["_unit_price"], rows["_rate"]),
    )
    records = records.with_columns(items=pl.when("_has_line").then(pl.concat_list(_item())))
    return records.select(*ORDER_COLUMNS, "_line"), _refused(refused)


def _item() -> pl.Expr:
    return pl.struct("product_id", "category", "quantity", "unit_price").cast(_ITEM)


# --- rows of one order ------------------------------------------------------------------------------------------------
def _by_rules(rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Apply the rules for whole orders, and leave out copies of rows that a file has several times.

    Returns:
        The other rows, the rows that are left out, and the rows that are refused.
    """
    empty = rows.clear().select("_file", "_line", reason=pl.lit(None, pl.String))
    if rows["_held"].null_count() == len(rows) and (rows["_copies"] == 1).all():
        return rows, empty, empty
    record = pl.when("_in_record").then(pl.format("{}:{}", "_file", "_line"))
    rows = rows.with_columns(record.alias("_record"))
    rows = rows.join(_rules_that_hold(rows), on=_ORDER, how="left", nulls_equal=True, maintain_order="left")
    ruled = rows.filter(pl.col("_rule").is_not_null() & ~pl.col("_bad"))
    left_out = [_refused(ruled.with_columns(reason=pl.col("_rule").str.slice(RULE_DIGITS)))]
    rows = rows.filter(pl.col("_rule").is_null())
    copied = (pl.col("_copies") > 1) & ~pl.col("_bad")
    same = [*_ORDER, *_CONTENT[1:]]
    rows = rows.with_columns(
        _times=pl.when(copied).then(pl.len().over([*same, copied])),
        _copy=pl.when(copied).then(pl.int_range(pl.len()).over([*same, copied])),
    )
    uneven = (pl.col("_times") % pl.col("_copies") != 0).fill_null(False).any().over(_ORDER)
    reason = pl.lit("the order has a row that the file does not have as often as `copies` states")
    refused = _refused(rows.filter(uneven & ~pl.col("_bad")).with_columns(reason=reason))
    rows = rows.filter(~uneven)
    further = (pl.col("_copy") % pl.col("_copies") != 0).fill_null(False)
    left_out.append(_refused(rows.filter(further).with_columns(reason="_copies_reason")))
    return rows.filter(~further), pl.concat(left_out), refused


_ORDER: Final = ("order_id", "_record")


def _rules_that_hold(rows: pl.DataFrame) -> pl.DataFrame:
    """Return `_ORDER` and `_rule` of orders for which a rule holds: number and reason of the first one."""
    held = rows.select(*_ORDER, _rule="_held").explode("_rule").drop_nulls("_rule")
    every = rows.group_by(_ORDER).agg(_rows=pl.len())
    absent = rows.select(*_ORDER, _rule="_absent").explode("_rule").drop_nulls("_rule")
    absent = absent.group_by(*_ORDER, "_rule").agg(_absent=pl.len()).join(every, on=_ORDER, nulls_equal=True)
    absent = absent.filter(pl.col("_absent") == pl.col("_rows")).select(*_ORDER, "_rule")
    return pl.concat([held, absent]).group_by(_ORDER).agg(pl.col("_rule").min())


def _with_day_rates(rows: pl.DataFrame, conversions: Sequence[Conversion]) -> pl.DataFrame:
    """Return lines with the rates of the days on which their orders were placed: those of the earliest lines.

    Args:
        rows: rows of orders. Where a mapping has rates by day, the currency of a line stands for its rate.
        conversions: conversion of each mapping.

    Returns:
        The rows, with `_lack`: why a line has no rate.
    """
    placed = pl.col("ts").min().over("order_id")
    rate, lack = pl.col("_rate"), pl.lit(None, pl.String)
    for number, conversion in enumerate(conversions):
        if conversion.rates is not None:
            by_day = (pl.col("_conversion") == number) & ~pl.col("_in_record") & pl.col("_rate").is_not_null()
            of_day = conversion.rate(pl.col("_rate"), placed)
            rate = pl.when(by_day).then(of_day).otherwise(rate)
            lacks = by_day & of_day.is_null() & placed.is_not_null()
            lack = pl.when(lacks).then(conversion.lack(pl.col("_rate"), placed)).otherwise(lack)
    return rows.with_columns(_rate=rate, _lack=lack)


def _joined(
    rows: pl.DataFrame, conversion: Conversion, *, repeats: bool = False
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Return a record per order of lines, the refused, the repeated, and the rows with a value that is not used.

    Args:
        rows: typed rows, sorted by content, of `_with_day_rates`.
        conversion: conversion of any mapping: they differ in their rates only.
        repeats: whether a record that repeats another one is kept.
    """
    rows = _with_groups(rows)
    if rows["_rate"].null_count():
        own = pl.col("_rate").drop_nulls().first().over(_GROUP)
        rows = rows.with_columns(_rate=pl.coalesce("_rate", own))
    orders = rows.group_by(_GROUP, maintain_order=True).agg(
        pl.col("order_id").first(),
        pl.col("customer_id").drop_nulls().first(),
        pl.col("_line").first(),
        pl.col("ts").min(),
        pl.col("updated_ts").max(),
        pl.col("status").min(),
        (pl.col("status").min() != pl.col("status").max()).alias("_mixed"),
        _PLACED.any().alias("_any_placed"),
        *(pl.col(name).drop_nulls().first() for name in _SHARED),
        *(pl.col(name).drop_nulls().n_unique().alias(f"_n_{name}") for name in _SHARED),
        pl.col("_total").drop_nulls().n_unique().alias("_totals"),
        pl.col("_has_line").sum().alias("_lines"),
        pl.col("_bad", "_net_amounts", "_net_status", "_in_record").any(),
        pl.col("_sums").any(),
        pl.col("_rate").drop_nulls().n_unique().alias("_currencies"),
        pl.col("_lack").drop_nulls().first().alias("detail"),
    )
    orders = _with_total(rows, orders, conversion.decimals)
    reasons = pl.coalesce(*(pl.when(fails).then(pl.lit(reason)) for reason, fails in _ORDER_CHECKS))
    orders = orders.with_columns(reasons.alias("reason"))
    verdict = (
        rows.filter(~pl.col("_bad"))
        .select(_GROUP, "_file", "_line")
        .join(orders.filter(pl.col("reason").is_not_null()).select(_GROUP, "reason", "detail"), on=_GROUP)
    )
    detail = pl.when(pl.col("reason") == NO_DAY_RATE).then("detail")
    refused = verdict.select("_file", "_line", "reason", detail.alias("detail"))
    good = orders.filter(pl.col("reason").is_null())
    records = _with_items(rows, good, conversion)
    records, again = (records, records.select(_GROUP).clear()) if repeats else _without_repeats(records)
    repeated = _refused(rows.join(again, on=_GROUP, how="semi").with_columns(reason=pl.lit(REPEATED)))
    return (
        records.select(*ORDER_COLUMNS, "_line"),
        refused,
        repeated,
        _conflicts(rows, good.join(again, on=_GROUP, how="anti")),
    )


def _with_groups(rows: pl.DataFrame) -> pl.DataFrame:
    """Return rows sorted by `_GROUP`, the number of the order or, where a record holds its lines, of the record.

    Args:
        rows: sorted by order id.
    """
    if not rows["_in_record"].any():
        return rows.with_columns(pl.col("order_id").rle_id().cast(pl.Int64).alias(_GROUP))
    record = pl.when("_in_record").then(pl.struct("_file", "_line"))
    group = pl.struct("order_id", record.alias("record")).rank("dense").cast(pl.Int64)
    return rows.with_columns(group.alias(_GROUP)).sort(_GROUP, maintain_order=True)


def _without_repeats(records: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the orders without those that repeat a whole record of a file, and the groups of the repetitions."""
    if not records["_in_record"].any():
        return records, records.clear().select(_GROUP)
    suspects = records.filter(pl.col("_in_record") & pl.col("order_id").is_duplicated())
    content = suspects.select(ORDER_COLUMNS).with_columns(
        items=pl.Series([repr(items) for items in suspects["items"].to_list()], dtype=pl.String)
    )
    again = suspects.select(_GROUP).filter(content.select(pl.int_range(pl.len()).over(ORDER_COLUMNS) > 0).to_series())
    return records.join(again, on=_GROUP, how="anti", maintain_order="left"), again


_ORDER_CHECKS: Final = (
    ("another row of the order is refused", pl.col("_bad")),
    ("no customer", pl.col("customer_id").is_null()),
    ("no readable time", pl.col("ts").is_null()),
    (
        CHANGED,
        (pl.col("updated_ts") < pl.col("ts")) | (pl.col("updated_ts") - pl.col("ts") > ORDER_CHANGE_MS_MAX),
    ),
    (NO_DAY_RATE, pl.col("detail").is_not_null()),
    (NO_RATE, pl.col("_currencies") == 0),
    ("order of several currencies", pl.col("_currencies") > 1),
    ("order with different totals", (pl.col("_totals") > 1) & ~pl.col("_net_amounts")),
    ("order whose rows differ in status", pl.col("_mixed") & ~pl.col("_net_status")),
    ("order whose rows differ in status, and none is placed", pl.col("_mixed") & ~pl.col("_any_placed")),
    ("no readable total", pl.col("total").is_null()),
    ("amount below 0 or above 1e12", ~pl.col("total").is_between(0, AMOUNT_MAX)),
    (f"order of more than {ORDER_LINES_MAX} lines", pl.col("_lines") > ORDER_LINES_MAX),
)
"""Reasons to refuse all rows of an order. The first one that holds is counted."""


def _with_total(rows: pl.DataFrame, orders: pl.DataFrame, decimals: int) -> pl.DataFrame:
    """Add total and status. Amounts are exact sums, rounded once to the decimals of the currency."""
    amounts_of = rows.select(
        _GROUP, "status", "_bad", "_sums", "_has_line", "_net_amounts", "_net_status", "_total", "_quantity",
        "_unit_price", "_rate",
    )  # fmt: skip
    counted = amounts_of.filter(~pl.col("_bad") & _counts(orders))
    by_lines = counted.filter(pl.col("_sums") & pl.col("_has_line"))
    by_total = counted.filter(~pl.col("_sums") & pl.col("_total").is_not_null())
    # a total that is repeated on every row counts once; with `net` each row has an amount of its own
    by_total = pl.concat(
        [
            by_total.filter("_net_amounts"),
            by_total.filter(~pl.col("_net_amounts")).unique([_GROUP, "_total"], maintain_order=True),
        ]
    )
    totals = pl.concat(
        [_sums(by_lines, "_unit_price", "_quantity", decimals), _sums(by_total, "_total", None, decimals)]
    )
    orders = orders.join(totals, on=_GROUP, how="left", maintain_order="left")
    nothing_left = (pl.col("_net_amounts") & (pl.col("total") <= 0) & (pl.col("sold") > 0)).fill_null(False)
    status = pl.when("_mixed").then(pl.lit(STATUSES[0])).otherwise(pl.col("status").fill_null(STATUSES[0]))
    return orders.with_columns(
        total=pl.when(nothing_left).then("sold").otherwise("total"),
        status=pl.when(nothing_left).then(pl.lit("refunded")).otherwise(status),
    )


def _counts(orders: pl.DataFrame) -> pl.Expr:
    """Return whether a line counts: of a netted order whose lines differ in status, the placed ones alone."""
    netted = orders.filter(pl.col("_mixed") & pl.col("_net_status"))[_GROUP]
    return _PLACED | ~pl.col(_GROUP).is_in(netted.implode()) if len(netted) else pl.lit(True)


def _sums(rows: pl.DataFrame, amount: str, quantity: str | None, decimals: int) -> pl.DataFrame:
    """Return per group the exact sum, rounded once, and that of the positive amounts alone."""
    total = _sum(rows, amount, quantity, decimals).rename({"amount": "total"})
    below = _negative(amount) | (_negative(quantity) if quantity else pl.lit(False))
    sold = rows.filter(~below)
    if len(sold) == len(rows):
        return total.with_columns(sold="total")
    return total.join(_sum(sold, amount, quantity, decimals).rename({"amount": "sold"}), on=_GROUP, how="left")


def _sum(rows: pl.DataFrame, amount: str, quantity: str | None, decimals: int) -> pl.DataFrame:
    rate = rows["_rate"]
    one_rate = len(rows) > 0 and bool(rate.eq_missing(rate[0]).all())
    factors = [amounts(rows[name]) for name in (amount, *([quantity] if quantity else []))]
    groups, exact = sums(rows[_GROUP], products(*factors, amounts(rate.head(1) if one_rate else rate)))
    return pl.DataFrame({_GROUP: groups, "amount": rounded(exact, decimals)})


def _negative(name: str) -> pl.Expr:
    return pl.col(name).str.starts_with("-").fill_null(False)


def _with_items(rows: pl.DataFrame, orders: pl.DataFrame, conversion: Conversion) -> pl.DataFrame:
    """Add the lines of each order that count, sorted by content. Lines that take something back are no items."""
    lines = rows.filter(pl.col("_has_line") & ~_negative("_quantity") & ~_negative("_unit_price") & _counts(orders))
    lines = lines.with_columns(unit_price=conversion.amounts(lines["_unit_price"], lines["_rate"]))
    items = lines.group_by(_GROUP, maintain_order=True).agg(items=_item())
    return orders.join(items, on=_GROUP, how="left", maintain_order="left").with_columns(
        pl.col("updated_ts").fill_null(pl.col("ts"))
    )


def _conflicts(rows: pl.DataFrame, orders: pl.DataFrame) -> pl.DataFrame:
    """Return a row for each order and field whose rows differ; the record has the value of the first row."""
    conflicts = [
        rows.join(orders.filter(pl.col(f"_n_{name}") > 1).select(_GROUP), on=_GROUP)
        .unique(_GROUP, maintain_order=True)
        .select("_file", reason=pl.lit(f"order whose rows differ in {name}: the record has the first"))
        for name in _SHARED
    ]
    return pl.concat(conflicts)


# --- messages of a topic ----------------------------------------------------------------------------------------------
def message_orders(rows: pl.DataFrame, conversion: Conversion) -> Assembled:
    """Return the order records of typed rows whose messages are orders, or changes of them, with their `_line`.

    All rows are of one mapping: each is an order, or each is a line of one. Messages are judged one by one: no other
    message refuses a record.

    Args:
        rows: typed rows of the plan 0.
        conversion: conversion of the mapping.
    """
    if not rows["_grouped"].any():
        single = rows.filter(_SINGLE).with_columns(updated_ts=pl.col("updated_ts").fill_null(pl.col("ts")))
        records, refused = _single(single, conversion)
        nothing = refused.clear()
        return Assembled(records, refused, nothing, nothing.select("_file", "reason"))
    rows = _with_day_rates(rows.sort(_CONTENT, nulls_last=True), [conversion])
    records, refused, repeated, dropped = _joined(rows, conversion, repeats=True)
    return Assembled(records, refused, repeated, dropped)
