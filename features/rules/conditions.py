"""Compiles the conditions of a rules file to Polars expressions and checks them against the column types.

A condition is a mapping. Each key is a column with a test, or one of `all`, `any` and `not`; all of its keys must hold.
A test is a value (equal), a list (one of), or a mapping of operators that must all hold. A test of a null is false,
except `is_null: true`. Therefore `not` selects exactly the rows that the inner condition does not.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import polars as pl
from polars import col

from features.schema import FieldKind

NUMBERS: Final[frozenset[FieldKind]] = frozenset({"int", "float", "time"})
JOINERS: Final = ("all", "any", "not")

Path = tuple[str | int, ...]
Number = int | float


@dataclass(frozen=True, slots=True)
class Mistake:
    """An error at a path of the document."""

    path: Path
    message: str


@dataclass(frozen=True, slots=True)
class Column:
    """A column that a condition may test: its kind and, for a vocabulary, its words."""

    kind: FieldKind
    words: tuple[str, ...] = ()


_ORDERED: Final[Mapping[str, Callable[[pl.Expr, Any], pl.Expr]]] = {
    "at_least": lambda column, value: column >= value,
    "at_most": lambda column, value: column <= value,
    "above": lambda column, value: column > value,
    "below": lambda column, value: column < value,
}
OPERATORS: Final = ("is", "in", *_ORDERED, "between", "has", "is_null")


@dataclass(slots=True)
class Compiler:
    """Turns conditions into expressions and collects their errors.

    Attributes:
        columns: columns that conditions may test.
        thresholds: named numbers, written `$name`.
        mistakes: errors in all conditions so far.
        used: columns used so far.
    """

    columns: Mapping[str, Column]
    thresholds: Mapping[str, Number]
    mistakes: list[Mistake] = field(default_factory=list)
    used: set[str] = field(default_factory=set)

    def condition(self, content: object, path: Path) -> pl.Expr:
        """Return the expression of a condition, never null; meaningless if there are mistakes."""
        if not isinstance(content, dict) or not content:
            return self._wrong(path, "a condition is a mapping of columns to tests, with at least one")
        return pl.all_horizontal(*[self._part(str(key), value, (*path, key)) for key, value in content.items()])

    def _part(self, key: str, content: object, path: Path) -> pl.Expr:
        if key == "not":
            return ~self.condition(content, path)
        if key in JOINERS:
            if not isinstance(content, list) or not content:
                return self._wrong(path, f"`{key}` takes a list of conditions, at least one")
            parts = [self.condition(part, (*path, i)) for i, part in enumerate(content)]
            return pl.all_horizontal(*parts) if key == "all" else pl.any_horizontal(*parts)
        if key not in self.columns:
            near = difflib.get_close_matches(key, [*self.columns, *JOINERS], n=1)
            return self._wrong(path, f"there is no column {key}" + (f" (did you mean {near[0]}?)" if near else ""))
        self.used.add(key)
        tests = list(self._tests(key, content, path))
        return pl.all_horizontal(*[test.fill_null(value=False) for test in tests])

    def _tests(self, name: str, content: object, path: Path) -> Iterator[pl.Expr]:
        if isinstance(content, list):
            content = {"in": content}
        elif not isinstance(content, dict):
            content = {"is": content}
        if not content:
            yield self._wrong(path, f"a test of {name} needs one of {', '.join(OPERATORS)}")
        for operator, value in content.items():
            yield self._test(name, str(operator), value, path)

    def _test(self, name: str, operator: str, content: object, path: Path) -> pl.Expr:
        if operator in _ORDERED:
            return self._ordered(name, operator, content, path)
        tests: dict[str, Callable[[str, object, Path], pl.Expr]] = {
            "is": self._equal,
            "in": self._in,
            "between": self._between,
            "has": self._has,
            "is_null": self._is_null,
        }
        if operator in tests:
            return tests[operator](name, content, path)
        near = difflib.get_close_matches(operator, OPERATORS, n=1)
        hint = f" (did you mean {near[0]}?)" if near else f"; there are {', '.join(OPERATORS)}"
        return self._wrong(path, f"there is no test {operator}{hint}")

    def _is_null(self, name: str, content: object, path: Path) -> pl.Expr:
        if not isinstance(content, bool):
            return self._wrong(path, "`is_null` takes true or false")
        return col(name).is_null() if content else col(name).is_not_null()

    def _in(self, name: str, content: object, path: Path) -> pl.Expr:
        if not isinstance(content, list) or not content:
            return self._wrong(path, "`in` takes a list of values, at least one")
        return pl.any_horizontal(*[self._equal(name, one, path) for one in content])

    def _has(self, name: str, content: object, path: Path) -> pl.Expr:
        if self.columns[name].kind != "strings":
            return self._wrong(path, f"{name} is not a list; use `is` or `in`")
        return col(name).list.contains(pl.lit(self._value(name, content, path)))

    def _between(self, name: str, content: object, path: Path) -> pl.Expr:
        if self.columns[name].kind not in NUMBERS:
            return self._wrong(path, f"{name} is a {self.columns[name].kind} and has no order; use `is` or `in`")
        if not isinstance(content, list) or len(content) != 2:
            return self._wrong(path, "`between` takes two values, the lower one first; both are included")
        before = len(self.mistakes)
        low, high = (self._number(name, one, path) for one in content)
        if low > high and len(self.mistakes) == before:
            return self._wrong(path, f"no value lies between {low} and {high}")
        return col(name).is_between(low, high)

    def _ordered(self, name: str, operator: str, content: object, path: Path) -> pl.Expr:
        if self.columns[name].kind not in NUMBERS:
            return self._wrong(path, f"{name} is a {self.columns[name].kind} and has no order; use `is` or `in`")
        return _ORDERED[operator](col(name), self._number(name, content, path))

    def _equal(self, name: str, content: object, path: Path) -> pl.Expr:
        if self.columns[name].kind == "strings":
            return self._wrong(path, f"{name} is a list; use `has`")
        return col(name) == pl.lit(self._value(name, content, path))

    def _value(self, name: str, content: object, path: Path) -> Any:
        column = self.columns[name]
        if column.kind in NUMBERS:
            return self._number(name, content, path)
        if column.kind == "bool":
            if not isinstance(content, bool):
                self._wrong(path, f"{name} is true or false, not {content!r}")
            return content
        if not isinstance(content, str):
            self._wrong(path, f"{name} is text, not {content!r}; put it in quotes")
        elif column.words and content not in column.words:
            self._wrong(path, f"{name} is never {content!r}; it is one of {', '.join(column.words)}")
        return content

    def _number(self, name: str, content: object, path: Path) -> Number:
        if isinstance(content, str) and content.startswith("$"):
            if content[1:] in self.thresholds:
                return self.thresholds[content[1:]]
            self._wrong(path, f"there is no threshold {content}")
        elif isinstance(content, bool) or not isinstance(content, int | float) or content != content:  # noqa: PLR0124 - not a number
            self._wrong(path, f"{name} is a number, not {content!r}")
        else:
            return content
        return 0

    def _wrong(self, path: Path, message: str) -> pl.Expr:
        self.mistakes.append(Mistake(path, message))
        return pl.lit(value=False)
