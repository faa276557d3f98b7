"""Determines packing, format and encoding of a file by its content, not by its name."""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from connectors.tables.encodings import detect
from connectors.tables.log_files import LogFile, packing
from features.errors import ShopstreamError
from producers.inspection.findings import Question, counted, listed

SCAN_BYTES_MAX: Final = 1 << 28
"""Unpacked bytes that are checked for the encoding."""

_CHUNK_BYTES: Final = 1 << 20
_WORDS_MAX: Final = 400
_CHOICES_MAX: Final = 4
_MARKS: Final = (
    (codecs.BOM_UTF8, "UTF-8"),
    (codecs.BOM_UTF32_LE, "UTF-32 (little endian)"),
    (codecs.BOM_UTF32_BE, "UTF-32 (big endian)"),
    (codecs.BOM_UTF16_LE, "UTF-16 (little endian)"),
    (codecs.BOM_UTF16_BE, "UTF-16 (big endian)"),
)
_BINARY: Final = (
    (b"SQLite format 3\0", "a SQLite database"), (b"ORC", "an ORC file"), (b"Obj\x01", "an Avro file"),
    (b"ARROW1", "an Arrow file"), (b"FEA1", "a Feather file"), (b"%PDF", "a PDF document"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook (.xls)"), (b"{\\rtf", "an RTF document"), (b"\x89PNG", "a picture"),
)  # fmt: skip
"""First bytes -> formats that are recognised to be refused."""

_COMMON: Final = (
    "cp1252", "iso8859-15", "cp1250", "cp1251", "cp1253", "cp1254", "cp1257", "koi8-r", "cp850", "mac-roman",
    "shift-jis", "gb18030", "big5", "euc-kr", "euc-jp",
)  # fmt: skip
"""Encodings of shop systems, the commonest first. Those of equal plausibility keep this order."""

_WORD: Final = re.compile(rb"[A-Za-z\x80-\xff]*[\x80-\xff][A-Za-z\x80-\xff]*")
_ASCII: Final = bytes(range(128))
_SCRIPTS: Final = ("LATIN", "CYRILLIC", "GREEK", "HANGUL", "HIRAGANA", "KATAKANA", "CJK")
_USUAL_SIGNS: Final = frozenset("€£¥§°\u2013\u2014\u2018\u2019“”„…«»·\u00a0²³µ®™©½¿¡ºª")


@dataclass(frozen=True, slots=True)
class TextEncoding:
    """Encoding of a text file.

    Attributes:
        name: name to declare in `file.encoding`. None: the byte-order mark or UTF-8 needs no declaration.
        label: name for people.
        evidence: sentence with the reason.
        ascii_only: whether the file has ASCII characters alone, which many encodings share.
        question: ambiguity, if several encodings fit.
        warnings: faults that no encoding explains.
    """

    name: str | None
    label: str
    evidence: str
    ascii_only: bool = False
    question: Question | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FileKind:
    """Packing and format of a file.

    Attributes:
        packing: `gzip`, `zstd`, `zip`; None: plain.
        format: `parquet`, `excel`, `json` or `text`.
        encoding: encoding of a text.
    """

    packing: str | None
    format: str
    encoding: TextEncoding | None = None


def file_kind(log: LogFile) -> FileKind:
    """Determine packing, format and encoding of a file.

    Raises:
        ShopstreamError: the file is empty, unreadable, damaged, or of a format that no mapping reads.
    """
    packed = packing(log)
    start = log.start(_CHUNK_BYTES)
    if not start:
        raise ShopstreamError(f"{log.name} is empty.", "Give a file with rows.")
    if start.startswith(b"PAR1"):
        return FileKind(packed, "parquet")
    if start.startswith(b"PK\x03\x04"):
        return FileKind(packed, "excel")
    other = next((name for magic, name in _BINARY if start.startswith(magic)), None)
    if other is not None:
        raise ShopstreamError(f"{log.name} is {other}.", "Export it as CSV, JSON Lines, Parquet or .xlsx.")
    encoding = text_encoding(log)
    text = start.decode(_codec(encoding, start), "replace").lstrip("\ufeff \t\r\n")
    if re.match(r"(?i)<(?:\?xml|!doctype|html|[a-z][\w:-]*[\s/>])", text):
        raise ShopstreamError(f"{log.name} is XML or HTML.", "Export it as CSV, JSON Lines, Parquet or .xlsx.")
    return FileKind(packed, "json" if _is_json(text) else "text", encoding)


def _is_json(text: str) -> bool:
    """Return whether a text begins with a JSON object, or an array of objects."""
    return bool(re.match(r'\{\s*(?:"|\}|$)|\[\s*(?:\{|\]|$)', text))


def _codec(encoding: TextEncoding, start: bytes) -> str:
    return encoding.name or (detect(start[:4096]) or ["utf-8"])[0]


def text_encoding(log: LogFile) -> TextEncoding:
    """Determine the encoding of a text file by its byte-order mark, strict UTF-8, or all encodings that fit.

    Raises:
        ShopstreamError: the file is binary.
    """
    start = log.start(_CHUNK_BYTES)
    for mark, label in _MARKS:
        if start.startswith(mark):
            return TextEncoding(None, label, f"The byte-order mark is that of {label}.")
    if b"\0" in start:
        likely = detect(start[:4096])
        if likely and likely[0].startswith(("utf-16", "utf-32")):
            label = likely[0].upper()
            return TextEncoding(
                likely[0], label, f"Every second byte is 0, as in {label}; a byte-order mark is missing."
            )
        raise ShopstreamError(f"{log.name} is no text: it has NUL bytes.", "Export it as CSV, JSON Lines or Parquet.")
    scan = _Scan()
    scan.read(log)
    extent = "" if scan.complete else f" in the first {SCAN_BYTES_MAX >> 20} MiB"
    if scan.fault_line is None:
        if scan.ascii_only:
            return TextEncoding(None, "UTF-8", f"All characters are ASCII{extent}.", ascii_only=True)
        return TextEncoding(None, "UTF-8", f"All bytes are valid UTF-8{extent}.")
    return _other_encoding(scan, extent)


@dataclass(slots=True)
class _Scan:
    """Check of a file's bytes for UTF-8, with the words that have other bytes than ASCII."""

    complete: bool = True
    ascii_only: bool = True
    fault_line: int | None = None
    used: set[int] = field(default_factory=set)
    words: dict[bytes, int] = field(default_factory=dict)

    def read(self, log: LogFile) -> None:
        """Read the file, up to SCAN_BYTES_MAX."""
        line, size = 1, 0
        with log.open() as stream:
            for chunk in _whole_lines(stream):
                others = chunk.translate(None, _ASCII)
                if others:
                    self.ascii_only = False
                    self.used.update(others)
                    self._note(chunk, line)
                line += chunk.count(b"\n") or chunk.count(b"\r")
                size += len(chunk)
                if size >= SCAN_BYTES_MAX:
                    self.complete = False
                    return

    def _note(self, chunk: bytes, line: int) -> None:
        try:
            chunk.decode("utf-8")
            fault = False
        except UnicodeDecodeError as error:
            fault = True
            if self.fault_line is None:
                self.fault_line = line + (chunk[: error.start].count(b"\n") or chunk[: error.start].count(b"\r"))
        if fault and len(self.words) < _WORDS_MAX:
            for match in _WORD.finditer(chunk):
                self.words.setdefault(match[0], line + chunk[: match.start()].count(b"\n"))
                if len(self.words) >= _WORDS_MAX:
                    return


def _whole_lines(stream: Iterator[bytes] | object) -> Iterator[bytes]:
    """Yield chunks that end with a line, so that no character is cut."""
    rest = b""
    read = stream.read  # type: ignore[union-attr]
    while chunk := read(_CHUNK_BYTES):
        joined = rest + chunk
        end = max(joined.rfind(b"\n"), joined.rfind(b"\r")) + 1
        rest = joined[end:] if end else b""
        yield joined[:end] if end else joined
    if rest:
        yield rest


def _other_encoding(scan: _Scan, extent: str) -> TextEncoding:
    """Return the encodings that fit a file that is not UTF-8. Which one it is, is a question, never a guess."""
    word, line = next((one for one in scan.words.items() if not _is_utf8(one[0])), (b"?", scan.fault_line or 1))
    reason = f"Line {line} is not UTF-8{extent}: {_shown_bytes(word)}."
    texts = _readings(scan)
    if not texts:
        return TextEncoding(None, "unknown", reason, warnings=(f"{reason} No encoding fits.",))
    names = list(texts)
    warnings = []
    utf8 = sum(map(_is_utf8, scan.words))
    if utf8 * 5 >= len(scan.words):
        warnings.append(
            f"{utf8} of {counted(len(scan.words), 'word')} with accents are UTF-8, others are not:"
            " the file mixes encodings."
        )
    groups: dict[tuple[str, ...], list[str]] = {}
    for name in names:
        groups.setdefault(texts[name], []).append(name)
    first, *others = groups.items()
    differences = []
    for text, same in others[:_CHOICES_MAX]:
        at = next(n for n, (one, other) in enumerate(zip(first[0], text, strict=True)) if one != other)
        differences.append(f"{first[0][at]!r} in {first[1][0]} is {text[at]!r} in {' and '.join(same[:3])}")
    alike = f" {listed(first[1], 4)} read alike." if len(first[1]) > 1 else ""
    sentence = f"{reason}{alike} {listed(differences, 4)}." if differences else f"{reason}{alike}"
    question = Question(
        "encoding", None, tuple(names), sentence,
        "Compare the words with the right spelling and write that encoding in file.encoding.",
    )  # fmt: skip
    return TextEncoding(names[0], names[0], reason, question=question, warnings=tuple(warnings))


def _readings(scan: _Scan) -> dict[str, tuple[str, ...]]:
    """Return encoding -> text of every word, the most plausible first."""
    words = list(scan.words)
    sample = b"\n".join(words)
    scored: list[tuple[float, int, str, tuple[str, ...]]] = []
    names = [*_COMMON, *(name for name in detect(sample) if name not in _COMMON)]
    for rank, name in enumerate(dict.fromkeys(names)):
        try:
            texts = tuple(word.decode(name) for word in words)
            if codecs.lookup(name).name.startswith(("cp", "iso8859", "koi8", "mac", "charmap")):
                bytes(sorted(scan.used)).decode(name)
        except (UnicodeDecodeError, LookupError):
            continue
        scored.append((-round(_plausibility(texts), 1), rank, name, texts))
    return {name: texts for _, _, name, texts in sorted(scored)}


def _plausibility(texts: tuple[str, ...]) -> float:
    """Return the mean score of words: highest for characters of one script, with capitals only in front."""
    scores = [_word_score(text) for text in texts if text]
    return sum(scores) / len(scores) if scores else 0.0


def _word_score(word: str) -> float:
    score = 1.0
    others = [character for character in word if ord(character) > 127]
    for character in others:
        if not character.isalpha():
            score -= 0.3 if character in _USUAL_SIGNS else 1.0
    alphabetic = [character for character in word if character.isalpha()]
    scripts = Counter(_script(character) for character in alphabetic)
    if len(scripts) > 1:
        score -= 0.8
    if any(a.islower() and b.isupper() for a, b in pairwise(word)):
        score -= 0.6
    foreign = sum(ord(character) > 127 for character in alphabetic)
    if scripts and next(iter(scripts)) == "LATIN" and len(alphabetic) > 3 and foreign * 2 > len(alphabetic):
        score -= 0.6  # few words of Latin script consist of accents
    return score


def _script(character: str) -> str:
    name = unicodedata.name(character, "")
    return next((script for script in _SCRIPTS if name.startswith(script)), "other")


def _is_utf8(word: bytes) -> bool:
    try:
        word.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _shown_bytes(word: bytes) -> str:
    return repr(word[:40])[1:]
