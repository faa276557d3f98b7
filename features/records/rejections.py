"""Rereads a message that the strict decoder refused: it is accepted after all, or rejected with a reason.

The strict decoder does not accept integers written as 1.0 or 1e2, and stops at the first of two equal keys. Both forms
are rare but valid. A refused message is therefore split into its fields; of equal keys the last counts. Its integers
are rewritten in plain form, and it is decoded strictly once more. A final refusal has a reason: path, expected, got.
"""

from __future__ import annotations

import typing
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import msgspec
from msgspec import inspect

from features.schema import AMOUNT_MAX, CONTACT_FIELDS

REASON_LENGTH_MAX: Final = 300
"""Most characters of a reason; longer reasons are cut."""

_SHOWN_LENGTH_MAX: Final = 60
_INTEGER_DIGITS_MAX: Final = 4_300
"""Most digits of an integer that Python parses. The same limit applies to integers with an exponent."""

_RAW_OBJECT: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_RAW_LIST: Final = msgspec.json.Decoder(list[msgspec.Raw])
_TEXT: Final = msgspec.json.Decoder(str)


class MalformedError(Exception):
    """A message that is not a valid record. Its text is the reason and never contains a value of CONTACT_FIELDS."""

    def __init__(self, reason: str) -> None:
        super().__init__(shortened(reason, REASON_LENGTH_MAX))

    @property
    def reason(self) -> str:
        """Description of the error, at most REASON_LENGTH_MAX characters."""
        return str(self)


@dataclass(frozen=True, slots=True)
class FieldForm:
    """Required form of one field of a record.

    Attributes:
        read: strict decoder of the field's JSON.
        expected: description of the form in words.
        bytes_max: most bytes of UTF-8, if the field is a bounded text.
        elements_max: most elements, if the field is a list of objects.
        element: form of the elements, if the field is a list of objects.
    """

    name: str
    required: bool
    is_integer: bool
    read: Callable[[msgspec.Raw], Any]
    expected: str
    bytes_max: int | None
    elements_max: int | None
    element: RecordForm | None

    @property
    def at_most(self) -> str:
        """Bound of a text or of a list, in words."""
        return (
            f"expected at most {self.bytes_max} bytes"
            if self.bytes_max
            else f"expected at most {self.elements_max} lines"
        )


@dataclass(frozen=True, slots=True)
class RecordForm:
    """Required form of a record, derived from its type in features/schema.py.

    Attributes:
        read: strict decoder of the record's JSON.
        fields: forms of all fields, in declaration order.
        integers: fields that are integers, or objects that contain integers.
        texts: fields that are bounded texts, or objects that contain bounded texts.
    """

    read: Callable[[bytes], msgspec.Struct]
    fields: tuple[FieldForm, ...]
    integers: tuple[FieldForm, ...]
    texts: tuple[FieldForm, ...]


def form_of(record: type[msgspec.Struct]) -> RecordForm:
    """Return the form of a record type: its strict decoder and those of its fields."""
    hints = typing.get_type_hints(record, include_extras=True)
    info = inspect.type_info(record)
    assert isinstance(info, inspect.StructType)
    fields = tuple(_field_form(field, hints[field.name]) for field in info.fields)
    return RecordForm(
        read=msgspec.json.Decoder(record).decode,
        fields=fields,
        integers=tuple(field for field in fields if field.is_integer or field.element is not None),
        texts=tuple(field for field in fields if field.bytes_max is not None or field.element is not None),
    )


def _field_form(field: inspect.Field, hint: object) -> FieldForm:
    options = field.type.types if isinstance(field.type, inspect.UnionType) else (field.type,)
    lists = [option for option in options if isinstance(option, inspect.ListType)]
    elements = [option.item_type for option in lists]
    return FieldForm(
        name=field.name,
        required=field.required,
        is_integer=any(isinstance(option, inspect.IntType) for option in options),
        read=msgspec.json.Decoder(hint).decode,
        expected=" or ".join(_in_words(option) for option in options),
        bytes_max=next((option.max_length for option in options if isinstance(option, inspect.StrType)), None),
        elements_max=lists[0].max_length if lists else None,
        element=form_of(elements[0].cls) if elements and isinstance(elements[0], inspect.StructType) else None,
    )


