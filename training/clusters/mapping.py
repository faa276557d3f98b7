"""Maps a table of customers by YAML: columns that make clusters and columns that describe them.

A column is taken as it is (`from`, or its own name) or computed. Computed columns are the sum, difference or ratio of
others, or days before a date.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Annotated, Any, Final, Literal

import polars as pl
from polars import col
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from connectors.formats.strict_yaml import builtin_texts, find_text, read_yaml
from features.errors import ShopstreamError, UsageError
from training.segments.themes import COLUMN_THEMES, THEMES

_Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]
_Term = _Name | int | float
MISSING: Final = ("", "NA", "N/A", "NaN", "nan", "null", "NULL")
"""Texts that mean no value in a column of numbers or dates. In a category, NA is a value such as Namibia."""
_FLAGS: Final = {"true": "1", "True": "1", "TRUE": "1", "false": "0", "False": "0", "FALSE": "0"}
MAKERS: Final = ("from", "sum", "difference", "ratio", "date")


class Column(BaseModel):
    """A column: its source, its type and its use in the matrix."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    taken: _Name | None = Field(default=None, alias="from")
    sum: Annotated[list[_Name], Field(min_length=1)] | None = None
    difference: Annotated[list[_Term], Field(min_length=2, max_length=2)] | None = None
    ratio: Annotated[list[_Name], Field(min_length=2, max_length=2)] | None = None
    day: _Name | None = Field(default=None, alias="date")
    days_before: date | None = None
    format: str = "%Y-%m-%d"
    kind: Literal["number", "category"] = "number"
    log: bool = False
    fill: Literal["median", "highest", "zero"] = "median"
    weight: Annotated[float, Field(gt=0, le=10)] = 1.0
    theme: str | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Column:
        ways = [self.taken, self.sum, self.difference, self.ratio, self.day]
        if set_count(ways) > 1:
            raise ValueError(f"a column has one source: one of {', '.join(MAKERS)}")
        if (self.day is None) != (self.days_before is None):
            raise ValueError("`date` and `days_before` need each other")
        if self.theme is not None and self.theme not in THEMES:
            raise ValueError(f"unknown theme {self.theme}; themes: {', '.join(THEMES)}")
        if self.kind == "category" and (self.log or any((self.sum, self.difference, self.ratio, self.day))):
            raise ValueError("a category has one source column and no `log`")
        return self


def set_count(ways: Sequence[object]) -> int:
    """Return the number of the given arguments that are set."""
    return sum(one is not None for one in ways)


