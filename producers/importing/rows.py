"""Plans how the rows of a foreign table become typed rows of orders or events, and what refuses a row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import polars as pl

from connectors.formats.country_codes import country_codes
from connectors.formats.ids import plain_ids, read_ids
from connectors.formats.numbers import read_decimals
from connectors.tables.batches import LINE, POSITION
from features.records.placeholders import RESERVED
from features.records.rejections import form_of
from features.schema import (
    AMOUNT_MAX,
    DAY_MS,
    DEVICES,
    EVENT_TYPES,
    ORDER_CHANGE_MS_MAX,
    STAGE_EVENT,
    STATUSES,
    TS_MAX,
    Event,
    Item,
    Order,
)
from producers.importing.columns import (
    Columns,
    label,
    makes_guests,
    replaced,
    without_guests,
)
from producers.importing.judge import Check, Drop, Plan
from producers.importing.lookups import TABLE_POSITION
from producers.importing.mapping import ClickMapping, LeftOut, LineId, OrderColumns, OrderMapping, join_of
from producers.importing.row_rates import fraction_checks, rate_checks, row_rate
from producers.importing.sources import ANY_WORD, ELEMENT, Selection, Source, Value, alternatives, names_in

AHEAD_MS_MAX: Final = DAY_MS
"""A time this far ahead of now is a mistake; consumers refuse it too."""
RULE_DIGITS: Final = 3
"""Digits of a rule's number, before its reason."""
_NUMBERS: Final = frozenset({"total", "quantity", "unit_price", "price"})
"""Fields whose texts are numbers."""
_QUANTITY_MAX: Final = 2**53
_OWN_CUSTOMER: Final = "\0own_customer"
_UNREAD: Final = "\0word{}"
"""Column of a text that refuses its row."""
NO_USER: Final = "no user yet"
"""Reason of a click of a visitor whom no user id names."""
_FRACTION: Final = "fraction of a piece: the record has no quantity"

EVENT_BYTES_MAX, ORDER_BYTES_MAX = (
    {text.name: text.bytes_max for record in records for text in form_of(record).texts if text.bytes_max}
    for records in ((Event,), (Order, Item))
)
"""Maximum bytes of each text of a record and its lines."""


