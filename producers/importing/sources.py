"""Defines the sources of a mapping: where a field's value comes from, and how its text becomes the field's text.

A source is one of

- a column of a table or a path of a JSON record: `total`, `customer.id`, `event_params[key=session].value.int_value`
- a constant: `{value: web}`
- a path with operations: `{path: financial_status, words: {paid: placed}, missing: placed}`
- a list of sources, of which the first with a value counts: `[user_id, anonymous_id]`
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, Final, Self

import polars as pl
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    model_validator,
)

Path = Annotated[str, StringConstraints(min_length=1)]
ANY_WORD: Final = "*"
"""Key of `words` that stands for every word without an entry."""
ELEMENT: Final = "i"
"""Name in a `join` for the position of a line in its record, from 0. Where records have no lines it is a column."""
_NAMED: Final = re.compile(r"\{([^{}]+)\}")


def listed(given: Any) -> Any:
    """Return one part as a list of it."""
    return [given] if isinstance(given, str | dict | BaseModel) else given


def as_text(given: Any) -> Any:
    """Return a boolean or number of YAML as its text, which is what a column holds."""
    if isinstance(given, bool):
        return "true" if given else "false"
    return str(given) if isinstance(given, int | float) else given


def _column_as_path(given: Any) -> Any:
    """Return the keys of a part with `column`, the word for tables, as `path`."""
    if isinstance(given, dict) and "column" in given and "path" not in given:
        return {"path" if key == "column" else key: value for key, value in given.items()}
    return given


Paths = Annotated[tuple[Path, ...], Field(strict=False), BeforeValidator(listed)]
"""One column or path, or a list of which the first with a value counts."""
Text = Annotated[str, BeforeValidator(as_text)]


class Part(BaseModel):
    """Immutable part of a mapping. An unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class PathPart(Part):
    """Part that reads a column or path: `column` is another word for `path`."""

    @model_validator(mode="before")
    @classmethod
    def _column(cls, given: Any) -> Any:
        return _column_as_path(given)


class Condition(PathPart):
    """Condition on the first value of one or more columns or paths. Exactly one test besides `path`."""

    path: Annotated[Paths, Field(min_length=1)]
    missing: bool | None = None
    equals: Text | None = None
    one_of: tuple[Text | None, ...] | None = Field(default=None, strict=False, alias="in")
    """Texts; null is a missing value."""
    starts_with: Text | None = None
    at_most: float | None = None
    same_as: Path | None = None
    """Column or path with the same text."""

    @model_validator(mode="after")
    def _one_test(self) -> Self:
        tests = (self.missing, self.equals, self.one_of, self.starts_with, self.at_most, self.same_as)
        if sum(test is not None for test in tests) != 1:
            raise ValueError("give exactly one of missing, equals, in, starts_with, at_most, same_as")
        return self


class Value(Part):
    """Constant text for every row for which `when` holds."""

    value: Text
    when: Condition | None = None


class Lookup(Part):
    """Column of another table of the mapping, in the row whose key is the source's text."""

    table: Path
    column: Path
    sum: bool = False
    """Whether the values of several rows of a key are added."""


