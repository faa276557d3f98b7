"""Defines mapping files, which describe how columns of a foreign log become records. An error names its line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from collections.abc import Mapping as MappingOf
from pathlib import Path as FilePath
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from connectors.formats.country_codes import country_codes
from connectors.formats.money_format import UNSET_MONEY, ShopMoney
from connectors.formats.schema_times import SCHEMA
from connectors.formats.strict_yaml import PartError, builtin_texts, find_text, read_yaml
from connectors.messages.topic_format import TopicFormat
from connectors.tables.file_format import FileFormat
from connectors.tables.json_path import parse_path
from features.errors import UsageError
from features.schema import Device, EventType, Status
from producers.importing.conversion import Conversion
from producers.importing.currencies import Currency, conversion_of
from producers.importing.sources import (
    Condition,
    Part,
    Path,
    Selection,
    Source,
    Text,
    added_in,
    alternatives,
    names_in,
    paths_of,
)
from producers.importing.time_sources import Times


def _country_code(code: str) -> str:
    if code not in country_codes():
        raise ValueError(f"there is no code {code} in ISO 3166 alpha-2: write null for a country without one")
    return code


class LeftOut(Condition):
    """Rows that are not records, by a condition."""

    reason: Annotated[str, StringConstraints(min_length=1)]
    when: Condition | None = None
    """Second condition that must hold, too."""


class Ids(Part):
    """Words that are no customer id."""

    never: tuple[Text, ...] = Field(default=(), strict=False)
    """Words besides the built-in placeholders, such as NULL."""
    allow: tuple[Text, ...] = Field(default=(), strict=False)
    """Built-in placeholders that are ids in this file."""


class Table(Part):
    """Another table, from which `lookup` takes values. Its key is unique."""

    file: Path
    """File name or glob, in the folder of the log."""
    key: Path
    format: FileFormat | None = None
    """Format, if it differs from that of the log."""


class Copies(LeftOut):
    """Rows that the file has several times by mistake, although equal lines of an order are different pieces."""

    times: Annotated[int, Field(ge=2)] = 2
    """Number of times that each of these rows is in the file. One of them is used."""


class OrderLines(Part):
    """Lines of an order: a list in its record, or rows of another table. Sources begin with a point.

    Attributes:
        list: path of the list; a source is a field of an element.
        table: table of the mapping whose key is the order's id; a source is a column of it.
        left_out: elements that are not lines.
    """

    list: Path | None = None
    table: Path | None = None
    left_out: Condition | None = None
    product: Source | None = None
    category: Source | None = None
    quantity: Source | None = None
    unit_price: Source | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.list is None) == (self.table is None):
            raise ValueError("lines are a list of the record or rows of a table: give list or table")
        return self


class OrderColumns(Part):
    """Sources of an order's fields."""

    rows: Literal["order", "line"]
    """`order`: a row is an order, or a change of one. `line`: the rows of one id are the lines of one order."""
    id: Source | None = None
    """Without it, every row is a separate order, numbered by customer and time."""
    customer: Source
    total: Source | None = None
    """Total of the order. Optional with lines: the sum of quantity x unit price."""
    quantity: Source | None = None
    unit_price: Source | None = None
    product: Source | None = None
    category: Source | None = None
    lines: OrderLines | None = None
    status: Source | None = None
    statuses: dict[str, Status | None] = Field(default_factory=dict)
    """Word of the file -> status; null: the row is no order. `"*"` stands for the other words."""
    negative: Literal["refuse", "net"] = "refuse"
    """`net`: negative lines reduce their order; an order of which nothing remains is refunded."""
    mixed_status: Literal["refuse", "net"] = "refuse"
    """`net`: of an order whose lines differ in status, only the placed lines count."""
    left_out: tuple[LeftOut, ...] = Field(default=(), strict=False)
    """Rules for whole orders of several rows. A rule holds if it does for one row; `missing: true` for all of them."""
    copies: Copies | None = None
    updated: Times = ()
    """Time at which the row became valid; defaults to the time of the order."""
    deleted: Literal["void"] | None = None
    """Status of an order whose row a change of Debezium deletes, or moves to another customer. None: left out."""
    session: Source | None = None
    channel: Source | None = None
    country: Source | None = None
    payment_method: Source | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        line = self.lines or self
        if self.lines and self.rows == "line":
            raise ValueError("a record with a list of lines is an order: rows: order")
        if self.id is None and (self.rows == "line" or self.lines):
            raise ValueError("lines are grouped by an id: give the id's column")
        if self.total is None and self.rows == "order" and not self.lines:
            raise ValueError("give the column of the order's total")
        if self.total is None and (line.quantity is None or line.unit_price is None):
            raise ValueError("give total, or quantity and unit_price")
        if self.rows == "order" and "net" in (self.negative, self.mixed_status):
            raise ValueError("net needs rows: line")
        if (self.left_out and not self.grouped) or (self.copies and self.rows == "order"):
            raise ValueError("rules for whole orders need orders of several rows; write left_out at the top")
        if self.lines and self.lines.table and not isinstance(self.id, str):
            raise ValueError("lines of a table are found by the order's id, which must be one column")
        return self

    @property
    def grouped(self) -> bool:
        """Whether several rows make one order: rows of one id, or elements of one record."""
        return self.rows == "line" or self.lines is not None


