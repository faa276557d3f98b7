"""Describes a notification without regard to its receiver, and makes one of an alert. Pure."""

from __future__ import annotations

import hashlib
import urllib.parse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from connectors.clock import iso
from connectors.formats.money_format import PLAIN_MONEY, MoneyFormat
from features.hold_out import NOBODY, HoldOut
from features.labels import value_label
from features.scores.alerts import Alert
from features.scores.horizon import churn_label, horizon_words

ALERT_TYPE: Final = "churn.risk_rose"
HELD_OUT: Final = "None: the customer is in the hold-out group. Do not contact."
TEXT_CHARS_MAX: Final = 200
"""Longest id in a text; an id may have 512 bytes."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A part of a notification with a title of its own, such as a customer of a digest.

    Attributes:
        title: title of the part.
        lines: sentences about it.
        url: link of the title; empty without one.
    """

    title: str
    lines: tuple[str, ...]
    url: str = ""


@dataclass(frozen=True, slots=True)
class Notification:
    """What somebody is notified of.

    Attributes:
        key: parts that identify it, for all targets alike.
        type: kind of the notification: `churn.risk_rose`.
        time: time that it is about, ISO 8601.
        title: title, one line.
        facts: labels and values.
        entries: further parts.
        heading: heading of the entries; empty without entries.
        url: link to the page; empty without one.
        url_text: words of the link.
        data: fields with their identifiers, for programs.
    """

    key: tuple[str, ...]
    type: str
    time: str
    title: str
    facts: tuple[tuple[str, str], ...]
    data: Mapping[str, Any]
    entries: tuple[Entry, ...] = ()
    heading: str = ""
    url: str = ""
    url_text: str = ""


def message_id(notification: Notification, target: str) -> str:
    """Return the id of a notification for a target: the same after a restart, different for each target."""
    parts = msgspec.json.encode([*notification.key, target])
    return f"msg_{hashlib.sha256(parts).hexdigest()[:32]}"


def one_line(text: str) -> str:
    """Return a text as one line of printable characters, shortened if it is very long."""
    line = " ".join("".join(one if one.isprintable() else " " for one in text).split())
    return line if len(line) <= TEXT_CHARS_MAX else f"{line[: TEXT_CHARS_MAX - 1]}…"


def customer_url(page_url: str, customer_id: str) -> str:
    """Return the address of a customer's story on the live page; empty without a page."""
    return page_url and f"{page_url.rstrip('/')}/?{urllib.parse.urlencode({'view': 'customer', 'id': customer_id})}"


def alert_notification(
    alert: Alert,
    run: str,
    actions: Mapping[str, str],
    money: MoneyFormat = PLAIN_MONEY,
    page_url: str = "",
    hold_out: HoldOut = NOBODY,
) -> Notification:
    """Return the notification of an alert. It recommends nothing for a customer of the hold-out group.

    Args:
        alert: alert of the topic.
        run: name of the run.
        actions: action -> its text.
        money: format of amounts.
        page_url: address of the live page; empty: no links.
        hold_out: customers whom nobody contacts.
    """
    held_out = hold_out.contains(alert.customer_id)
    action = value_label("recommended_action", alert.recommended_action)
    text = actions.get(alert.recommended_action, "")
    reasons = _words("churn_reasons", alert.churn_reasons or ())
    before = value_label("churn_risk", alert.churn_risk_before)
    after = value_label("churn_risk", alert.churn_risk)
    facts = {
        "Churn risk": f"{after} (before: {before})",
        churn_label(horizon_words([alert.bundle])): f"{alert.churn_probability:.0%}",
        "Why": "; ".join(reasons),
        "Recommended action": HELD_OUT if held_out else f"{action}: {text}" if text else action,
        "Segment": one_line(alert.segment),
        "Revenue, last 12 months": money.text(alert.revenue_365d),
        "Day (UTC)": one_line(alert.day),
    }
    return Notification(
        (run, alert.customer_id, alert.churn_risk, alert.day),
        ALERT_TYPE,
        iso(alert.ts),
        f"Churn risk of customer {one_line(alert.customer_id)} rose to {after.lower()}",
        tuple((label, value) for label, value in facts.items() if value),
        {
            "run": run, **msgspec.to_builtins(alert), "churn_reasons_text": reasons,
            "recommended_action_text": HELD_OUT if held_out else text,
            **({"recommended_action": "none", "hold_out": True} if held_out else {}),
        },
        url=customer_url(page_url, alert.customer_id),
        url_text="The customer's story",
    )  # fmt: skip


def _words(field: str, values: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(one_line(value_label(field, value)) for value in values))