# --- orders -----------------------------------------------------------------------------------------------------------
def order_plan(mapping: OrderMapping, columns: Columns, now_ms: int, number: int = 0) -> Plan:
    """Build the plan of an order log.

    Args:
        mapping: mapping of the log.
        columns: columns of the file.
        now_ms: current time, epoch ms.
        number: position of the mapping's conversion among those that `order_records` takes.

    Raises:
        UsageError: the file lacks a column that orders need.
    """
    order, line = mapping.order, mapping.order.lines or mapping.order
    sums, grouped = order.total is None, order.grouped
    ts_text, ts = columns.time(mapping.time, required=True)
    updated_text, updated = columns.time(order.updated)
    by_line = order.rows == "line"  # the order is placed at its earliest line's time, which a row does not know
    rate_text, rate = row_rate(mapping, columns, None if by_line else ts)
    sources: dict[str, Source | None] = {
        "order_id": order.id, "customer_id": order.customer, "session_id": order.session, "status": order.status,
        "total": order.total, "product_id": line.product, "category": line.category, "quantity": line.quantity,
        "unit_price": line.unit_price, "channel": order.channel, "country": order.country,
        "payment_method": order.payment_method,
    }  # fmt: skip
    needed = {"order_id", "customer_id", "total"} | ({"quantity", "unit_price"} if sums else set())
    texts = {
        name: columns.text(source, required=name in needed, number=name in _NUMBERS, name=name)
        for name, source in sources.items()
    }
    texts |= {"ts": ts_text, "updated_ts": updated_text, "currency": rate_text}
    texts |= _own_customer(columns, order.customer)
    texts["\0ts"], texts["\0updated"], texts["\0rate"] = ts, updated, rate
    if order.lines is not None and order.lines.left_out is not None:
        texts["\0not_a_line"] = columns.holds(order.lines.left_out)
    if order.lines is not None and order.lines.table is not None:
        texts[TABLE_POSITION] = pl.col(TABLE_POSITION)
    texts |= _whole_order_rules(order, columns)
    rules = _rules(mapping, columns)
    texts |= _unread_columns(columns) | columns.missed_texts()
    values = {
        **_ids(mapping, "order_id", "session_id", "product_id"),
        **_decimals(columns, "total", "quantity", "unit_price"),
        # a row without a status has that of its order, unless each line has a status of its own
        "v_status": _words(order.statuses, "status", None if grouped and order.mixed_status == "refuse" else "placed"),
        "v_country": _country(pl.col("country"), mapping.countries),
    }  # fmt: skip
    has_line = _has_line(sources)
    if "\0not_a_line" in texts:
        has_line &= ~pl.col("\0not_a_line")
    net = order.negative == "net"
    checks = [
        *([Check("no order id", "order_id", _bad_id("order_id"), _id_reason("order_id"))] if order.id else []),
        Check(
            "no customer", "customer_id",
            _unreadable_id("customer_id") if grouped else _bad_id("customer_id"), _id_reason("customer_id"),
        ),
        _reserved_check(texts),
        *_time_checks(grouped=grouped, now_ms=now_ms),
        Check("no readable time", "updated_ts", _updated_reason().is_not_null(), _updated_reason()),
        Check("time ahead of now", "updated_ts", _struct("updated", "ms") > now_ms + AHEAD_MS_MAX),
        *_optional_id_checks("session_id", "product_id"),
        *_bounds(ORDER_BYTES_MAX, texts),
        *rate_checks(mapping, pl.col("currency").is_not_null() if grouped else pl.lit(True), by_line=by_line),
        *fraction_checks(mapping, _amount("total")),
        Check("unknown status", "status", pl.col("v_status").is_not_null() & ~pl.col("v_status").is_in(STATUSES)),
        *_amount_checks("total", needed=not sums and not grouped, net=net),
        *_amount_checks("unit_price", needed=False, net=net),
        *_quantity_checks(net=net, rows=has_line),
        *([
            Check("no readable unit_price", "unit_price", has_line & pl.col("unit_price").is_null()),
            Check("no readable quantity", "quantity", has_line & pl.col("quantity").is_null()),
            Check(
                BOTH_BELOW_0, "quantity", has_line & (_number("quantity") < 0) & (_number("unit_price") < 0),
                pl.format("unit_price is {}", pl.col("unit_price")),
            ),
        ] if sums else []),
        *([] if grouped else [_change_check()]),
        *([Check(reason, "order_id", fails) for reason, fails in _without_rows(order)] if sums else []),
        *_unread_checks(columns),
    ]  # fmt: skip
    return Plan(
        texts, _labels(sources, mapping, order) | _unread_labels(columns), values, rules,
        _uncounted("status", order.statuses), checks,
        [*_drops(mapping, columns),
         *([] if sums else (Drop(reason, None, lost) for reason, lost in _without_rows(order)))],
        _order_output(order, has_line, number), columns.moments,
    )  # fmt: skip


def _order_output(order: OrderColumns, has_line: pl.Expr, number: int) -> dict[str, pl.Expr]:
    return {
        "_line": pl.col(LINE).cast(pl.Int64),
        "_bad": pl.col("\0check").is_not_null(),
        "_grouped": pl.lit(order.grouped),
        "_held": pl.col("\0held"),
        "_absent": pl.col("\0absent"),
        "_copies": pl.col("\0copies"),
        "_copies_reason": pl.lit(order.copies.reason if order.copies else None, pl.String),
        "_in_record": pl.lit(order.lines is not None),
        "_net_amounts": pl.lit(order.negative == "net"),
        "_net_status": pl.lit(order.mixed_status == "net"),
        "_own_id": pl.lit(order.id is None),
        "_sums": pl.lit(order.total is None),
        "_has_line": has_line,
        "_is_date": _struct("ts", "is_date"),
        "_rate": pl.col("\0rate"),
        "_currency": pl.col("currency"),
        "_conversion": pl.lit(number, pl.Int32),
        "_total": _amount("total"),
        "_quantity": pl.when(has_line).then(_amount("quantity")),
        "_unit_price": pl.when(has_line).then(_amount("unit_price")),
        "order_id": _value("order_id"),
        "customer_id": _value("customer_id"),
        "ts": _struct("ts", "ms"),
        "updated_ts": _struct("updated", "ms"),
        "status": pl.col("v_status"),
        "session_id": _value("session_id"),
        "product_id": pl.when(has_line).then(_value("product_id")),
        "category": pl.when(has_line).then(pl.col("category")),
        "quantity": pl.when(has_line & ~_is_fraction()).then(_number("quantity").cast(pl.Int64, strict=False)),
        "channel": pl.col("channel"),
        "country": pl.col("v_country"),
        "payment_method": pl.col("payment_method"),
    }