class LineId(Part):
    """Text with paths in braces that is the id of a line under a condition."""

    join: str
    when: Literal["many"]
    """`many`: the record has several lines, or is a purchase."""


def _line_ids(given: Any) -> Any:
    return [given] if isinstance(given, str | dict | LineId) else given


class ClickLines(Part):
    """List in a record, such as the products of a purchase: an event for each element."""

    list: Path
    types: tuple[EventType, ...] = Field(default=(), strict=False)
    """Event types whose records have lines; all, if empty."""
    id: Annotated[tuple[str | LineId, ...], Field(strict=False), BeforeValidator(_line_ids)] = ("{id}#{i}",)
    """Texts with paths in braces, of which the first complete one counts.

    `{id}` is the record's id, and `{i}` the position of the element from 0.
    """
    never: tuple[Text, ...] = Field(default=(), strict=False)
    """Texts that are no value in the fields and the id of a line."""
    repeats: Literal["refuse", "first"] = "refuse"
    """`first`: of several events with the same id, the first in time counts, whatever the others hold."""
    product: Source | None = None
    category: Source | None = None
    price: Source | None = None
    quantity: Source | None = None


class ClickColumns(Part):
    """Sources of an event's fields."""

    id: Source | None = None
    """Without it, ids are made of session and position."""
    customer: Source | None = None
    """Customer of the click. Left out if the mapping has `identity`."""
    session: Source | None = None
    """If it is missing or empty, sessions end after 30 minutes without a click."""
    type: Source
    types: dict[str, EventType | None] = Field(default_factory=dict)
    """Word of the file -> event type; null: the row is no click. `"*"` stands for the other words."""
    lines: ClickLines | None = None
    device: Source | None = None
    devices: dict[str, Device] = Field(default_factory=dict)
    device_default: Device = "desktop"
    """Device of rows without one."""
    product: Source | None = None
    category: Source | None = None
    price: Source | None = None
    quantity: Source | None = None
    channel: Source | None = None
    country: Source | None = None


class Identity(Part):
    """Ids of a click: the user who is logged in, and the visitor, who is known by a device or browser alone."""

    user: Source
    visitor: Source


