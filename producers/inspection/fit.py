"""Finds the ready mappings that fit a file: all columns that records need are there."""

from __future__ import annotations

from dataclasses import dataclass

from connectors.tables.json_path import parse_path
from features.errors import UsageError
from producers.importing.mapping import ClickMapping, OrderMapping, builtin_mappings, parse_mapping, questions
from producers.importing.sources import Selection, Source, alternatives, names_in
from producers.inspection.inspection import Form, Group

_ANSWERS = ("UTC", "1", "EUR")
"""Values tried for what a mapping asks of its user; they do not change the columns."""


@dataclass(frozen=True, slots=True)
class Fit:
    """Ready mapping that fits a file.

    Attributes:
        name: name of the mapping.
        columns: columns of the mapping that the file has.
        absent: optional columns of the mapping that the file lacks.
        differences: keys of `file` in which the mapping differs, so that it fits only after a change.
    """

    name: str
    columns: tuple[str, ...]
    absent: tuple[str, ...]
    differences: tuple[str, ...]


def fitting_mappings(group: Group) -> list[Fit]:
    """Return the ready mappings whose required columns a group has, those with the most columns first."""
    fits = []
    for name, text in builtin_mappings().items():
        mapping = _parsed(text, name)
        if mapping is None:
            continue
        fit = _fit(name, mapping, group)
        if fit is not None:
            fits.append(fit)
    return sorted(fits, key=lambda fit: (bool(fit.differences), -len(fit.columns), len(fit.absent), fit.name))


def _parsed(text: str, name: str) -> OrderMapping | ClickMapping | None:
    """Return a mapping with any answers for its questions; None if it cannot be used."""
    for answer in _ANSWERS:
        try:
            return parse_mapping(text, name, dict.fromkeys(questions(text), answer))
        except UsageError:
            continue
    return None


def _fit(name: str, mapping: OrderMapping | ClickMapping, group: Group) -> Fit | None:
    form, how = group.form, mapping.file
    if how.format != form.how.format:
        return None
    if how.format == "whitespace":
        return _whitespace_fit(name, mapping, group)
    if how.columns is None and not form.has_header:
        return None
    own = [path for path in mapping.paths() if not path.startswith(".") or mapping.each is not None]
    paths = sorted(path for path in own if not path.startswith(".."))
    present = [path for path in paths if _has(group, path, mapping.each)]
    if not all(any(_has(group, path, mapping.each) for path in one) for one in required_columns(mapping)):
        return None
    differences = _differences(mapping, form)
    return Fit(name, tuple(present), tuple(path for path in paths if path not in present), differences)


def _whitespace_fit(name: str, mapping: OrderMapping | ClickMapping, group: Group) -> Fit | None:
    """Return the fit of a file without a header: as many columns, and readable times at the position of the time."""
    names = mapping.file.columns or ()
    if len(names) != len(group.form.names or ()):
        return None
    for time in mapping.time:
        column = group.columns[names.index(time.path[0])] if time.path[0] in names and group.columns else None
        if column is None or column.times is None or not column.is_time:
            return None
        readings = column.times.readings
        if time.format in readings and readings[time.format].unread:
            return None
    return Fit(name, tuple(names), (), ())


def _has(group: Group, path: str, each: str | None) -> bool:
    """Return whether a group has a column or path. Lists are tested by their first key.

    Args:
        group: files of one form.
        path: column or path; with a point at its beginning a path within the elements of `each`.
        each: list whose elements are the rows.
    """
    if path.startswith("."):
        return any(path == one.name or path.startswith(f"{one.name}[") for one in group.elements.get(each or "", ()))
    names = {column.name for column in group.columns} | set(group.form.names or ())
    if path in names:
        return True
    if group.form.how.format not in ("json", "parquet"):
        return False
    try:
        first = parse_path(path).steps[0]
    except ValueError:
        return False
    nested = f"{first}."
    return any(name == first and "[" in path for name in names) or any(
        name.startswith(nested) and path.startswith(name) for name in names
    )


def required_columns(mapping: OrderMapping | ClickMapping) -> list[list[str]]:
    """Return lists of columns of which records need one each."""
    fields = mapping.fields
    needed = [[path for time in mapping.time for path in time.path], _columns_of(fields.customer)]
    if isinstance(mapping, ClickMapping):
        needed.append(_columns_of(mapping.click.type))
        if mapping.identity is not None:
            needed.append([*_columns_of(mapping.identity.user), *_columns_of(mapping.identity.visitor)])
    else:
        order = mapping.order
        needed += [_columns_of(order.id)] if order.id is not None else []
        if order.total is not None:
            needed.append(_columns_of(order.total))
        elif order.lines is None:
            needed += [_columns_of(order.quantity), _columns_of(order.unit_price)]
    # a record of JSON need not have what only some of its kind have
    some = mapping.file.format == "json"
    needed += [list(rule.path) for rule in mapping.left_out if rule.when is None or not some]
    lines = fields.lines
    if mapping.each is not None:
        needed.append([mapping.each])
    elif lines is not None and lines.list is not None and isinstance(mapping, OrderMapping):
        needed.append([lines.list])
    return [paths for paths in needed if paths]


def _columns_of(source: Source | None) -> list[str]:
    """Return the columns of a source, none if a constant completes it."""
    columns: list[str] = []
    for one in alternatives(source) if source is not None else ():
        if isinstance(one, str):
            columns.append(one)
        elif isinstance(one, Selection):
            columns += one.path or names_in(one.join or "")
        elif one.when is None:  # a constant
            return []
    return columns


def _differences(mapping: OrderMapping | ClickMapping, form: Form) -> tuple[str, ...]:
    given, own = mapping.file.model_dump(), form.how.model_dump()
    keys = ("separator", "quote", "skip_lines", "encoding", "records")
    return tuple(key for key in keys if given[key] != own[key])
