"""Assigns segments and actions by declared rules, compiled to Polars expressions.

Batch and stream apply the same rules to the same rows: features, scores and, if joined, the columns of a profile.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import numpy as np
import polars as pl
from polars import col
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from features import schema
from features.definitions import FEATURES
from features.rules.conditions import Column, Compiler, Mistake
from features.schema import CONTACT_FIELDS, Customer, record_fields
from features.scores.score import RISKS, SCORES

SEGMENT_MARK: Final = "{segment}"
"""Placeholder for the current segment in a modifier's name."""

PROFILE_FIELDS: Final[tuple[schema.Field, ...]] = tuple(
    field for field in record_fields(Customer) if field.name not in {"customer_id", *CONTACT_FIELDS}
)
"""Profile fields that rules may test; null without a profile or if the profile was not joined to the rows."""
_PROFILE_DTYPES: Final[dict[str, type[pl.DataType]]] = {
    "string": pl.String, "int": pl.Int64, "time": pl.Int64, "float": pl.Float64, "bool": pl.Boolean,
}  # fmt: skip
PROFILE_SCHEMA: Final[dict[str, type[pl.DataType]]] = {
    field.name: _PROFILE_DTYPES[field.kind] for field in PROFILE_FIELDS
}

_ASSIGNED: Final = ("segment", "recommended_action")

_Name = Annotated[str, StringConstraints(min_length=1, max_length=100)]
_Word = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=100)]


class _Part(BaseModel):
    """A part of a rules file: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Segment(_Part):
    """A rule: the condition of the segment and its action."""

    name: _Name
    when: Any
    action: _Word
    help: str = ""


class Modifier(_Part):
    """Changes the segment's name or the action of the customers that meet its condition."""

    name: _Name
    when: Any
    segment: _Name | None = None
    action: _Word | None = None


class Default(_Part):
    """Segment and action of the customers that match no rule."""

    name: _Name
    action: _Word


class Document(_Part):
    """A rules file."""

    version: Literal[1]
    thresholds: dict[_Word, int | float] = Field(default_factory=dict)
    actions: Annotated[dict[_Word, str], Field(min_length=1)]
    segments: Annotated[list[Segment], Field(min_length=1)]
    default: Default
    modifiers: list[Modifier] = Field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Rules:
    """Valid, compiled rules.

    Attributes:
        document: declaration of the rules.
        text: YAML text, stored with a bundle.
        columns: columns that the rules test.
    """

    document: Document
    text: str
    columns: frozenset[str]
    _segments: tuple[pl.Expr, ...]
    _modifiers: tuple[pl.Expr, ...]

    @property
    def profile_columns(self) -> tuple[str, ...]:
        """Profile columns that must be joined to the rows for these rules."""
        return tuple(field.name for field in PROFILE_FIELDS if field.name in self.columns)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of segments before modifiers, in the order of the rules, each once."""
        return _names(self.document)

    def assign(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Return `segment` and `recommended_action` of rows, in their order.

        Args:
            rows: rows with every feature and score that the rules test. Missing profile columns are null.
        """
        rows = self._with_profile_columns(rows)
        names, segments = self._first(rows)
        for modifier, condition in zip(self.document.modifiers, self._modifiers, strict=True):
            segments = self._modified(rows, segments, names, modifier, condition)
        return segments

    def modifiers(self, rows: pl.DataFrame) -> pl.Series:
        """Return the names of the modifiers that hold, in file order, as a list of strings for each of `rows`."""
        rows = self._with_profile_columns(rows)
        names, _ = self._first(rows)
        held = [
            pl.when(condition).then(pl.lit(modifier.name))
            for modifier, condition in zip(self.document.modifiers, self._modifiers, strict=True)
        ]
        if not held:
            return pl.Series("modifiers", [[]] * len(rows), pl.List(pl.String))
        listed = pl.concat_list(held).list.drop_nulls().alias("modifiers")
        return rows.with_columns(names).select(listed)["modifiers"]

    def _with_profile_columns(self, rows: pl.DataFrame) -> pl.DataFrame:
        absent = [name for name in self.profile_columns if name not in rows.columns]
        return rows.with_columns(pl.lit(None, PROFILE_SCHEMA[name]).alias(name) for name in absent)

    def _first(self, rows: pl.DataFrame) -> tuple[pl.Series, pl.DataFrame]:
        """Return the segments before modifiers, alone and with their actions."""
        cases = _cases(self.document)
        number = pl.lit(len(cases) - 1, pl.Int32)
        for i, condition in reversed(list(enumerate(self._segments))):
            number = pl.when(condition).then(pl.lit(i, pl.Int32)).otherwise(number)
        chosen = rows.select(number.alias("case"))["case"].to_numpy() if len(rows) else np.zeros(0, np.int32)
        names = pl.Series("segment", [case.name for case in cases], pl.String).gather(chosen)
        actions = pl.Series("recommended_action", [case.action for case in cases], pl.String).gather(chosen)
        return names, pl.DataFrame([names, actions])

    @staticmethod
    def _modified(
        rows: pl.DataFrame, segments: pl.DataFrame, names: pl.Series, modifier: Modifier, condition: pl.Expr
    ) -> pl.DataFrame:
        holds = rows.with_columns(names).select(condition.alias("holds"))["holds"]
        changes = []
        if modifier.segment is not None:
            parts = modifier.segment.split(SEGMENT_MARK)
            name = functools.reduce(
                lambda text, part: text + col("segment") + pl.lit(part), parts[1:], pl.lit(parts[0])
            )
            changes.append(pl.when(holds).then(name).otherwise(col("segment")).alias("segment"))
        if modifier.action is not None:
            action = pl.when(holds).then(pl.lit(modifier.action)).otherwise(col("recommended_action"))
            changes.append(action.alias("recommended_action"))
        return segments.with_columns(changes)