class _Common(Part):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, populate_by_name=True)

    about: str = ""
    file: FileFormat = FileFormat(format="json")
    """Format of files. Optional with `from`: files have the values of the topic's messages, one in each line."""
    topic: TopicFormat | None = Field(default=None, alias="from")
    """Topic whose messages the mapping reads."""
    each: Path | None = None
    """List in a JSON record whose elements are the rows. Their fields begin with a point.

    Fields of their lines begin with two points.
    """
    time: Annotated[Times, Field(min_length=1)]
    ids: Ids = Ids()
    tables: dict[str, Table] = Field(default_factory=dict)
    countries: dict[str, Annotated[str, AfterValidator(_country_code)] | None] = Field(default_factory=dict)
    """Country name in the file -> ISO 3166 alpha-2. Alpha-2 codes need no entry. Other texts become null, counted."""
    left_out: tuple[LeftOut, ...] = Field(default=(), strict=False)
    currency: Currency = Currency()
    _conversion: Conversion = PrivateAttr(default=Conversion())

    @property
    def conversion(self) -> Conversion:
        """How amounts become amounts of the shop."""
        return self._conversion

    @property
    def fields(self) -> OrderColumns | ClickColumns:
        """Sources of the record's fields."""
        raise NotImplementedError

    @property
    def _kind(self) -> str:
        """Key of `fields`."""
        return "order" if isinstance(self.fields, OrderColumns) else "click"

    def sources(self) -> Iterator[Source]:
        """Yield every source of the record and its lines."""
        for part in (self.fields, self.fields.lines):
            made = {"id"} if isinstance(part, ClickLines) else set()  # texts with paths in braces, which are no sources
            for name in type(part).model_fields if part is not None else ():
                if name in SOURCES - made and (source := getattr(part, name)) is not None:
                    yield source

    @property
    def list_path(self) -> str | None:
        """Path of the list that gives a row per element: `visits[*].actions` is a list within elements."""
        lines = None if self.fields.lines is None else self.fields.lines.list
        return lines if self.each is None else f"{self.each}[*]{lines}" if lines else self.each

    @property
    def positions(self) -> bool:
        """Whether records have a list of lines, so that `{i}` is the position of a line."""
        return self.fields.lines is not None and self.fields.lines.list is not None

    @property
    def times(self) -> Times:
        """Sources of every time of the record."""
        return self.time + (self.fields.updated if isinstance(self.fields, OrderColumns) else ())

    def schema_times(self) -> set[str]:
        """Return the paths of times whose unit is in the schema of the message."""
        return {path for time in self.times for path in time.schema_paths()}

    def paths(self) -> set[str]:
        """Return every column or path that the mapping reads. Those of lines begin with a dot."""
        paths = {path for source in self.sources() for path in paths_of(source, positions=self.positions)}
        lines = self.fields.lines
        rules = self.left_out
        if isinstance(self.fields, OrderColumns):
            rules += self.fields.left_out + ((self.fields.copies,) if self.fields.copies else ())
        if isinstance(lines, OrderLines):
            paths.update(paths_of(lines.left_out))
        if isinstance(lines, ClickLines):
            paths.update(name for text in lines.id for name in names_in(join_of(text)) if name not in ("id", "i"))
        for time in self.times:
            paths.update(time.paths())
        for rule in rules:
            paths.update((*paths_of(rule), *paths_of(rule.when)))
        return paths | ({self.currency.path} if self.currency.path else set())

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if "file" not in self.model_fields_set and self.topic is None:
            raise ValueError("give `file`, the format of the files, or `from`, the topic")
        if self.topic is not None and self.file.decimal != ".":
            # a JSON number has a point: 1.234 as the number and as the text for 1234 are one text
            raise PartError("numbers of messages have a point, and so must texts of amounts", ("file", "decimal"))
        if self.schema_times() and (self.topic is None or self.topic.format != "avro"):
            message = "time.format schema needs `from` with format: avro, whose schemas have units of times"
            raise PartError(message, text=SCHEMA)
        if self.file.format == "json":
            added = {path for source in self.sources() for path in added_in(source)}
            for path in self.paths():
                if parse_path(path).adds and path not in added:
                    message = f"{path} leads to every element of a list, which only sum and less add"
                    raise PartError(message, text=path)
        elif self.list_path is not None:
            raise PartError("a list is in a JSON record: write `file: {format: json}`", ("file", "format"))
        lines = self.fields.lines
        if self.each is not None and lines is not None and not (lines.list or ".").startswith("."):
            message = "with each, lines.list is a field of the element and begins with a point"
            raise PartError(message, (self._kind, "lines", "list"))
        return self

    @model_validator(mode="after")
    def _names_tables(self) -> Self:
        kind, lines = self._kind, self.fields.lines
        if isinstance(lines, OrderLines) and lines.table is not None and lines.table not in self.tables:
            message = f"lines name the table {lines.table}, which is not in tables"
            raise PartError(message, (kind, "lines", "table"))
        for source in self.sources():
            for one in alternatives(source):
                if isinstance(one, Selection) and one.lookup and one.lookup.table not in self.tables:
                    message = f"lookup names the table {one.lookup.table}, which is not in tables"
                    raise PartError(message, (kind,), one.lookup.table)
        return self