def _has_line(sources: Mapping[str, Source | None]) -> pl.Expr:
    """Return whether a row has a line: a value that is in the file, not a constant of the mapping."""
    names = [name for name in ("product_id", "category", "quantity", "unit_price") if label(sources[name])]
    return pl.any_horizontal(pl.col(name).is_not_null() for name in names) if names else pl.lit(False)


def _whole_order_rules(order: OrderColumns, columns: Columns) -> dict[str, pl.Expr]:
    """Return the rules for whole orders that hold in a row, and how often the file has its like.

    A rule is its number and its reason. `held` holds for an order if it does in one row, `absent` if it does in all.
    """
    numbered = [(f"{number:0{RULE_DIGITS}d}{rule.reason}", rule) for number, rule in enumerate(order.left_out)]

    def rules_that_hold(*, in_every_row: bool) -> pl.Expr:
        texts = [
            pl.when(_rule_holds(rule, columns)).then(pl.lit(text))
            for text, rule in numbered
            if (rule.missing is True) is in_every_row
        ]
        if not numbered:
            return pl.lit(None, pl.List(pl.String))
        return pl.concat_list(texts).list.drop_nulls() if texts else pl.lit([], pl.List(pl.String))

    copies = pl.lit(1, pl.Int32)
    if order.copies is not None:
        copies = (
            pl.when(_rule_holds(order.copies, columns)).then(pl.lit(order.copies.times, pl.Int32)).otherwise(copies)
        )
    return {
        "\0held": rules_that_hold(in_every_row=False),
        "\0absent": rules_that_hold(in_every_row=True),
        "\0copies": copies,
    }


def _rule_holds(rule: LeftOut, columns: Columns) -> pl.Expr:
    columns.require(rule.path)
    return columns.holds(rule) & columns.holds(rule.when)


# --- clicks -----------------------------------------------------------------------------------------------------------
def click_plan(mapping: ClickMapping, columns: Columns, now_ms: int) -> Plan:
    """Build the plan of a click log.

    Raises:
        UsageError: the file lacks a column that events need.
    """
    click = mapping.click
    ts_text, ts = columns.time(mapping.time, required=True)
    rate_text, rate = row_rate(mapping, columns, ts)
    sources: dict[str, Source | None] = {
        "event_id": click.id, "event_type": click.type,
        "customer_id": click.customer if mapping.identity is None else mapping.identity.user,
        "session_id": click.session,
        "device": click.device, "product_id": click.product, "category": click.category, "price": click.price,
        "quantity": click.quantity, "channel": click.channel, "country": click.country,
    }  # fmt: skip
    texts = {
        name: columns.text(source, required=name in ("event_type", "customer_id"), number=name in _NUMBERS, name=name)
        for name, source in sources.items()
    }
    texts |= {"ts": ts_text, "currency": rate_text, "\0ts": ts, "\0rate": rate}
    texts |= _own_customer(columns, sources["customer_id"])
    if mapping.identity is not None:
        texts["\0visitor"] = columns.text(mapping.identity.visitor)
    line_rules = [] if click.lines is None else [_add_lines(mapping, columns, texts)]
    rules = _rules(mapping, columns)
    texts |= _unread_columns(columns) | columns.missed_texts()
    values = {
        **_ids(mapping, "event_id", "session_id", "product_id"),
        **_decimals(columns, "price", "quantity"),
        **_visitor(mapping),
        "v_event_type": _words(click.types, "event_type", None),
        "v_device": _words(click.devices, "device", click.device_default),
        "v_country": _country(pl.col("country"), mapping.countries),
    }  # fmt: skip
    checks = [
        Check("no event id", "event_id", _unreadable_id("event_id"), _id_reason("event_id")),
        Check(
            "no customer" if mapping.identity is None else "no user and no visitor", "customer_id",
            _bad_id("customer_id"), _id_reason("customer_id"),
        ),
        _reserved_check(texts),
        *_time_checks(grouped=False, now_ms=now_ms),
        *_optional_id_checks("session_id", "product_id"),
        *_bounds(EVENT_BYTES_MAX, texts),
        *rate_checks(mapping, pl.col("price").is_not_null(), by_line=False),
        Check(
            "unknown event type", "event_type",
            pl.col("v_event_type").is_null() | ~pl.col("v_event_type").is_in(EVENT_TYPES),
        ),
        Check("unknown device", "device", ~pl.col("v_device").is_in(DEVICES)),
        *_amount_checks("price", needed=False, net=False),
        *_quantity_checks(net=False, rows=pl.lit(True)),
        *_unread_checks(columns),
    ]  # fmt: skip
    output = {
        "_line": pl.col(LINE).cast(pl.Int64), "_bad": pl.col("\0check").is_not_null(),
        "_first_counts": pl.lit(False) if click.lines is None else pl.col("\0first_counts"),
        "_is_date": _struct("ts", "is_date"), "_rate": pl.col("\0rate"), "_currency": pl.col("currency"),
        "_price": _amount("price"),
        "event_id": _value("event_id"), "event_type": pl.col("v_event_type"), "customer_id": _value("customer_id"),
        "session_id": _value("session_id"), "ts": _struct("ts", "ms"), "device": pl.col("v_device"),
        "product_id": _value("product_id"), "category": pl.col("category"),
        "quantity": pl.when(~_is_fraction()).then(_number("quantity").cast(pl.Int64, strict=False)),
        "channel": pl.col("channel"), "country": pl.col("v_country"),
    }  # fmt: skip
    return Plan(
        texts, _labels(_with_lines(sources, mapping), mapping, None) | _unread_labels(columns), values,
        [*rules, *line_rules],
        [*_uncounted("event_type", click.types), *_without_user(mapping)], checks,
        _drops(mapping, columns), output, columns.moments,
    )  # fmt: skip