def _in_words(kind: inspect.Type) -> str:
    words = "null"
    match kind:
        case inspect.LiteralType():
            words = "one of " + ", ".join(map(str, kind.values))
        case inspect.StrType():
            words = "a non-empty string" if kind.min_length else "a string"
        case inspect.IntType():
            words = "an integer" if kind.ge is None else f"an integer of at least {kind.ge}"
        case inspect.FloatType():
            words = f"a number from 0 to {AMOUNT_MAX:.0f}"
        case inspect.BoolType():
            words = "true or false"
        case inspect.ListType():
            words = "a list of objects"
    return words


def reread(form: RecordForm, value: bytes) -> msgspec.Struct:
    """Read a message that `form.read` refused.

    Args:
        form: form of the expected record.
        value: bytes of the message.

    Returns:
        The record, if the only problems are the notation of an integer or a duplicate key.

    Raises:
        MalformedError: any other problem, with the reason.
    """
    check_utf8(value)
    try:
        fields = _raw_object(value)
        return form.read(_plain(form, fields))
    except RecursionError:
        raise MalformedError("the JSON is nested too deeply to be read") from None
    except msgspec.ValidationError as error:
        reason = _first_fault(form, fields, "") or f"not a valid record: {error}"
        raise MalformedError(reason) from None


def check_utf8(value: bytes) -> None:
    """Raise MalformedError if any part of a message is not UTF-8, including unknown fields."""
    try:
        value.decode()
    except UnicodeDecodeError as error:
        raise MalformedError(f"not UTF-8: byte 0x{value[error.start]:02x} at position {error.start}") from None


def _raw_object(value: bytes) -> dict[str, msgspec.Raw]:
    try:
        return _RAW_OBJECT.decode(value)
    except msgspec.ValidationError:
        raise MalformedError(f"expected a JSON object, got {_got(value.strip(), is_private=True)}") from None
    except msgspec.DecodeError as error:
        raise MalformedError(f"not JSON: {str(error).removeprefix('JSON is malformed: ')}") from None


def _plain(form: RecordForm, fields: dict[str, msgspec.Raw]) -> bytes:
    """Return the object as JSON, with every integer of the record in digits only. Changes `fields` in place."""
    for field in form.integers:
        raw = fields.get(field.name)
        if raw is None:
            continue
        if field.is_integer:
            fields[field.name] = _digits(raw)
        elif field.element is not None and _first_byte(raw) == b"[":
            elements = _RAW_LIST.decode(raw)
            if field.elements_max is None or len(elements) <= field.elements_max:
                plain = [_plain_element(field.element, element) for element in elements]
                fields[field.name] = msgspec.Raw(msgspec.json.encode(plain))
    return msgspec.json.encode(fields)


def _plain_element(form: RecordForm, raw: msgspec.Raw) -> msgspec.Raw:
    return msgspec.Raw(_plain(form, _RAW_OBJECT.decode(raw))) if _first_byte(raw) == b"{" else raw


def _digits(raw: msgspec.Raw) -> msgspec.Raw:
    """Return 1.0, 1e2 and 10e-1 as 1, 100 and 1; return anything else unchanged."""
    text = bytes(raw)
    if text[:1] not in b"-0123456789" or text.lstrip(b"-").isdigit():
        return raw
    if text.endswith(b".0") and text[:-2].isdigit():  # the form in which most writers write a whole float
        return msgspec.Raw(text[:-2])
    try:
        number = Decimal(text.decode())
    except InvalidOperation:  # the exponent is too large for Decimal: only a zero can be rewritten
        is_zero = not text.lower().partition(b"e")[0].strip(b"-.0")
        return msgspec.Raw(b"0") if is_zero else raw
    if number.is_zero():
        return msgspec.Raw(b"0")
    # the size is checked first: 1e999999999 must not be expanded
    if not 0 <= number.adjusted() < _INTEGER_DIGITS_MAX or number != number.to_integral_value():
        return raw
    return msgspec.Raw(str(int(number)).encode())


