"""Decodes text files strictly: by the declared encoding, by a byte-order mark, else as UTF-8. Nothing is guessed."""

from __future__ import annotations

import codecs
import io
import re
from typing import Any, BinaryIO, Final

import charset_normalizer

from connectors.tables.batches import shown
from connectors.tables.file_format import FileFormat
from connectors.tables.log_files import LogFile
from features.errors import ShopstreamError

SAMPLE_BYTES: Final = 1 << 16
"""Bytes that the detector reads."""

_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
"""Byte-order mark -> encoding. UTF-32 comes first: its mark begins with the one of UTF-16."""

_WINDOWS: Final = {
    "iso8859-1": "cp1252",
    "iso8859-2": "cp1250",
    "iso8859-9": "cp1254",
    "iso8859-15": "cp1252",
}
"""Encoding -> Windows encoding with letters and signs for its control characters."""
_CONTROLS: Final = re.compile(b"[\x80-\x9f]")
_CHUNK_BYTES: Final = 1 << 18
_START_BYTES: Final = 64
_CHARACTERS_MIN: Final = 32
"""Bytes outside ASCII from which the detector distinguishes alphabets."""
_USUAL: Final = ("cp1252", "cp1250")
_LATIN: Final = (
    "cp1250",
    "cp1252",
    "cp1254",
    "cp1257",
    "cp1258",
    "iso8859",
    "latin",
    "mac",
    "cp437",
    "cp775",
    "cp85",
    "cp86",
    "hp-roman8",
)
_READINGS_MAX: Final = 3
_SHOWN_CHARACTERS: Final = 40
_LIKELY: Final = 0.5
_SURE: Final = 0.9
"""Share of the characters in ASCII by which UTF-16 and UTF-32 are named, and refused if they are not declared."""


def open_text(log: LogFile, how: FileFormat) -> io.TextIOWrapper:
    """Open a log as strictly decoded text without the byte-order mark. Line ends stay as they are.

    Raises:
        ShopstreamError: the byte-order mark contradicts the declared encoding, or UTF-16 has none.
    """
    stream = log.open()
    start = stream.peek(_START_BYTES)[:_START_BYTES]
    encoding, mark_bytes = _encoding(log, how, start)
    if how.encoding is None and not mark_bytes and (wide := _without_mark(start, _SURE)):
        stream.close()
        raise ShopstreamError(
            f"{log.name} has the NUL bytes of {wide} and no byte-order mark.",
            f"Write `file.encoding: {wide}` in the mapping.",
        )
    stream.read(mark_bytes)
    if how.encoding is not None and _has_one_byte_per_character(encoding):
        stream = io.BufferedReader(_OneByteText(stream, log.name, encoding), _CHUNK_BYTES)
    return io.TextIOWrapper(stream, encoding, errors="strict", newline="")


class _OneByteText(io.RawIOBase):
    """Bytes of a declared encoding with one byte per character. Such an encoding reads nearly every file, also wrongly.

    Refuses two kinds of files that the declaration does not fit: those whose characters outside ASCII are all UTF-8,
    and those with control characters where the similar Windows encoding has letters and signs.
    """

    def __init__(self, stream: BinaryIO, name: str, encoding: str) -> None:
        self._stream, self._name, self._encoding = stream, name, encoding
        self._utf8: codecs.IncrementalDecoder | None = codecs.getincrementaldecoder("utf-8")("strict")
        self._ascii = True
        self._line = 1

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        chunk = self._stream.read(len(buffer))
        if not chunk or not chunk.isascii():
            self._check(chunk)
        self._line += chunk.count(b"\n")
        buffer[: len(chunk)] = chunk
        return len(chunk)

    def close(self) -> None:
        self._stream.close()
        super().close()

    def _check(self, chunk: bytes) -> None:
        """Raise ShopstreamError if the declared encoding does not fit. An empty chunk is the end of the file."""
        if self._encoding in _WINDOWS and (control := _CONTROLS.search(chunk)):
            line = self._line + chunk.count(b"\n", 0, control.start())
            windows, byte = _WINDOWS[self._encoding], control.group()
            raise ShopstreamError(
                f"{self._name}, line {line}: 0x{byte.hex().upper()} is a control character in {self._encoding}.",
                f"Write `file.encoding: {windows}` in the mapping: there it is {byte.decode(windows, 'replace')!r}.",
            )
        self._ascii = self._ascii and chunk.isascii()
        if self._utf8 is None:
            return
        try:
            self._utf8.decode(chunk, final=not chunk)
        except UnicodeDecodeError:
            self._utf8 = None
            return
        if not chunk and not self._ascii:
            raise ShopstreamError(
                f"{self._name} is UTF-8, but the mapping has {self._encoding}.",
                "Remove `file.encoding` from the mapping.",
            )


def _has_one_byte_per_character(encoding: str) -> bool:
    """Return whether an encoding extends ASCII by one byte per character, as cp1252 does."""
    if encoding.startswith("utf"):
        return False
    upper = bytes(range(0x80, 0x100)).decode(encoding, "replace")
    return b"a".decode(encoding, "replace") == "a" and len(upper) == len(range(0x80, 0x100))


