"""Defines the cleaning plan: a YAML file, checked with the line of every mistake.

The rule of this file: every choice of a cleaning beyond the contract of a valid record is here, with its default, and
goes into the report.
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
"""Vocabularies that several columns may share: `category` covers events and the lines of orders."""


class _Part(BaseModel):
    """Part of a plan: immutable, and rejects unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Constant(_Part):
    """One constant for every missing value."""

    constant: str | float | bool


Fill = Literal["leave", "drop", "most_common", "median", "by_product", "by_customer"] | Constant
"""Treatment of a missing value: left, the row dropped, the column's most common value, the median of a number, the only
category of the product, the value of the customer's profile, or a constant."""


class Outliers(_Part):
    """Limits of outliers, which are flagged and never dropped."""

    fence: Annotated[float, Field(gt=0, strict=False)] = 3.0
    """Interquartile ranges beyond the quartiles of the logarithm of amounts (prices: within a category)."""
    events_a_day: Annotated[int, Field(ge=1)] = 1_000
    """Events of a customer on one UTC day; customers with more are seldom people."""


class CleaningPlan(_Part):
    """Plan of a cleaning. The defaults suit an archive that `generate` or `import` wrote."""

    zone: Annotated[str, AfterValidator(zone_name)] = "UTC"
    """Time zone of times without one. An ambiguous local time is the earlier one."""
    earliest: date = date(1990, 1, 1)
    """Earliest valid UTC day."""
    future_ms: Annotated[int, Field(ge=0)] = FUTURE_MS_MAX
    """Maximum time ahead of the present."""
    seconds: bool = True
    """Whether times before `earliest` that are plausible as epoch seconds are read as seconds."""
    spellings: dict[Vocabulary, dict[str, str]] = {}
    """Vocabulary -> other spelling -> kept spelling."""
    one_spelling: tuple[Vocabulary, ...] = Field(
        default=("category", "channel", "country", "payment_method", "gender"), strict=False
    )
    """Vocabularies in which spellings that differ by case, blanks, `-` and `_` become the most common one."""
    fill: dict[Literal["events", "orders", "customers"], dict[str, Fill]] = {"events": {"category": "by_product"}}
    """Topic -> column -> treatment of missing values; values of other columns are left."""
    identity: tuple[Literal["email", "name"], ...] = Field(default=("email",), strict=False)
    """Profile columns that identify people; the first non-empty one counts."""
    ids: Literal["keep", "shared", "all"] = "shared"
    """Customer ids to renumber in order of first purchase: none, those that several people share, or all."""
    outliers: Outliers = Outliers()
    examples_max: Annotated[int, Field(ge=0, le=100)] = 3
    """Number of examples of each rule in the report."""

    @model_validator(mode="after")
    def _once(self) -> CleaningPlan:
        for vocabulary, words in self.spellings.items():
            if twice := sorted(set(words) & set(words.values())):
                raise ValueError(f"spellings.{vocabulary}: {twice[0]!r} is both replaced and a replacement")
        return self

    @model_validator(mode="after")
    def _columns(self) -> CleaningPlan:
        for topic, columns in self.fill.items():
            known = {field.name: field.kind for field in FIELDS[topic]}
            for name, how in columns.items():
                if name not in known:
                    raise ValueError(f"fill.{topic}: unknown column {name}; columns: {', '.join(known)}")
                if known[name] in {"time", "items"} or name in KEYS[topic]:
                    raise ValueError(f"fill.{topic}.{name}: times, lines and keys are never filled")
                if how == "median" and known[name] not in {"int", "float"}:
                    raise ValueError(f"fill.{topic}.{name}: only a number has a median")
                if how == "by_product" and (topic, name) != ("events", "category"):
                    raise ValueError(f"fill.{topic}.{name}: only the category of an event follows from its product")
                if how == "by_customer" and (topic == "customers" or name not in PROFILE_COLUMN):
                    raise ValueError(f"fill.{topic}.{name}: a profile has {', '.join(PROFILE_COLUMN)} only")
                if isinstance(how, Constant) and not isinstance(how.constant, _CONSTANTS[known[name]]):
                    raise ValueError(f"fill.{topic}.{name}: {how.constant!r} does not have the column's type")  # noqa: TRY004 - pydantic takes no other
        return self

    @property
    def earliest_ms(self) -> int:
        """Start of `earliest`, epoch ms."""
        first = datetime(self.earliest.year, self.earliest.month, self.earliest.day, tzinfo=UTC)
        return round(first.timestamp() * 1_000)


FIELDS: Final = {topic: record_fields(record) for topic, record in RECORD_TYPES.items()}
"""Topic -> fields of its record."""
KEYS: Final = {
    "events": ("event_id", "customer_id", "session_id"),
    "orders": ("order_id", "customer_id"),
    "customers": ("customer_id",),
}
"""Key columns of a row; a row without them is no record."""
PROFILE_COLUMN: Final = {"country": "country", "channel": "acquisition_channel"}
"""Column of events and orders -> column of the profile."""
_CONSTANTS: Final[dict[str, tuple[type, ...]]] = {
    "string": (str,), "int": (float, int), "float": (float, int), "bool": (bool,),
}  # fmt: skip
assert {Event, Order, Customer} == set(RECORD_TYPES.values())


def load_plan(path: Path | None) -> CleaningPlan:
    """Load the plan of a file, or the defaults.

    Raises:
        UsageError: the file cannot be read or is invalid; the message names the line.
    """
    if path is None:
        return CleaningPlan()
    text = read_text(path, f"{path} cannot be read", "Name a YAML file; docs/cleaning.md has one.")
    document = read_yaml(text, str(path))
    try:
        return CleaningPlan.model_validate(document.content if document.content is not None else {})
    except ValidationError as error:
        raise UsageError(document.refusal(error), "docs/cleaning.md lists the keys of a plan.") from None
