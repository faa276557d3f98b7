"""Builds Kibana's formats: of figures in Lens panels, and of fields in data views."""

from __future__ import annotations

import functools
from typing import Any, Final

from connectors.formats.money_format import MoneyFormat
from connectors.formats.rules_file import builtin_rules, load_rules
from dashboards.panels import OTHER, Unit
from features.labels import FEATURE_LABELS, labels_of_values, sentence_case, value_label

Json = dict[str, Any]

ACTION_FIELD: Final = "recommended_action"
"""Field whose words come from the segment rules."""


def value_format(unit: Unit, money: MoneyFormat) -> Json | None:
    """Return the Lens number format of a unit; None for times, which use Kibana's settings.

    Args:
        unit: unit of a figure.
        money: format of amounts: decimals, and the currency, which follows each number. The language of the numbers is
            a setting of Kibana.
    """
    numbers: dict[Unit, tuple[int, str]] = {
        "count": (0, ""),
        "whole": (0, ""),
        "number": (2, ""),
        "money": (money.decimals, f" {money.currency}" if money.currency else ""),
        "seconds": (0, " s"),
        "milliseconds": (0, " ms"),
        "days": (1, " d"),
        "per_second": (1, " /s"),
    }
    if unit == "time":
        return None
    if unit in ("percent", "bytes"):
        return {"id": unit, "params": {"decimals": 1}}
    decimals, suffix = numbers[unit]
    return {"id": "number", "params": {"decimals": decimals} | ({"suffix": suffix} if suffix else {})}


def field_format(unit: Unit, money: MoneyFormat) -> Json | None:
    """Return the data view's format of a field with a unit; None for units that need none.

    Formats of data views read a pattern and no decimals. A pattern cannot contain the text of a currency, so the label
    of the field names it.
    """
    if unit == "money":
        return {"id": "number", "params": {"pattern": f"0,0.{'0' * money.decimals}" if money.decimals else "0,0"}}
    patterns: dict[Unit, str] = {"percent": "0,0.0%", "bytes": "0,0.0b"}
    return {"id": unit, "params": {"pattern": patterns[unit]}} if unit in patterns else None


def lookup_format(field: str, *, everywhere: bool) -> Json | None:
    """Return the format that shows the words of a field's values; None without any. Other values are unchanged.

    Args:
        field: name of the field.
        everywhere: whether its values may be those of every field, such as that of unknown values.
    """
    labels = labels_of_values()
    words = dict(labels[""]) if everywhere else {}
    words |= labels.get(field, {})
    if field == ACTION_FIELD:
        words |= {action: value_label(field, action) for action in _actions()}
    entries = [{"key": key, "value": text} for key, text in sorted(words.items()) if key != OTHER]
    return {"id": "static_lookup", "params": {"lookupEntries": entries}} if entries else None


@functools.cache
def _actions() -> frozenset[str]:
    """Return the actions of the built-in segment rules."""
    return frozenset(action for name in builtin_rules() for action in load_rules(name).document.actions)


def field_label(field: str, currency: str = "") -> str:
    """Return the words for a field: `Revenue, last 12 months (EUR)`.

    Args:
        field: name of the field.
        currency: currency of its amounts; empty if it holds none.
    """
    words = FEATURE_LABELS.get(field) or sentence_case(field)
    return f"{words} ({currency})" if currency else words


def customer_format(page: str) -> Json:
    """Return the format that links the id of a customer to the customer's page.

    A drill-down to a URL would need a gold licence of Elastic.

    Args:
        page: address of the live page: `http://localhost:8050/`.
    """
    address = f"{page.rstrip('/')}/?view=customer&id={{{{value}}}}"
    return {"id": "url", "params": {"type": "a", "urlTemplate": address, "labelTemplate": "{{rawValue}}"}}