def with_profiles(rows: pl.DataFrame, profiles: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    """Join profile columns to the rows of their customers, null if there is no profile; keep the order of the rows.

    Args:
        rows: rows with customer_id.
        profiles: profiles with customer_id, one row per customer; missing columns are null. Times may be timestamps.
        columns: names from PROFILE_SCHEMA, as in `Rules.profile_columns`.
    """
    if not columns:
        return rows
    selected = profiles.select("customer_id", *(_profile_column(profiles, name) for name in columns))
    return rows.join(selected, on="customer_id", how="left", maintain_order="left")


def _profile_column(profiles: pl.DataFrame, name: str) -> pl.Expr:
    if name not in profiles.columns:
        return pl.lit(None, PROFILE_SCHEMA[name]).alias(name)
    time = isinstance(profiles.schema[name], pl.Datetime)
    return (col(name).dt.epoch("ms") if time else col(name)).cast(PROFILE_SCHEMA[name])


# --- compiling --------------------------------------------------------------------------------------------------------


class InvalidRulesError(Exception):
    """A rules document that cannot be compiled.

    Attributes:
        mistakes: all errors, each with its path in the document.
    """

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        super().__init__("; ".join(mistake.message for mistake in mistakes))
        self.mistakes = mistakes


def compile_rules(document: Document, text: str) -> Rules:
    """Compile the rules of a document; `text` is stored with them.

    Raises:
        InvalidRulesError: a condition, a column or an action is unknown.
    """
    columns = askable()
    rules = Compiler(columns, document.thresholds)
    segments = [rules.condition(one.when, ("segments", i, "when")) for i, one in enumerate(document.segments)]
    changing = Compiler({**columns, "segment": Column("string", _names(document))}, document.thresholds)
    modifiers = [changing.condition(one.when, ("modifiers", i, "when")) for i, one in enumerate(document.modifiers)]
    mistakes = [*rules.mistakes, *changing.mistakes, *_unknown_actions(document), *_idle_modifiers(document)]
    if mistakes:
        raise InvalidRulesError(mistakes)
    used = frozenset(rules.used | changing.used)
    return Rules(document, text, used, tuple(segments), tuple(modifiers))


def askable() -> dict[str, Column]:
    """Return every column that a condition may test."""
    words = {"churn_risk": RISKS}
    return {
        **{field.name: Column(field.kind) for field in PROFILE_FIELDS},
        **{feature.name: Column(feature.kind) for feature in FEATURES},
        **{
            score.name: Column(score.kind, words.get(score.name, ())) for score in SCORES if score.name not in _ASSIGNED
        },
    }


def _names(document: Document) -> tuple[str, ...]:
    return tuple(dict.fromkeys(case.name for case in _cases(document)))


def _cases(document: Document) -> list[Segment | Default]:
    return [*document.segments, document.default]


def _unknown_actions(document: Document) -> list[Mistake]:
    named: list[tuple[tuple[str | int, ...], str | None]] = [
        *((("segments", i, "action"), one.action) for i, one in enumerate(document.segments)),
        (("default", "action"), document.default.action),
        *((("modifiers", i, "action"), one.action) for i, one in enumerate(document.modifiers)),
    ]
    return [
        Mistake(path, f"there is no action {action}; there are {', '.join(document.actions)}")
        for path, action in named
        if action is not None and action not in document.actions
    ]


def _idle_modifiers(document: Document) -> list[Mistake]:
    return [
        Mistake(("modifiers", i), "a modifier changes `segment`, `action` or both; this one changes nothing")
        for i, one in enumerate(document.modifiers)
        if one.segment is None and one.action is None
    ]