def _first_fault(form: RecordForm, fields: dict[str, msgspec.Raw], path: str) -> str | None:
    for field in form.fields:
        raw, name = fields.get(field.name), f"{path}{field.name}"
        if raw is None:
            if field.required:
                return f"`{name}` is missing"
            continue
        fault = _field_fault(field, raw, name)
        if fault:
            return fault
    return None


def _field_fault(field: FieldForm, raw: msgspec.Raw, name: str) -> str | None:
    if field.bytes_max is not None and _first_byte(raw) == b'"':
        size = len(_TEXT.decode(raw).encode())
        if size > field.bytes_max:
            return _too_long(field, name, size)
    try:
        field.read(raw)
    except msgspec.DecodeError:
        pass
    else:
        return None
    if field.element is not None and _first_byte(raw) == b"[":
        elements = _RAW_LIST.decode(raw)
        if field.elements_max is not None and len(elements) > field.elements_max:
            return _too_long(field, name, len(elements))
        for n, element in enumerate(elements):
            if _first_byte(element) != b"{":
                return f"`{name}[{n}]`: expected an object, got {_got(bytes(element), is_private=False)}"
            fault = _first_fault(field.element, _RAW_OBJECT.decode(element), f"{name}[{n}].")
            if fault:
                return fault
    return f"`{name}`: expected {field.expected}, got {_got(bytes(raw), is_private=field.name in CONTACT_FIELDS)}"


def _too_long(field: FieldForm, name: str, size: int) -> str:
    return f"`{name}`: {field.at_most}, got {size}"


def long_text(form: RecordForm, record: msgspec.Struct) -> str | None:
    """Return why a decoded record is invalid after all: a text has too many bytes despite few enough characters."""
    fault = _long_text(form, record)
    return None if fault is None else _too_long(*fault)


def _long_text(form: RecordForm, record: msgspec.Struct) -> tuple[FieldForm, str, int] | None:
    for field in form.texts:
        value = getattr(record, field.name)
        if value is None:
            continue
        if field.element is not None:
            for n, element in enumerate(value):
                fault = _long_text(field.element, element)
                if fault is not None:
                    return fault[0], f"{field.name}[{n}].{fault[1]}", fault[2]
        # a character takes at most four bytes
        elif field.bytes_max is not None and len(value) * 4 > field.bytes_max:
            size = len(value.encode())
            if size > field.bytes_max:
                return field, field.name, size
    return None


def _got(raw: bytes, *, is_private: bool) -> str:
    """Describe a JSON value: its kind and, unless it is private, the value itself."""
    kinds = {b'"': "a string", b"{": "an object", b"[": "a list", b"t": "true", b"f": "false", b"n": "null"}
    kind = kinds.get(raw[:1], "a number")
    if raw == b'""':
        return "an empty string"
    if kind == "a string" and not is_private:
        return f"the string {quoted(_TEXT.decode(raw))}"
    if kind == "a number" and not is_private:
        return shortened(raw.decode(), _SHOWN_LENGTH_MAX)
    return kind


def quoted(text: str) -> str:
    """Return a string for a reason: in quotes, escaped, shortened."""
    return repr(shortened(text, _SHOWN_LENGTH_MAX))


def shortened(text: str, length_max: int) -> str:
    """Return the text, or its beginning and an ellipsis, at most `length_max` characters."""
    return text if len(text) <= length_max else text[: length_max - 1] + "…"


def _first_byte(raw: msgspec.Raw) -> bytes:
    return bytes(raw)[:1]