SOURCES: Final = frozenset(
    [
        "id",
        "customer",
        "total",
        "quantity",
        "unit_price",
        "price",
        "product",
        "category",
        "status",
        "session",
        "channel",
        "country",
        "payment_method",
        "type",
        "device",
    ]
)
"""Fields of a record, or of a line, that have a source."""


class OrderMapping(_Common):
    """Mapping of an order log."""

    kind: Literal["orders"]
    order: OrderColumns

    @property
    def fields(self) -> OrderColumns:
        """Sources of the order's fields."""
        return self.order


class ClickMapping(_Common):
    """Mapping of a click log."""

    kind: Literal["clicks"]
    click: ClickColumns
    identity: Identity | None = None

    @model_validator(mode="after")
    def _has_customer(self) -> Self:
        if (self.click.customer is None) == (self.identity is None):
            raise PartError("give click.customer, or identity with user and visitor", ("click",))
        return self

    def sources(self) -> Iterator[Source]:
        """Yield every source of the event, its lines and its ids."""
        yield from super().sources()
        if self.identity is not None:
            yield from (self.identity.user, self.identity.visitor)

    @property
    def fields(self) -> ClickColumns:
        """Sources of the event's fields."""
        return self.click


def join_of(text: str | LineId) -> str:
    """Return the text with names in braces of a line's id."""
    return text if isinstance(text, str) else text.join


def _check_kind(value: object) -> object:
    if isinstance(value, dict) and value.get("kind") not in ("orders", "clicks"):
        raise ValueError("kind: give `orders` or `clicks`")
    return value


AnyKind = Annotated[Annotated[OrderMapping | ClickMapping, Field(discriminator="kind")], BeforeValidator(_check_kind)]
_MAPPING: Final[TypeAdapter[OrderMapping | ClickMapping]] = TypeAdapter(AnyKind)


def builtin_mappings() -> dict[str, str]:
    """Return name -> text of each built-in mapping."""
    return builtin_texts("producers", "mappings")


def summaries() -> list[tuple[str, str, str]]:
    """Return name, kind and `about` of each built-in mapping."""
    rows = []
    for name, text in builtin_mappings().items():
        content = read_yaml(text, name).content
        rows.append((name, str(content["kind"]), str(content.get("about", ""))))
    return rows


def mapping_text(name_or_path: str) -> tuple[str, str]:
    """Return text and name, for errors, of a built-in mapping or a YAML file. Raises UsageError if it is missing."""
    return find_text(name_or_path, builtin_mappings(), "mapping", " (`shopstream import --list`)")


def load_mapping(
    name_or_path: str, answers: MappingOf[str, str] = MappingProxyType({}), shop: ShopMoney = UNSET_MONEY
) -> tuple[str, OrderMapping | ClickMapping]:
    """Return a mapping and its name, from the built-in ones or a YAML file. Arguments as `parse_mapping`.

    Raises:
        UsageError: the mapping is missing or invalid. The message names file and line.
    """
    text, origin = mapping_text(name_or_path)
    return FilePath(name_or_path).stem, parse_mapping(text, origin, answers, shop)


