"""Defines what readers of the live page write: states of customers on the work list, notes and saved views.

A run has an index for each of the three. Ids are made of the content, so that a repeated request changes nothing.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from features.schema import DAY_MS, Field, record_fields

ContactState = Literal["done", "snoozed"]
SnoozeDays = Literal[1, 7, 30]
SNOOZE_DAYS: Final[tuple[SnoozeDays, ...]] = (1, 7, 30)
"""Days for which a customer can be hidden from the work list."""
DONE_MS: Final = 30 * DAY_MS
"""Time until a contacted customer returns to the work list, if no newer alert is raised before."""
INACTIVE_AFTER_DAYS: Final = 60
"""Days without a visit after which a customer counts as already inactive, no longer as at risk."""

NOTE_CHARS_MAX: Final = 200
NOTES_MAX: Final = 1_000
"""Most notes of a run; one search reads them all."""
VIEW_NAME_CHARS_MAX: Final = 100
VIEW_ADDRESS_CHARS_MAX: Final = 4_000
VIEWS_MAX: Final = 100
"""Most saved views of a run; one search reads them all."""


class Contact(msgspec.Struct, frozen=True):
    """State of a customer on the work list, or a contact of the log.

    A customer has one document of the present state, whose id is that of the customer. Earlier contacts have a document
    each; there `until_ts` is 0, so that they hide nobody.

    Attributes:
        customer_id: id of the customer.
        state: `done`: the customer was contacted; `snoozed`: hidden for some days.
        at_ts: wall-clock time of the change, epoch ms.
        until_ts: wall-clock time at which the customer returns, epoch ms.
        as_of_ts: time of the customer's row at the change, epoch ms. Alerts after it are newer than the change.
    """

    customer_id: str
    state: ContactState
    at_ts: int
    until_ts: int
    as_of_ts: int


class Note(msgspec.Struct, frozen=True):
    """An event of the shop that charts show on their time axis.

    Attributes:
        ts: first instant of the day, epoch ms.
        day: local day, as `2026-11-27`.
        text: one line of text.
        at_ts: wall-clock time at which the note was written, epoch ms.
    """

    ts: int
    day: str
    text: str
    at_ts: int


class SavedView(msgspec.Struct, frozen=True):
    """A named address of the page.

    Attributes:
        title: unique name.
        address: query of the page's address, from the question mark on.
        at_ts: wall-clock time at which the view was saved, epoch ms.
    """

    title: str
    address: str
    at_ts: int


CONTACTS: Final = "contacts"
NOTES: Final = "notes"
VIEWS: Final = "views"
WORKSPACE_FIELDS: Final[dict[str, tuple[Field, ...]]] = {
    CONTACTS: record_fields(Contact),
    NOTES: record_fields(Note),
    VIEWS: record_fields(SavedView),
}
"""Index without the run -> fields of its documents."""
