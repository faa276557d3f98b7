"""Defines `file` of a mapping: how the bytes of a file become rows and columns."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from connectors.tables.json_path import parse_path

Format = Literal["csv", "json", "parquet", "excel", "whitespace"]
TEXT_FORMATS: Final = frozenset({"csv", "json", "whitespace"})

_NOT_CHARSETS: Final = frozenset(
    {"idna", "punycode", "unicode-escape", "raw-unicode-escape", "undefined", "utf-7", "mbcs", "oem"}
)
"""Codecs of Python that are escapes or transfer forms. Files of a shop are not in them."""

_USED_BY: Final = {
    "columns": ("csv", "whitespace"),
    "separator": ("csv",),
    "quote": ("csv",),
    "skip_lines": ("csv", "whitespace", "excel"),
    "encoding": ("csv", "json", "whitespace"),
    "sheet": ("excel",),
    "records": ("json",),
}
"""Key -> formats that have it. A key of another format is a mistake and would have no effect."""


def encoding_name(name: str) -> str:
    """Return Python's name of an encoding. Raises ValueError if there is no such encoding of text."""
    try:
        codec = codecs.lookup(name)
    except (LookupError, ValueError):
        raise ValueError(f"{name!r} is no encoding, such as utf-8, cp1252, iso-8859-1 or utf-16") from None
    if not codec._is_text_encoding or codec.name.replace("_", "-") in _NOT_CHARSETS:  # noqa: SLF001 - no public name
        raise ValueError(f"{name!r} is no encoding of files, such as utf-8, cp1252, iso-8859-1 or utf-16")
    return codec.name


def _sign(text: str) -> str:
    if text in "\r\n\0\ufeff":
        raise ValueError("give one character, but no line end")
    return text


def _list_path(text: str) -> str:
    if parse_path(text).relative:
        raise ValueError("give a path from the top of the document, such as data.orders")
    return text


Column = Annotated[str, StringConstraints(min_length=1)]
Sign = Annotated[str, StringConstraints(min_length=1, max_length=1), AfterValidator(_sign)]


Sheets = Annotated[tuple[Column, ...], Field(strict=False, min_length=1)]


class FileFormat(BaseModel):
    """Format of a file. An unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    format: Format
    columns: tuple[Column, ...] | None = Field(default=None, strict=False)
    """Column names of a file without a header: always for `whitespace`."""
    separator: Sign = ","
    quote: Sign | None = '"'
    """Character around a value that contains separators or line ends. None: no character has this meaning."""
    skip_lines: Annotated[int, Field(ge=0)] = 0
    """Lines before the header."""
    encoding: Annotated[str, AfterValidator(encoding_name)] | None = None
    """Encoding of the text. None: by the byte-order mark, else UTF-8."""
    decimal: Literal[".", ","] = "."
    thousands: Literal[".", ",", " ", "'"] | None = None
    """Sign between groups of three digits. See `grouping`."""
    missing: tuple[str, ...] = Field(default=(), strict=False)
    """Texts that mean "no value", in addition to the empty text."""
    sheet: Column | Sheets | None = None
    """Sheet of an Excel workbook, or several whose rows are one log. None: the only sheet with values."""
    records: Annotated[Column, AfterValidator(_list_path)] | None = None
    """Path of the list of records within one JSON document."""

    @property
    def grouping(self) -> str | None:
        """Sign between groups of three digits: `thousands`, else "." if the decimal sign is ","."""
        return self.thousands if self.thousands is not None or self.decimal == "." else "."

    def by_sheet(self) -> list[tuple[str | None, FileFormat]]:
        """Return each sheet that is named with the format of its rows; None and this format, if it names none."""
        names: Sequence[str | None] = self.sheet if isinstance(self.sheet, tuple) else (self.sheet,)
        return [(name, self.model_copy(update={"sheet": name})) for name in names]

    @property
    def missing_texts(self) -> list[str]:
        """Texts without surrounding blanks that mean "no value". The empty text is one of them."""
        return list(dict.fromkeys(["", *(text.strip() for text in self.missing)]))

    @model_validator(mode="after")
    def _consistent(self) -> FileFormat:
        for key, formats in _USED_BY.items():
            given = getattr(self, key) != type(self).model_fields[key].default
            if given and self.format not in formats:
                raise ValueError(f"{key} has no meaning in a {self.format} file; remove it")
        if self.format == "whitespace" and not self.columns:
            raise ValueError("a whitespace file has no header: list its columns")
        if self.columns and len(set(self.columns)) < len(self.columns):
            raise ValueError("a column is named twice")
        if self.columns and any("\0" in name for name in self.columns):
            raise ValueError("a column name holds a NUL character")
        if self.separator == self.quote:
            raise ValueError("separator and quote are the same character")
        if self.thousands == self.decimal:
            raise ValueError("decimal and thousands are the same sign")
        return self