def load_mappings(
    files: Sequence[str | FilePath],
    names: Sequence[str],
    answers: MappingOf[str, str] = MappingProxyType({}),
    shop: ShopMoney = UNSET_MONEY,
) -> list[tuple[str | FilePath, str, OrderMapping | ClickMapping]]:
    """Return each file, folder or glob with the name of its mapping and the mapping.

    Args:
        files: foreign logs.
        names: built-in mappings or YAML files: one for all files, or one per file.
        answers: name -> value for each `{ask: name}` of the mappings.
        shop: what the settings say about amounts.

    Raises:
        UsageError: the numbers do not fit, or a mapping is missing or invalid.
    """
    if len(names) not in (1, len(files)):
        raise UsageError(
            f"{len(files)} files, but {len(names)} mappings.", "Give one mapping for all, or one per file."
        )
    check_answers([mapping_text(name)[0] for name in names], answers)
    loaded = {name: load_mapping(name, answers, shop) for name in dict.fromkeys(names)}
    every = list(names) * len(files) if len(names) == 1 else names
    return [(file, *loaded[name]) for file, name in zip(files, every, strict=True)]


def check_answers(texts: Sequence[str], answers: MappingOf[str, str]) -> None:
    """Check that the YAML texts of mappings ask for each answer. Raises UsageError if none asks for it."""
    requested = {question for text in texts for question in questions(text)}
    for answer in answers:
        if answer not in requested:
            known = (
                f"Write one of {', '.join(sorted(requested))}." if requested else "Write the value into the mapping."
            )
            raise UsageError(f"--set {answer}: no mapping asks for {answer}.", known)


def parse_mapping(
    text: str,
    origin: str,
    answers: MappingOf[str, str] = MappingProxyType({}),
    shop: ShopMoney = UNSET_MONEY,
    rates_text: str | None = None,
) -> OrderMapping | ClickMapping:
    """Return the mapping of a YAML text.

    Args:
        text: YAML.
        origin: path of the file, or another name for errors.
        answers: name -> value for each `{ask: name}` of the text.
        shop: what the settings say about amounts.
        rates_text: text of the file of rates; None: it is read from the folder of the mapping.

    Raises:
        UsageError: the text is no mapping, refuses its source, or asks for a value that is not given. Or its file of
            rates is none, or its amounts do not become those of the shop.
    """
    read = read_yaml(text, origin)
    content = dict(read.content) if isinstance(read.content, dict) else read.content
    if isinstance(content, dict) and "refused" in content:
        raise UsageError(f"{origin}: {content['refused']}", "docs/import.md lists the mappings.")
    to_ask = content.pop("ask", {}) if isinstance(content, dict) else {}
    try:
        mapping = _MAPPING.validate_python(_answered(content, to_ask, answers, origin))
    except ValidationError as error:
        shows = "map show" if isinstance(content, dict) and "from" in content else "import --show"
        known = f"docs/import.md lists what a mapping may contain; `shopstream {shows} NAME` prints one."
        raise UsageError(read.refusal(error), known) from None
    mapping._conversion = conversion_of(mapping.currency, mapping.time, read, shop, rates_text)  # noqa: SLF001
    return mapping


def _answered(content: Any, to_ask: Any, answers: MappingOf[str, str], origin: str) -> Any:
    """Replace each `{ask: name}` by the user's value."""
    if isinstance(content, dict):
        if set(content) == {"ask"}:
            name = content["ask"]
            if name not in answers:
                question = to_ask.get(name, name) if isinstance(to_ask, dict) else name
                raise UsageError(f"{origin} needs {name}: {question}.", f"Add --set {name}=VALUE.")
            return answers[name]
        return {key: _answered(value, to_ask, answers, origin) for key, value in content.items()}
    if isinstance(content, list):
        return [_answered(value, to_ask, answers, origin) for value in content]
    return content


def questions(text: str) -> dict[str, str]:
    """Return name -> question of the values that a mapping asks for."""
    content = read_yaml(text, "mapping").content
    to_ask = content.get("ask", {}) if isinstance(content, dict) else {}
    listed = dict(to_ask) if isinstance(to_ask, dict) else {}
    return {name: listed.get(name, name) for name in _requested(content)} | listed


def _requested(content: Any) -> Iterator[str]:
    """Yield the name of each `{ask: name}`."""
    if isinstance(content, dict) and set(content) == {"ask"} and isinstance(content["ask"], str):
        yield content["ask"]
    elif isinstance(content, dict | list):
        for value in content.values() if isinstance(content, dict) else content:
            yield from _requested(value)
