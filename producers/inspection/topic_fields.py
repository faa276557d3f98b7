"""Recognises what messages of a topic have and files do not: base64 totals, ids of browsers, addresses as keys."""

from __future__ import annotations

import re
from typing import Final

from producers.inspection.column_profile import ColumnProfile
from producers.inspection.draft_lines import scalar
from producers.inspection.field_names import TOTAL, name_rank
from producers.inspection.inspection import Group
from producers.inspection.recognition import Recognition

_ENCODED: Final = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{4})")
UNKNOWN_SCALE: Final = "its name: its values are decimals in base64. base64_scale is the column's scale"
"""What a total is recognised by whose scale is in no message."""
_ADDRESS: Final = r"^([^@ ]+@[^@ ]+)$"
"""Expression of the e-mail addresses among other texts, as a mapping has it."""
_VISITOR: Final = (
    "anonymous_id", "anonymousid", "visitor_id", "visitorid", "visitor", "device_id", "deviceid", "client_id",
    "user_pseudo_id", "domain_userid", "cookie_id", "browser_id", "anon_id",
)  # fmt: skip
"""Names of the id of a browser or device."""


def encoded_total(group: Group, recognition: Recognition) -> str | None:
    """Return the column that is the total by its name, and whose values are decimals in base64 as Debezium has them."""
    if recognition.kind != "orders" or "total" in recognition.columns:
        return None
    used = set(recognition.columns.values())
    ranked = sorted(
        (rank, column.name)
        for column in group.columns
        if column.name not in used
        and (rank := name_rank(column.name, TOTAL)) is not None
        and _is_encoded(group, column)
    )
    if not ranked:
        return None
    recognition.missing.pop("total", None)
    return ranked[0][1]


def replace_address(group: Group, recognition: Recognition, matches: dict[str, str]) -> None:
    """Replace an e-mail address as the customer by another id, or by a keyed hash: it would be in every record."""
    chosen = group.column(recognition.columns.get("customer", ""))
    if chosen is None or not chosen.addresses:
        return
    others = recognition.others.get("customer", [])
    ids = [name for name in others if (one := group.column(name)) is not None and not one.addresses]
    users = [name for name in ids if name_rank(name, _VISITOR) is None]
    if users or ids:
        recognition.columns["customer"] = [*users, *ids][0]
        recognition.others["customer"] = [name for name in [chosen.name, *others] if name != [*users, *ids][0]]
    else:
        # words that are no address, such as "no mail", would join strangers in one customer
        only = "" if chosen.addresses == chosen.values else f', match: "{_ADDRESS}"'
        matches[chosen.name] = f"{{path: {scalar(chosen.name)}{only}, guest: true}}"


def _is_encoded(group: Group, column: ColumnProfile) -> bool:
    values = group.sample[column.name].drop_nulls().to_list() if column.name in group.sample.columns else []
    return bool(values) and all(_ENCODED.fullmatch(str(value)) for value in values)


def visitor_path(group: Group, recognition: Recognition) -> str | None:
    """Return the path of a browser's or device's id in addition to that of the user."""
    user = recognition.columns.get("customer")
    if recognition.kind != "clicks" or user is None or name_rank(user, _VISITOR) is not None:
        return None
    ranked = sorted(
        (rank, one.name) for one in group.columns if one.values and (rank := name_rank(one.name, _VISITOR)) is not None
    )
    return ranked[0][1] if ranked else None
