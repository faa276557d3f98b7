"""Decodes text files strictly: by the declared encoding, by a byte-order mark, else as UTF-8. Nothing is guessed."""

from __future__ import annotations

import codecs
import io
from typing import BinaryIO, Final

import charset_normalizer

from connectors.tables.file_format import FileFormat
from connectors.tables.log_files import LogFile
from features.errors import ShopstreamError

SAMPLE_BYTES: Final = 1 << 18
"""Bytes that the detector reads."""

_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
"""Byte-order mark -> encoding. UTF-32 comes first: its mark begins with the one of UTF-16."""

_CHUNK_BYTES: Final = 1 << 18


def open_text(log: LogFile, how: FileFormat) -> io.TextIOWrapper:
    """Open a log as strictly decoded text without the byte-order mark. Line ends stay as they are.

    Raises:
        ShopstreamError: the byte-order mark contradicts the declared encoding, or UTF-16 has none.
    """
    stream = log.open()
    encoding, mark_bytes = _encoding(log, how, stream.peek(4)[:4])
    stream.read(mark_bytes)
    return io.TextIOWrapper(stream, encoding, errors="strict", newline="")


def encoding_fault(log: LogFile, how: FileFormat) -> ShopstreamError:
    """Return the error for a file whose bytes do not fit the encoding. Reads the file up to the first such byte."""
    with log.open() as stream:
        sample = stream.peek(SAMPLE_BYTES)[:SAMPLE_BYTES]
        encoding, mark_bytes = _encoding(log, how, sample[:4])
        stream.read(mark_bytes)
        line, bad, context = _first_fault(stream, encoding)
    likely = [name for name in detect(context) if codecs.lookup(name).name != encoding]
    remedy = f"Write `file.encoding: {likely[0]}` in the mapping" if likely else "Write `file.encoding` in the mapping"
    others = f" (or {', '.join(likely[1:4])}, which fit as well)" if likely[1:] else ""
    shown = " ".join(f"0x{byte:02X}" for byte in bad[:4])
    return ShopstreamError(
        f"{log.name}, line {line}: {shown} is not {encoding.upper()}.",
        f"{remedy}{others}, or convert the file." if how.encoding is None else f"{remedy}{others}.",
    )


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
        matches = charset_normalizer.from_bytes(sample)
        names = [name for match in matches for name in (match.encoding, *match.could_be_from_charset)]
        return list(dict.fromkeys(name.replace("_", "-") for name in names))
    return ["utf-8"]


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
            around = previous[-SAMPLE_BYTES // 2 :] + chunk
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


def _without_mark(sample: bytes) -> str | None:
    """Return UTF-16 or UTF-32 with its byte order if a text of mostly ASCII letters has their zeros."""
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
        if units and plain * 2 > len(units):
            return encoding
    return None
