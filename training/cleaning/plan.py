"""What a cleaning is asked to do: a YAML file, checked with the line of every mistake.

The rule of this file: every choice that a cleaning makes beyond the contract of a valid record stands here, with its
default, and goes into the report.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from connectors.formats.strict_yaml import read_text, read_yaml
from connectors.formats.timestamps import zone_name
from features.errors import UsageError
from features.schema import FUTURE_MS_MAX, RECORD_TYPES, Customer, Event, Order, record_fields

Vocabulary = Literal["event_type", "device", "status", "category", "channel", "country", "payment_method", "gender"]
"""Words that several columns may share: `category` is that of events and of the lines of orders."""


class _Part(BaseModel):
    """A part of a plan: immutable, and a key it does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Constant(_Part):
    """One value for every missing one."""

    constant: str | float | bool


Fill = Literal["leave", "drop", "most_common", "median", "by_product", "by_customer"] | Constant
"""What is done about a missing value: left, the row dropped, the column's most common value, the median of a number,
the only category of the product, the value of the customer's profile, or a constant."""


class Outliers(_Part):
    """What is flagged, never dropped."""

    fence: Annotated[float, Field(gt=0, strict=False)] = 3.0
    """Amounts so many interquartile ranges beyond the quartiles of their logarithm (prices: within a category)."""
    events_a_day: Annotated[int, Field(ge=1)] = 1_000
    """Customers with more events on one UTC day: seldom people."""


class CleaningPlan(_Part):
    """What a cleaning does. The defaults suit an archive that `generate` or `import` wrote."""

    zone: Annotated[str, AfterValidator(zone_name)] = "UTC"
    """Of times that say none. A local time that comes twice is the earlier one."""
    earliest: date = date(1990, 1, 1)
    """Nothing happened before this UTC day."""
    future_ms: Annotated[int, Field(ge=0)] = FUTURE_MS_MAX
    """How far a time may lie ahead of what is taken as now."""
    seconds: bool = True
    """Times before `earliest` that are plausible as epoch seconds are taken as such."""
    spellings: dict[Vocabulary, dict[str, str]] = {}
    """Vocabulary -> other spelling -> the one that is kept."""
    one_spelling: tuple[Vocabulary, ...] = Field(
        default=("category", "channel", "country", "payment_method", "gender"), strict=False
    )
    """Vocabularies in which spellings that differ by case, blanks, `-` and `_` become the most common one."""
    fill: dict[Literal["events", "orders", "customers"], dict[str, Fill]] = {"events": {"category": "by_product"}}
    """Topic -> column -> what is done where the value is missing; columns that are not named are left."""
    identity: tuple[Literal["email", "name"], ...] = Field(default=("email",), strict=False)
    """A profile's columns that tell people apart, the first that has a value."""
    ids: Literal["keep", "shared", "all"] = "shared"
    """Customer ids to make anew, in order of first purchase: none, those that several people share, all."""
    outliers: Outliers = Outliers()
    examples_max: Annotated[int, Field(ge=0, le=100)] = 3
    """Examples of each rule in the report."""

    @model_validator(mode="after")
    def _once(self) -> CleaningPlan:
        for vocabulary, words in self.spellings.items():
            if twice := sorted(set(words) & set(words.values())):
                raise ValueError(f"spellings.{vocabulary}: {twice[0]!r} is replaced and is a replacement")
        return self

    @model_validator(mode="after")
    def _columns(self) -> CleaningPlan:
        for topic, columns in self.fill.items():
            known = {field.name: field.kind for field in FIELDS[topic]}
            for name, how in columns.items():
                if name not in known:
                    raise ValueError(f"fill.{topic}: there is no column {name}; there are {', '.join(known)}")
                if known[name] in {"time", "items"} or name in KEYS[topic]:
                    raise ValueError(f"fill.{topic}.{name}: times, lines and keys are never filled")
                if how == "median" and known[name] not in {"int", "float"}:
                    raise ValueError(f"fill.{topic}.{name}: only a number has a median")
                if how == "by_product" and (topic, name) != ("events", "category"):
                    raise ValueError(f"fill.{topic}.{name}: only the category of an event follows from its product")
                if how == "by_customer" and (topic == "customers" or name not in PROFILE_COLUMN):
                    raise ValueError(f"fill.{topic}.{name}: a profile tells {', '.join(PROFILE_COLUMN)} only")
                if isinstance(how, Constant) and not isinstance(how.constant, _CONSTANTS[known[name]]):
                    raise ValueError(f"fill.{topic}.{name}: {how.constant!r} is not of the column's type")  # noqa: TRY004 - pydantic takes no other
        return self

    @property
    def earliest_ms(self) -> int:
        """Epoch ms of the first moment of `earliest`."""
        first = datetime(self.earliest.year, self.earliest.month, self.earliest.day, tzinfo=UTC)
        return round(first.timestamp() * 1_000)


FIELDS: Final = {topic: record_fields(record) for topic, record in RECORD_TYPES.items()}
"""Topic -> the fields of its record."""
KEYS: Final = {
    "events": ("event_id", "customer_id", "session_id"),
    "orders": ("order_id", "customer_id"),
    "customers": ("customer_id",),
}
"""Columns that say what a row is; a row without them is no record."""
PROFILE_COLUMN: Final = {"country": "country", "channel": "acquisition_channel"}
"""Column of events and orders -> that of the profile."""
_CONSTANTS: Final[dict[str, tuple[type, ...]]] = {
    "string": (str,), "int": (float, int), "float": (float, int), "bool": (bool,),
}  # fmt: skip
assert {Event, Order, Customer} == set(RECORD_TYPES.values())


def load_plan(path: Path | None) -> CleaningPlan:
    """The plan of a file, or the defaults.

    Raises:
        UsageError: the file cannot be read, or holds a mistake; the message names the line.
    """
    if path is None:
        return CleaningPlan()
    text = read_text(path, f"{path} cannot be read", "Name a YAML file; docs/cleaning.md has one.")
    document = read_yaml(text, str(path))
    try:
        return CleaningPlan.model_validate(document.content if document.content is not None else {})
    except ValidationError as error:
        raise UsageError(document.refusal(error), "docs/cleaning.md tells what a plan may hold.") from None