def _with_lines(sources: Mapping[str, Source | None], mapping: ClickMapping) -> dict[str, Source | None]:
    """Return the sources of fields with those of a line's fields, whose paths a refusal names, too."""
    lines = mapping.click.lines
    own = {} if lines is None else {
        "product_id": lines.product, "category": lines.category, "price": lines.price, "quantity": lines.quantity,
    }  # fmt: skip
    every = {name: [*_alternatives(source), *_alternatives(own.get(name))] for name, source in sources.items()}
    return {name: tuple(both) or None for name, both in every.items()}


def _alternatives(source: Source | None) -> tuple[str | Value | Selection, ...]:
    return () if source is None else alternatives(source)


def _add_lines(mapping: ClickMapping, columns: Columns, texts: dict[str, pl.Expr]) -> tuple[str, pl.Expr]:
    """Replace the fields of records with lines by those of the line. Return the rule for lines that are no event."""
    lines = mapping.click.lines
    assert lines is not None
    has_lines = pl.col(POSITION).is_not_null()
    if lines.types:
        has_lines &= _replaced(texts["event_type"], mapping.click.types).is_in(lines.types).fill_null(False)
    own_id = texts["event_id"]
    own = {"product_id": lines.product, "category": lines.category, "price": lines.price, "quantity": lines.quantity}
    for name, source in own.items():
        if source is not None:
            text = _not_in(columns.text(source, number=name in _NUMBERS, name=name), lines.never)
            texts[name] = pl.when(has_lines).then(text).otherwise(texts[name])
    many = (pl.len().over(LINE) > 1) | (_replaced(texts["event_type"], mapping.click.types) == STAGE_EVENT["purchase"])
    ids = [_line_id(one, columns, own_id, lines.never, many) for one in lines.id]
    texts["event_id"] = pl.when(has_lines).then(pl.coalesce(*ids)).otherwise(own_id)
    texts["\0first_counts"] = has_lines & pl.lit(lines.repeats == "first")
    return "further line of a record that is one event", ~has_lines & (pl.col(POSITION).fill_null(0) > 0)


def _line_id(one: str | LineId, columns: Columns, own_id: pl.Expr, never: Sequence[str], many: pl.Expr) -> pl.Expr:
    own = {name: _not_in(columns.column(name), never) for name in names_in(join_of(one)) if name not in ("id", ELEMENT)}
    text = columns.joined(join_of(one), {**own, "id": own_id})
    return text if isinstance(one, str) else pl.when(many).then(text)


def _not_in(text: pl.Expr, never: Sequence[str]) -> pl.Expr:
    return pl.when(~text.is_in(never)).then(text) if never else text


# --- values -----------------------------------------------------------------------------------------------------------
def _value(name: str) -> pl.Expr:
    return pl.col(f"v_{name}").struct.field("value")


def _amount(name: str) -> pl.Expr:
    """Return a plain decimal without zeros at the end: 5.0 and 5.00 are one amount."""
    text = _value(name)
    short = text.str.strip_chars_end("0").str.strip_chars_end(".")
    return pl.when(text.str.contains(".", literal=True)).then(short).otherwise(text)