class Selection(PathPart):
    """A column or path with operations on its text, applied in the order of the attributes below.

    Attributes:
        path: columns or paths; the first with a value counts.
        join: text with columns or paths in braces, instead of `path`: `"{order}-{line}"`. Missing if one of them is.
        when: condition; without it every row has the value.
        never: texts that are no value.
        match: regular expression; its first group is the value. A text that does not match is missing.
        lookup: value of another table.
        lower: whether capital letters become small ones, for e-mail addresses.
        upper: whether small letters become capital ones, for codes of countries.
        sum: columns whose amounts are added, instead of `path`; a missing one is 0. `refunds[*].total` is the sum over
            a list.
        less: columns whose amounts are subtracted; a missing one is 0.
        minor_units: number of decimals of an amount in minor units: 1250 with 2 is 12.50.
        base64_scale: decimals of an amount that Debezium writes as base64 of its digits.
        guest: whether the text is an e-mail address or the like, of which a keyed hash becomes the id of a guest.
        device: whether the text is a user agent, which becomes `tablet`, `mobile` or `desktop`.
        words: text -> text of the field. `"*"` stands for the other texts; null is no value.
        missing: text where there is no value.
    """

    path: Paths = ()
    join: str | None = None
    when: Condition | None = None
    never: tuple[Text, ...] = Field(default=(), strict=False)
    match: str | None = None
    lookup: Lookup | None = None
    lower: bool = False
    upper: bool = False
    sum: Paths = ()
    less: Paths = ()
    base64_scale: Annotated[int, Field(ge=0, le=18)] | None = None
    guest: bool = False
    minor_units: Annotated[int, Field(ge=0, le=6)] | None = None
    device: bool = False
    words: dict[Text, str | None] | None = None
    missing: Text | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if sum((bool(self.path), self.join is not None, bool(self.sum))) != 1:
            raise ValueError("give one of path, join and sum")
        if self.join is not None and not names_in(self.join):
            raise ValueError("join names no column: write it in braces, such as {order}")
        if self.match is not None:
            try:
                groups = re.compile(self.match).groups
            except re.error as error:
                raise ValueError(f"match is no regular expression: {error}") from None
            if groups < 1:
                raise ValueError("match needs a group in parentheses: the first one is the value")
            try:
                pl.Series([""]).str.extract(self.match, 1)
            except pl.exceptions.ComputeError as error:
                *_, reason = str(error).split("error: ")
                raise ValueError(f"match is an expression that is not read: {reason.splitlines()[0]}") from None
        return self


def _form(given: Any) -> str:
    """Return the tag of a source's form, so that an error is about the form that was written."""
    if isinstance(given, dict):
        return "constant" if "value" in given else "selection"
    if isinstance(given, Value | Selection):
        return "constant" if isinstance(given, Value) else "selection"
    return "list" if isinstance(given, list | tuple) else "path"


_Path = Annotated[Path, Tag("path")]
_Value = Annotated[Value, Tag("constant")]
_Selection = Annotated[Selection, Tag("selection")]
One = Annotated[_Path | _Value | _Selection, Discriminator(_form)]
_First = Annotated[tuple[One, ...], Field(strict=False, min_length=1), Tag("list")]
Source = Annotated[_Path | _Value | _Selection | _First, Discriminator(_form)]
"""Source of a field: see the module."""


def names_in(join: str) -> list[str]:
    """Return the names in braces of a `join`, in order."""
    return _NAMED.findall(join)


def literals_in(join: str) -> list[str]:
    """Return the texts around the names of a `join`: one more than names."""
    return _NAMED.split(join)[::2]


def alternatives(source: Source) -> tuple[str | Value | Selection, ...]:
    """Return the sources of which the first with a value counts."""
    return source if isinstance(source, tuple) else (source,)


def paths_of(source: Source | Condition | None, *, positions: bool = False) -> Iterator[str]:
    """Yield every column or path that a source or a condition reads.

    Args:
        source: source or condition.
        positions: whether `{i}` is the position of a line and no column.
    """
    if isinstance(source, Condition):
        yield from source.path
        if source.same_as is not None:
            yield source.same_as
        return
    for one in alternatives(source) if source is not None else ():
        if isinstance(one, str):
            yield one
            continue
        yield from paths_of(one.when)
        if isinstance(one, Selection):
            yield from (*one.path, *one.sum, *one.less)
            yield from (name for name in names_in(one.join or "") if not positions or name != ELEMENT)


def added_in(source: Source) -> Iterator[str]:
    """Yield the paths whose amounts are added or subtracted: those that may lead to every element of a list."""
    for one in alternatives(source):
        if isinstance(one, Selection):
            yield from (*one.sum, *one.less)