class TableMapping(BaseModel):
    """A mapping of a table of customers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1]
    id: _Name
    separator: Annotated[str, StringConstraints(min_length=1, max_length=1)] = ","
    columns: Annotated[dict[_Name, Column], Field(min_length=1)]
    profile: dict[_Name, Column] = Field(default_factory=dict)

    @property
    def all_columns(self) -> dict[str, Column]:
        """Return the columns that make clusters and those that describe them."""
        return {**self.columns, **self.profile}

    @property
    def themes(self) -> Mapping[str, str]:
        """Column -> theme, for columns with a theme."""
        declared = {name: one.theme for name, one in self.all_columns.items() if one.theme}
        return {**COLUMN_THEMES, **declared}

    def table(self, raw: pl.DataFrame) -> pl.DataFrame:
        """Return the declared columns: `id` as text, numbers as float64, categories as text, null where unknown.

        Args:
            raw: table as read; text of MISSING is null in columns of numbers and dates.

        Raises:
            ShopstreamError: a column is missing, an id is missing or repeated, a text is not of the column's kind, or
                there is no row.
        """
        self._check(raw)
        frame = raw.select(_text(raw, self.id).alias("id"), *(col(name) for name in raw.columns if name != "id"))
        for name, one in self.all_columns.items():
            _check_texts(frame, name, one)
            frame = frame.with_columns(_expression(frame, name, one).alias(name))
        frame = frame.select("id", *self.all_columns).sort("id")
        ids = frame["id"]
        if ids.null_count() or ids.n_unique() < len(frame):
            twice = ids.filter(ids.is_duplicated()).drop_nulls().head(1).to_list()
            raise ShopstreamError(
                f"The ids in column {self.id} are not unique: "
                + (f"{twice[0]} is repeated." if twice else f"{ids.null_count():,} rows have no id."),
                "Clean the table first, one row per customer.",
            )
        return frame

    def _check(self, raw: pl.DataFrame) -> None:
        if raw.is_empty():
            raise ShopstreamError("The table of customers is empty.", "Give a table with one row per customer.")
        made = set(self.all_columns)
        required = [self.id, *(term for name, one in self.all_columns.items() for term in _terms(name, one))]
        missing = [name for name in dict.fromkeys(required) if name not in raw.columns and name not in made]
        own = [
            name for name, one in self.all_columns.items() if _terms(name, one) == [name] and name not in raw.columns
        ]
        if missing or own:
            raise ShopstreamError(
                f"The table has no column {', '.join(dict.fromkeys([*missing, *own]))}; it has "
                f"{', '.join(raw.columns)}.",
                "Give a --mapping with the columns of this table (and its separator).",
            )


def _terms(name: str, one: Column) -> list[str]:
    """Return the source columns of a column."""
    terms: list[Any] = [one.taken] if one.taken else [*(one.sum or one.difference or one.ratio or [one.day or name])]
    return [term for term in terms if isinstance(term, str)]


def _expression(frame: pl.DataFrame, name: str, one: Column) -> pl.Expr:
    if one.kind == "category":
        return _text(frame, one.taken or name)
    if one.sum is not None:
        return pl.sum_horizontal([_number(frame, part) for part in one.sum], ignore_nulls=False)
    if one.difference is not None:
        first, second = (
            _number(frame, part) if isinstance(part, str) else pl.lit(float(part)) for part in one.difference
        )
        return first - second
    if one.ratio is not None:
        above, below = (_number(frame, part) for part in one.ratio)
        return pl.when(below != 0).then(above / below)
    if one.day is not None:
        return (pl.lit(one.days_before) - _date(frame, one.day, one.format)).dt.total_days().cast(pl.Float64)
    return _number(frame, one.taken or name)


def _number(frame: pl.DataFrame, name: str) -> pl.Expr:
    """Return a column as float64; non-finite values and texts of MISSING become null."""
    column = col(name)
    if frame.schema[name] == pl.String:
        column = _present(name).replace(_FLAGS)
    number = column.cast(pl.Float64, strict=False)
    return pl.when(number.is_finite()).then(number)


def _date(frame: pl.DataFrame, name: str, pattern: str) -> pl.Expr:
    """Return a column as dates; texts of MISSING become null."""
    if frame.schema[name].is_temporal():
        return col(name).cast(pl.Date)
    text = _present(name) if frame.schema[name] == pl.String else col(name).cast(pl.String)
    return text.str.to_date(pattern, strict=False)


def _present(name: str) -> pl.Expr:
    """Return the text of a column without blanks around it; null for MISSING."""
    text = col(name).str.strip_chars()
    return pl.when(~text.is_in(MISSING)).then(text)


def _text(frame: pl.DataFrame, name: str) -> pl.Expr:
    """Return a column as text with every character; integral floats are integers, and NaN is null."""
    column = col(name)
    if not frame.schema[name].is_float():
        return column.cast(pl.String)
    whole = column.is_finite() & (column == column.floor()) & (column.abs() < 2.0**63)
    integer = column.cast(pl.Int64, strict=False).cast(pl.String)
    return pl.when(whole).then(integer).when(column.is_not_nan()).then(column.cast(pl.String))


def _check_texts(frame: pl.DataFrame, name: str, one: Column) -> None:
    """Check the texts of a column of numbers or dates. Raises ShopstreamError, naming the first that is neither."""
    if one.kind == "category":
        return
    for source in _terms(name, one):
        if frame.schema[source] != pl.String:
            continue
        value = _date(frame, source, one.format) if one.day is not None else _number(frame, source)
        unread = frame.select(col(source), (_present(source).is_not_null() & value.is_null()).alias("bad"))
        texts = unread.filter("bad")[source]
        if len(texts):
            kind, remedy = (
                (f"a date of the form {one.format}", "set `format` in the mapping, or leave the field empty")
                if one.day is not None
                else ("a number", "write numbers with a decimal point, leave missing ones empty, or map a category")
            )
            raise ShopstreamError(
                f"Column {source} has {len(texts):,} texts that are not {kind}: {texts[0]!r} is the first.",
                f"{remedy[0].upper()}{remedy[1:]}.",
            )


# --- reading ----------------------------------------------------------------------------------------------------------
def ready_mappings() -> dict[str, str]:
    """Return name -> YAML of every mapping that comes with the program."""
    return builtin_texts("training.clusters", "mappings")


def load_mapping(name_or_path: str) -> tuple[TableMapping, str]:
    """Load a built-in mapping by its name, or a YAML file; return it with its text.

    Raises:
        UsageError: the mapping does not exist or is invalid; the message names file and line.
    """
    text, source = find_text(name_or_path, ready_mappings(), "mapping")
    return parse_mapping(text, source), text


def parse_mapping(text: str, source: str) -> TableMapping:
    """Parse the mapping of a YAML text; `source` names it in errors. Raises UsageError, a line for each mistake."""
    read = read_yaml(text, source)
    try:
        return TableMapping.model_validate(read.content)
    except ValidationError as error:
        raise UsageError(read.refusal(error), "docs/batch.md lists the keys of a mapping.") from None