def _number(name: str) -> pl.Expr:
    return _value(name).cast(pl.Float64, strict=False)


def _struct(name: str, part: str) -> pl.Expr:
    return pl.col(f"\0{name}").struct.field(part)


def _updated_reason() -> pl.Expr:
    return _struct("updated", "reason")


def _ids(mapping: OrderMapping | ClickMapping, *names: str) -> dict[str, pl.Expr]:
    # 0 is a guest as a customer, but the first number of many tables as an order, an event or a product
    customer = read_ids(pl.col("customer_id"), mapping.ids.never, mapping.ids.allow)
    others = {f"v_{name}": read_ids(pl.col(name), (), (*mapping.ids.allow, "0")) for name in names}
    return {**others, "v_customer_id": customer}


def _visitor(mapping: ClickMapping) -> dict[str, pl.Expr]:
    if mapping.identity is None:
        return {}
    return {"v_visitor": read_ids(pl.col("\0visitor"), mapping.ids.never, mapping.ids.allow)}


def _without_user(mapping: ClickMapping) -> list[tuple[str, pl.Expr]]:
    """Return the rule for clicks of a visitor without a user."""
    return [] if mapping.identity is None else [(NO_USER, _bad_id("customer_id") & ~_bad_id("visitor"))]


def _decimals(columns: Columns, *names: str) -> dict[str, pl.Expr]:
    return {f"v_{name}": read_decimals(pl.col(name), columns.decimal, columns.thousands) for name in names}


def _replaced(text: pl.Expr, words: Mapping[str, str | None]) -> pl.Expr:
    """Return the words of the contract for those of the file. A text without an entry stays."""
    named = {word: value for word, value in words.items() if word != ANY_WORD}
    return replaced(text, named, words.get(ANY_WORD) if ANY_WORD in words else text)


def _words(words: Mapping[str, str | None], name: str, default: str | None) -> pl.Expr:
    text = _replaced(pl.col(name), words)
    return text if default is None else pl.when(pl.col(name).is_null()).then(pl.lit(default)).otherwise(text)


def _uncounted(name: str, words: Mapping[str, str | None]) -> list[tuple[str, pl.Expr]]:
    """Return the rule for rows whose word the mapping sets to null."""
    if None not in words.values():
        return []
    return [(f"{name} not counted", pl.col(name).is_not_null() & _replaced(pl.col(name), words).is_null())]


def _country(text: pl.Expr, countries: Mapping[str, str | None]) -> pl.Expr:
    named = replaced(text, countries, text)
    return pl.when(named.is_in(sorted(country_codes()))).then(named)


def _rules(mapping: OrderMapping | ClickMapping, columns: Columns) -> list[tuple[str, pl.Expr]]:
    return [(rule.reason, _rule_holds(rule, columns)) for rule in mapping.left_out]


def _unread_columns(columns: Columns) -> dict[str, pl.Expr]:
    texts = {f"\0unread{number}": one.fails for number, one in enumerate(columns.unread)}
    return texts | {_UNREAD.format(number): one.text for number, one in enumerate(columns.unread)}


def _unread_labels(columns: Columns) -> dict[str, str]:
    return {_UNREAD.format(number): one.names for number, one in enumerate(columns.unread)}


def _without_rows(order: OrderColumns) -> list[tuple[str, pl.Expr]]:
    """Return the reason of an order that has no row in the table of the lines, and its condition."""
    table = None if order.lines is None else order.lines.table
    return [] if table is None else [(f"order without a row in tables.{table}", pl.col(TABLE_POSITION).is_null())]


def _labels(
    sources: Mapping[str, Source | None], mapping: OrderMapping | ClickMapping, order: OrderColumns | None
) -> dict[str, str]:
    labels = {name: ", ".join(label(source)) for name, source in sources.items() if label(source)}
    labels["ts"] = ", ".join(dict.fromkeys(path for time in mapping.time for path in time.path))
    if order is not None and order.updated:
        labels["updated_ts"] = ", ".join(dict.fromkeys(path for time in order.updated for path in time.path))
    return labels | ({"currency": mapping.currency.path} if mapping.currency.path else {})


# --- checks -----------------------------------------------------------------------------------------------------------
def _id_reason(name: str) -> pl.Expr:
    return pl.col(f"v_{name}").struct.field("reason")


def _unreadable_id(name: str) -> pl.Expr:
    return _id_reason(name).is_not_null()


