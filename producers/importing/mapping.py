"""Defines mapping files, which describe how columns of a foreign log become records. An error names its line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from connectors.formats.strict_yaml import builtin_texts, find_text, read_yaml
from connectors.formats.timestamps import zone_name
from features.errors import UsageError
from features.schema import Device, EventType, Status

Column = Annotated[str, StringConstraints(min_length=1)]


class Part(BaseModel):
    """Immutable part of a mapping. An unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Value(Part):
    """Constant text for every row."""

    value: str


Source = Column | Value
"""Column name, or one value for all rows: `{value: web}`."""


class FileFormat(Part):
    """Format of the file."""

    format: Literal["csv", "parquet", "whitespace"]
    columns: tuple[Column, ...] | None = Field(default=None, strict=False)
    """Column names for a file without a header: always for `whitespace`, never for `parquet`."""
    separator: Annotated[str, StringConstraints(min_length=1, max_length=1)] = ","
    decimal: Literal[".", ","] = "."

    @model_validator(mode="after")
    def _names(self) -> FileFormat:
        if self.format == "whitespace" and not self.columns:
            raise ValueError("a whitespace file has no header: list its columns")
        if self.format == "parquet" and self.columns:
            raise ValueError("a Parquet file has its own column names")
        if self.columns and len(set(self.columns)) < len(self.columns):
            raise ValueError("a column is named twice")
        return self


class Time(Part):
    """Column of times. Times without an offset are local to `zone`. An ambiguous local time is the earlier one."""

    column: Column
    format: Annotated[str, StringConstraints(min_length=1)] = "iso"
    """`iso`, `epoch_s`, `epoch_ms`, or a pattern such as `%d.%m.%Y %H:%M`."""
    zone: Annotated[str, AfterValidator(zone_name)] = "UTC"


class LeftOut(Part):
    """Rows that are not records. Exactly one condition besides reason and column."""

    reason: Annotated[str, StringConstraints(min_length=1)]
    column: Column
    missing: Literal[True] | None = None
    starts_with: str | None = None
    equals: str | None = None
    at_most: float | None = None

    @model_validator(mode="after")
    def _one_condition(self) -> LeftOut:
        given = [c for c in (self.missing, self.starts_with, self.equals, self.at_most) if c is not None]
        if len(given) != 1:
            raise ValueError("give exactly one of missing, starts_with, equals, at_most")
        return self


class Currency(Part):
    """Conversion factors to the shop's currency. Rows in a currency without a rate are left out."""

    column: Column | None = None
    rates: dict[str, Annotated[float, Field(gt=0, strict=False)]] = {}
    rate: Annotated[float, Field(gt=0, strict=False)] = 1.0
    """Rate for all rows, if there is no currency column."""

    @model_validator(mode="after")
    def _rates(self) -> Currency:
        if (self.column is None) != (not self.rates):
            raise ValueError("column and rates go together")
        return self


class OrderColumns(Part):
    """Source columns of an order's fields."""

    rows: Literal["order", "line"]
    """`order`: a row is an order, or a change of one. `line`: the rows of one id are the lines of one order."""
    id: Column | None = None
    """Without it, every row is a separate order, numbered by customer and time."""
    customer: Column
    total: Column | None = None
    """Total of the order. Optional with lines: the sum of quantity x unit price."""
    quantity: Column | None = None
    unit_price: Column | None = None
    product: Source | None = None
    category: Source | None = None
    status: Source | None = None
    statuses: dict[str, Status] = {}
    updated: Time | None = None
    """Time at which the row became valid; defaults to the time of the order."""
    session: Source | None = None
    channel: Source | None = None
    country: Source | None = None
    payment_method: Source | None = None

    @model_validator(mode="after")
    def _complete(self) -> OrderColumns:
        if self.rows == "line" and self.id is None:
            raise ValueError("lines are grouped by an id: give the id's column")
        if self.rows == "order" and self.total is None:
            raise ValueError("give the column of the order's total")
        if self.total is None and (self.quantity is None or self.unit_price is None):
            raise ValueError("give total, or quantity and unit_price")
        return self


class ClickColumns(Part):
    """Source columns of an event's fields."""

    id: Column | None = None
    """Without it, ids are made of session and position."""
    customer: Column
    session: Column | None = None
    """If it is missing or empty, sessions end after 30 minutes without a click."""
    type: Source
    types: dict[str, EventType] = {}
    device: Source | None = None
    devices: dict[str, Device] = {}
    device_default: Device = "desktop"
    """Device of rows without one."""
    product: Source | None = None
    category: Source | None = None
    price: Column | None = None
    quantity: Column | None = None
    channel: Source | None = None
    country: Source | None = None


class _Common(Part):
    about: str = ""
    file: FileFormat
    time: Time
    countries: dict[str, Annotated[str, StringConstraints(pattern="^[A-Z]{2}$")] | None] = {}
    """Country name in the file -> ISO 3166 alpha-2. Alpha-2 codes need no entry. Other names become null."""
    left_out: tuple[LeftOut, ...] = Field(default=(), strict=False)
    currency: Currency = Currency()


class OrderMapping(_Common):
    """Mapping of an order log."""

    kind: Literal["orders"]
    order: OrderColumns


class ClickMapping(_Common):
    """Mapping of a click log."""

    kind: Literal["clicks"]
    click: ClickColumns


def _check_kind(value: object) -> object:
    if isinstance(value, dict) and value.get("kind") not in ("orders", "clicks"):
        raise ValueError("kind: give `orders` or `clicks`")
    return value


AnyKind = Annotated[Annotated[OrderMapping | ClickMapping, Field(discriminator="kind")], BeforeValidator(_check_kind)]
_MAPPING: Final[TypeAdapter[OrderMapping | ClickMapping]] = TypeAdapter(AnyKind)


def builtin_mappings() -> dict[str, str]:
    """Return name -> text of each built-in mapping."""
    return builtin_texts("producers", "mappings")


def load_mapping(name_or_path: str) -> tuple[str, OrderMapping | ClickMapping]:
    """Return a mapping and its name, from the built-in ones or a YAML file.

    Raises:
        UsageError: the mapping is missing or invalid. The message names file and line.
    """
    text, origin = find_text(name_or_path, builtin_mappings(), "mapping", " (`shopstream import --list`)")
    return Path(name_or_path).stem, parse_mapping(text, origin)


def load_mappings(files: Sequence[Path], names: Sequence[str]) -> list[tuple[Path, str, OrderMapping | ClickMapping]]:
    """Return each file with the name of its mapping and the mapping.

    Args:
        files: foreign logs.
        names: built-in mappings or YAML files: one for all files, or one per file.

    Raises:
        UsageError: the numbers do not fit, or a mapping is missing or invalid.
    """
    if len(names) not in (1, len(files)):
        raise UsageError(
            f"{len(files)} files, but {len(names)} mappings.", "Give one mapping for all, or one per file."
        )
    every = list(names) * len(files) if len(names) == 1 else names
    return [(file, *load_mapping(name)) for file, name in zip(files, every, strict=True)]


def parse_mapping(text: str, origin: str) -> OrderMapping | ClickMapping:
    """Return the mapping of a YAML text. `origin` names it in errors. Raises UsageError with the line."""
    read = read_yaml(text, origin)
    try:
        return _MAPPING.validate_python(read.content)
    except ValidationError as error:
        raise UsageError(
            read.refusal(error), "docs/import.md lists what a mapping may contain; `import --show NAME` prints one."
        ) from None