def encoding_fault(log: LogFile, how: FileFormat) -> ShopstreamError:
    """Return the error for a file whose bytes do not fit the encoding. Reads the file up to the first such byte."""
    with log.open() as stream:
        sample = stream.peek(SAMPLE_BYTES)[:SAMPLE_BYTES]
        encoding, mark_bytes = _encoding(log, how, sample[:4])
        stream.read(mark_bytes)
        line, bad, context = _first_fault(stream, encoding)
    shown_bytes = " ".join(f"0x{byte:02X}" for byte in bad[:4])
    texts = _readings(context, encoding)
    if texts:
        readings = "; ".join(f"{name} reads '{text}'" for name, text in texts.items())
        remedy = f"Write `file.encoding: {next(iter(texts))}` in the mapping if its text is right. {readings}."
    else:
        remedy = "Write its `file.encoding` in the mapping."
    return ShopstreamError(f"{log.name}, line {line}: {shown_bytes} is not {encoding.upper()}.", remedy)


def detect(sample: bytes) -> list[str]:
    """Return the likely encodings of a text, the likeliest first.

    Args:
        sample: beginning or part of a file.
    """
    for mark, encoding in _MARKS:
        if sample.startswith(mark):
            return [encoding]
    wide = _without_mark(sample)
    if wide:
        return [wide]
    try:
        codecs.getincrementaldecoder("utf-8")().decode(sample)
    except UnicodeDecodeError:
        return _matches(sample)
    return ["utf-8"]


def _matches(sample: bytes) -> list[str]:
    """Return the encodings that the detector names for bytes that are not UTF-8.

    Few characters fit many encodings alike. Among those, Windows-1252 is the usual one.
    """
    matches = charset_normalizer.from_bytes(sample)
    names = [name.replace("_", "-") for match in matches for name in (match.encoding, *match.could_be_from_charset)]
    few = sum(byte >= 0x80 for byte in sample) < _CHARACTERS_MIN
    if few or not names or names[0].startswith(_LATIN):
        names = [*(name for name in _USUAL if _fits(sample, name)), *names]
    return list(dict.fromkeys(names))


def _readings(sample: bytes, wrong: str) -> dict[str, str]:
    """Return encoding -> beginning of the text, for the likely encodings that read the text differently."""
    texts: dict[str, str] = {}
    for name in _matches(sample):
        if codecs.lookup(name).name != wrong and _fits(sample, name):
            texts.setdefault(sample.decode(name), name)
    return {name: shown(text[:_SHOWN_CHARACTERS]) for text, name in list(texts.items())[:_READINGS_MAX]}


def _fits(sample: bytes, encoding: str) -> bool:
    try:
        sample.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _encoding(log: LogFile, how: FileFormat, start: bytes) -> tuple[str, int]:
    """Return the encoding of a file that begins with `start`, and the number of bytes of its byte-order mark."""
    marked = next(((name, len(mark)) for mark, name in _MARKS if start.startswith(mark)), None)
    declared = how.encoding
    if declared is None:
        return marked or ("utf-8", 0)
    plain = "utf-8" if declared == "utf-8-sig" else declared
    if marked is None:
        if plain in ("utf-16", "utf-32") and start:
            raise ShopstreamError(
                f"{log.name} has no byte-order mark, so the order of its bytes is unknown.",
                f"Write `file.encoding: {plain}-le` or `file.encoding: {plain}-be` in the mapping.",
            )
        return plain, 0
    if marked[0] not in (plain, f"{plain}-le", f"{plain}-be"):
        raise ShopstreamError(
            f"{log.name} begins with the byte-order mark of {marked[0]}, but the mapping has {declared}.",
            "Remove `file.encoding` from the mapping.",
        )
    return marked


def _first_fault(stream: BinaryIO, encoding: str) -> tuple[int, bytes, bytes]:
    """Return line, bytes and surroundings of the first bytes that do not fit the encoding."""
    decoder = codecs.getincrementaldecoder(encoding)("strict")
    line, ended_by_return, previous = 1, False, b""
    while True:
        chunk = stream.read(_CHUNK_BYTES)
        try:
            text = decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            text = error.object[: error.start].decode(encoding, "replace")
            around = b"\n".join(one for one in (previous + chunk).split(b"\n") if not one.isascii())[:SAMPLE_BYTES]
            ends, _ = _line_ends(text, ended_by_return)
            return line + ends, error.object[error.start : max(error.end, error.start + 1)], around
        ends, ended_by_return = _line_ends(text, ended_by_return)
        line += ends
        previous = chunk
        if not chunk:
            return line, b"", previous


def _line_ends(text: str, after_return: bool) -> tuple[int, bool]:
    """Return the number of line ends in a text, and whether it ends with CR. CR LF is one, over two texts as well."""
    ends = text.count("\n") + text.count("\r") - text.count("\r\n")
    return ends - (after_return and text.startswith("\n")), text.endswith("\r") if text else after_return


def _without_mark(sample: bytes, share: float = _LIKELY) -> str | None:
    """Return UTF-16 or UTF-32 with its byte order if more than a share of the characters has their NUL bytes."""
    if b"\0" not in sample:
        return None
    for width, encoding, position in (
        (4, "utf-32-le", 0),
        (4, "utf-32-be", 3),
        (2, "utf-16-le", 0),
        (2, "utf-16-be", 1),
    ):
        units = [sample[at : at + width] for at in range(0, len(sample) - width + 1, width)][:4096]
        plain = sum(1 for unit in units if unit[position] and not any(unit[:position] + unit[position + 1 :]))
        if units and plain > share * len(units):
            return encoding
    return None