def _bad_id(name: str) -> pl.Expr:
    return _value(name).is_null()


def _is_placeholder(name: str) -> pl.Expr:
    return _id_reason(name).str.starts_with("placeholder").fill_null(False)


def _own_customer(columns: Columns, customer: Source | None) -> dict[str, pl.Expr]:
    """Return the customer's text without ids of guests; nothing if the mapping makes none."""
    if customer is None or not makes_guests(customer):
        return {}
    return {_OWN_CUSTOMER: plain_ids(columns.text(without_guests(customer)))}


def _reserved_check(texts: Mapping[str, pl.Expr]) -> Check:
    own = pl.col(_OWN_CUSTOMER) if _OWN_CUSTOMER in texts else _value("customer_id")
    return Check("customer id that begins with ~", "customer_id", own.str.starts_with(RESERVED))


def _optional_id_checks(*names: str) -> list[Check]:
    return [
        Check(f"no readable {name}", name, _unreadable_id(name) & ~_is_placeholder(name), _id_reason(name))
        for name in names
    ]


def _drops(mapping: OrderMapping | ClickMapping, columns: Columns) -> list[Drop]:
    """Return what records of both kinds cannot hold."""
    no_codes = [name for name, code in mapping.countries.items() if code is None]
    no_country = pl.col("country").is_not_null() & pl.col("v_country").is_null() & ~pl.col("country").is_in(no_codes)
    return [
        Drop(_FRACTION, "quantity", _is_fraction()),
        *(
            Drop(f"{name} is a placeholder: the record has none", name, _is_placeholder(name))
            for name in ("session_id", "product_id")
        ),
        Drop("country without a code: the record has none", "country", no_country),
        *(Drop(reason, name, lost) for name, (reason, lost) in columns.missed_drops().items()),
    ]


def _time_checks(*, grouped: bool, now_ms: int) -> list[Check]:
    ms, reason = _struct("ts", "ms"), _struct("ts", "reason")
    unreadable = reason.is_not_null() if grouped else ms.is_null()
    return [
        Check("time before 1970 or after 9999", "ts", reason.str.starts_with("time before 19"), reason),
        Check("no readable time", "ts", unreadable, reason),
        Check("time before 1970 or after 9999", "ts", ~ms.is_between(1, TS_MAX)),
        Check("time ahead of now", "ts", ms > now_ms + AHEAD_MS_MAX),
    ]


def _change_check() -> Check:
    ahead_ms = _struct("updated", "ms") - _struct("ts", "ms")
    return Check(CHANGED, "updated_ts", (ahead_ms < 0) | (ahead_ms > ORDER_CHANGE_MS_MAX))


BOTH_BELOW_0: Final = "quantity and unit_price are both below 0"
"""Reason of a line whose product is a sale, although sources that write both below 0 mean a return."""
CHANGED: Final = "changed before it was placed, or more than 400 days after"


def _bounds(bytes_max: Mapping[str, int], names: Iterable[str]) -> list[Check]:
    return [
        Check(f"{name} longer than {bytes_max[name]} bytes", name, pl.col(name).str.len_bytes() > bytes_max[name])
        for name in names
        if name in bytes_max
    ]


def _unread_checks(columns: Columns) -> list[Check]:
    """Return the checks for texts without an entry in `words`, and for conditions whose number cannot be read."""
    return [
        Check(one.reason, _UNREAD.format(number), pl.col(f"\0unread{number}"))
        for number, one in enumerate(columns.unread)
    ]


def _amount_checks(name: str, *, needed: bool, net: bool) -> list[Check]:
    number, reason = _number(name), _id_reason(name)
    missing = pl.col(name).is_null() if needed else pl.lit(False)
    low = number < (-AMOUNT_MAX if net else 0)
    return [
        Check(f"no readable {name}", name, missing | reason.is_not_null(), reason),
        Check("amount below 0 or above 1e12", name, low | (number > AMOUNT_MAX)),
    ]


def _quantity_checks(*, net: bool, rows: pl.Expr) -> list[Check]:
    number, reason = _number("quantity"), _id_reason("quantity")
    low = number == 0 if net else number <= 0
    return [
        Check("no readable quantity", "quantity", rows & reason.is_not_null(), reason),
        Check("quantity not above 0", "quantity", rows & (low | (number.abs() >= _QUANTITY_MAX))),
    ]


def _is_fraction() -> pl.Expr:
    return _value("quantity").str.contains(r"\.[0-9]*[1-9]").fill_null(False)
