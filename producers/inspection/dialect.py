"""Determines separator, quoting, lines before the header and the header of separated text, with evidence."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from producers.inspection.field_names import is_known_name
from producers.inspection.findings import Question, counted, listed

PRIMARY: Final = (",", ";", "\t", "|", "^", "~", "\x01", "\x1e", "\x1f", "¦", "§", "¬")
SECONDARY: Final = (":", "#", "*", "!", "&", "$", "=", "@", "/", "_", "+")
"""Separators that also are in ordinary values, such as times. They count only if no primary one fits."""

RECORDS_MAX: Final = 3_000
TITLES_MAX: Final = 20
"""Lines before the header that do not count against a separator."""

_CONSISTENT: Final = 0.8
_NAMES: Final = {"\t": "tab", "\x01": "\\x01", "\x1e": "\\x1e", "\x1f": "\\x1f", " ": "blank"}

_NUMBER: Final = re.compile(r"^[(]?[-+]?[^\w\s.,'()+-]{0,3} ?\d[\d.,' \u00a0\u202f]*%?[)-]?$")
_DATE: Final = re.compile(
    r"^\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}(?:[T ].*)?$|^\d{1,2}[ -][A-Za-z]{3,9}[ -]\d{2,4}|^\d{8}T?\d*$"
)
_TEXT_WITH_SIGN: Final = re.compile(r"[^\W\d_]\S*[,;|:] |^\s*[\[{(]")
_SEP_LINE: Final = re.compile(r"^sep=(.)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Dialect:
    """Form of separated text.

    Attributes:
        separator: character between values; " " for runs of blanks.
        quote: character around values; None: quotes are plain characters.
        skip_lines: lines before the header, or before the first row of a file without one.
        names: columns of the header, or c1, c2, … if the file has no header.
        has_header: whether the names are in the file.
        evidence: sentences that justify the form.
        questions: ambiguities.
        warnings: faults of the text.
    """

    separator: str
    quote: str | None
    skip_lines: int
    names: tuple[str, ...]
    has_header: bool
    evidence: tuple[str, ...]
    questions: tuple[Question, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Parsed:
    """Records of a sample under one separator and quote."""

    separator: str
    quote: str | None
    records: tuple[tuple[int, list[str]], ...]
    width: int
    share: float
    fault_line: int | None


def separator_name(separator: str) -> str:
    """Return how messages write a separator."""
    return _NAMES.get(separator, repr(separator))


def dialect(text: str, complete: bool) -> Dialect:
    """Determine the form of separated text.

    Args:
        text: beginning of a file.
        complete: whether it is the whole file. Otherwise its last record is incomplete.
    """
    first = text.lstrip("\ufeff").split("\n", 1)[0].strip()
    declared = _SEP_LINE.match(first)
    if declared:
        body = text.split("\n", 1)[1] if "\n" in text else ""
        parsed = _best_quote(body, declared[1], complete)
        evidence = [f"The first line {first!r} declares the separator."]
        return _described(parsed, evidence, [], skipped=1)
    candidates = [_best_quote(text, one, complete) for one in PRIMARY if one in text]
    consistent = [one for one in candidates if one.width > 1 and one.share >= _CONSISTENT]
    if not consistent:
        blanks = _blanks(text, complete)
        if blanks is not None:
            return _described(blanks, [_widths(blanks)], [], skipped=0)
        candidates += [_best_quote(text, one, complete) for one in SECONDARY if one in text]
        consistent = [one for one in candidates if one.width > 1 and one.share >= _CONSISTENT]
    likely = consistent or [one for one in candidates if one.width > 1 and one.share > 0.4]
    if not likely:
        single = _best_quote(text, ",", complete)
        return _described(single, ["No separator divides the lines regularly: the file has one column."], [], skipped=0)
    best, question = _chosen(likely)
    return _described(best, [_widths(best)], [question] if question else [], skipped=0)


def _parsed(text: str, separator: str, quote: str | None, complete: bool) -> _Parsed:
    csv.field_size_limit(1 << 24)
    reader = csv.reader(
        io.StringIO(text, newline=""), strict=True, delimiter=separator, quotechar=quote,
        quoting=csv.QUOTE_NONE if quote is None else csv.QUOTE_MINIMAL,
    )  # fmt: skip
    records: list[tuple[int, list[str]]] = []
    fault, line = None, 1
    try:
        for record in reader:
            if any(value.strip() for value in record):
                records.append((line, record))
            line = reader.line_num + 1
            if len(records) >= RECORDS_MAX:
                break
        else:
            if not complete and records:
                records.pop()
    except csv.Error as error:
        if complete or "unexpected end" not in str(error):
            fault = line
    widths = Counter(len(record) for _, record in records)
    width = max(widths, key=lambda one: (widths[one] if one > 1 else 0, one), default=0)
    return _Parsed(separator, quote, tuple(records), width, _share(records, width), fault)


def _share(records: Sequence[tuple[int, list[str]]], width: int) -> float:
    """Return the share of records of a width. A few lines before the first of them are titles and do not count."""
    start = next((at for at, (_, record) in enumerate(records) if len(record) == width), 0)
    counting = records[start:] if start <= TITLES_MAX and len(records) - start > 1 else records
    return sum(len(record) == width for _, record in counting) / len(counting) if counting else 0.0


def _best_quote(text: str, separator: str, complete: bool) -> _Parsed:
    """Return the sample under the quote that fits: the double quote, a single quote around values, or none."""
    double = _parsed(text, separator, '"', complete)
    if double.fault_line is not None:
        plain = _parsed(text, separator, None, complete)
        return plain if plain.width > 1 and plain.share >= 0.95 else double
    values = [value.strip(" ") for _, record in double.records[:200] for value in record]
    opening, closing = (sum(end(value, "'") for value in values) for end in (str.startswith, str.endswith))
    if min(opening, closing) > 2:
        single = _parsed(text, separator, "'", complete)
        apostrophes = sum("'" in value for value in values)
        if single.fault_line is None and single.share >= double.share and opening + closing >= apostrophes:
            return single
    return double


def _blanks(text: str, complete: bool) -> _Parsed | None:
    """Return the sample as columns between blanks, if its lines have equally many."""
    lines = text.splitlines()
    if not complete and lines:
        lines.pop()
    records = [(number, line.split()) for number, line in enumerate(lines[:RECORDS_MAX], 1) if line.strip()]
    widths = Counter(len(record) for _, record in records)
    width = max(widths, key=lambda one: widths[one], default=0)
    share = widths[width] / len(records) if records else 0.0
    values = [value for _, record in records for value in record]
    data = sum(bool(_NUMBER.match(value) or _DATE.match(value)) for value in values)
    if width < 2 or share < 0.9 or data * 2 < len(values):
        return None
    return _Parsed(" ", None, tuple(records), width, share, None)


def _widths(parsed: _Parsed) -> str:
    same = sum(len(record) == parsed.width for _, record in parsed.records)
    between = "runs of blanks divide" if parsed.separator == " " else f"{separator_name(parsed.separator)} divides"
    total = len(parsed.records)
    extent = f"all {counted(total, 'record')}" if same == total else f"{same:,} of {counted(total, 'record')}"
    return f"{between.capitalize()} {extent} of the sample into {counted(parsed.width, 'value')}."


def _chosen(likely: Sequence[_Parsed]) -> tuple[_Parsed, Question | None]:
    """Return the separator that fits best, and a question if another one fits as well."""
    ranked = sorted(likely, key=lambda one: (-round(one.share, 2), -one.width))
    best = ranked[0]
    rivals = [one for one in ranked[1:] if one.share >= 0.98 * best.share]
    for rival in rivals:
        if _explains(best, rival.separator):
            continue
        if _explains(rival, best.separator):
            best = rival
    open_rivals = [one for one in rivals if one is not best and not _explains(best, one.separator)]
    if ranked[0] is not best and not _explains(best, ranked[0].separator):
        open_rivals.append(ranked[0])
    if not open_rivals:
        return best, None
    signs = [best.separator, *(one.separator for one in open_rivals)]
    widths = [f"{separator_name(one.separator)}: {one.width} columns" for one in (best, *open_rivals)]
    return best, Question(
        "separator", None, tuple(signs), f"Several separators divide the lines regularly ({listed(widths)}).",
        "Open the file in an editor and write the right one in file.separator.",
    )  # fmt: skip


def _explains(parsed: _Parsed, other: str) -> bool:
    """Return whether the other sign, within the values of a separator, is part of numbers, dates or sentences."""
    values = [value.strip() for _, record in parsed.records[:500] for value in record if other in value]
    regular = sum(bool(_NUMBER.match(value) or _DATE.match(value) or _TEXT_WITH_SIGN.search(value)) for value in values)
    return regular >= 0.9 * len(values)


def _described(parsed: _Parsed, evidence: list[str], questions: list[Question], skipped: int) -> Dialect:
    warnings = []
    if parsed.fault_line is not None:
        line = parsed.fault_line + skipped
        warnings.append(f"Line {line}: a quote is not closed, or text follows a closing quote.")
    regular = [(line + skipped, record) for line, record in parsed.records]
    at = _start(regular, parsed.width)
    before = regular[:at]
    rows = [record for _, record in regular[at:] if len(record) == parsed.width]
    has_header, reason, question = _header(rows)
    reason_line = regular[at][0] if at < len(regular) else 1
    skip_lines = 0
    if before or skipped:
        skip_lines = regular[at][0] - 1 if at < len(regular) else skipped
        texts = [repr(parsed.separator.join(record).strip(parsed.separator + " ")) for _, record in before]
        what = "header" if has_header else "first row"
        evidence.append(
            f"{counted(skip_lines, 'line')} before the {what}" + (f": {listed(texts, 3)}." if texts else ".")
        )
    if parsed.separator == " " and has_header:
        skip_lines = reason_line
    if reason:
        header = (
            f"Line {reason_line} is the header" if has_header else f"The file has no header; line {reason_line} is data"
        )
        evidence.append(f"{header}: {reason}.")
    names = tuple(name.strip().lstrip("\ufeff") for name in rows[0]) if rows and has_header else tuple(
        f"c{number}" for number in range(1, parsed.width + 1)
    )  # fmt: skip
    questions += [question] if question else []
    questions += _quote_question(parsed)
    evidence.append(_quote_evidence(parsed))
    return Dialect(
        parsed.separator, parsed.quote, skip_lines, names, has_header, tuple(one for one in evidence if one),
        tuple(questions), (*warnings, *(_name_warnings(names) if has_header else ())),
    )  # fmt: skip


def _start(records: Sequence[tuple[int, list[str]]], width: int) -> int:
    """Return the position of the header: the first record of the usual width that is not a title with blanks."""
    at = next((n for n, (_, record) in enumerate(records) if len(record) == width), 0)
    while at + 1 < len(records) and width > 2:
        filled = sum(bool(value.strip()) for value in records[at][1])
        next_filled = sum(bool(value.strip()) for value in records[at + 1][1])
        if filled * 2 > width or next_filled < width - 1 or len(records[at + 1][1]) != width:
            break
        at += 1
    return at


def _header(rows: Sequence[list[str]]) -> tuple[bool, str, Question | None]:
    """Return whether the first row is a header, the reason, and a question if nothing decides it."""
    if not rows:
        return True, "", None
    first, rest = rows[0], rows[1:201]
    data = [value for value in first if _looks_like_data(value)]
    known = [name for name in first if is_known_name(name)]
    if data and len(known) < 2:
        return False, f"it has the value {data[0]!r}", None
    if known:
        verb = "is a usual name" if len(known) == 1 else "are usual names"
        return True, f"{listed([repr(name) for name in known], 3)} {verb}", None
    for position, name in enumerate(first):
        values = [row[position] for row in rest if row[position].strip()]
        if values and sum(map(_looks_like_data, values)) >= 0.9 * len(values):
            return True, f"below {name!r} are numbers or dates", None
    text = f"The first row {listed([repr(value) for value in first], 4)} may be a header or data."
    return True, "", Question("header", None, ("header", "row"), text, "If it is data, list names in file.columns.")


def _looks_like_data(value: str) -> bool:
    text = value.strip()
    return bool(_NUMBER.match(text) or _DATE.match(text) or re.match(r"^[^@\s]+@[^@\s]+\.\w+$", text))


def _quote_evidence(parsed: _Parsed) -> str:
    if parsed.quote == "'":
        return "Values are in single quotes."
    return ""


def _quote_question(parsed: _Parsed) -> list[Question]:
    if parsed.quote is not None or parsed.separator == " ":
        return []
    line, value = next(
        ((line, value) for line, record in parsed.records for value in record if value.startswith('"')), (1, '"')
    )
    text = f"Quotes are plain characters here, as in line {line}: {value[:40]!r}. As quotes they do not close."
    return [Question("quote", None, ("null", '"'), text, "Correct the line, or accept file.quote: null.")]


def _name_warnings(names: Sequence[str]) -> list[str]:
    warnings = []
    for name, count in Counter(names).items():
        if name and count > 1:
            at = [str(position + 1) for position, one in enumerate(names) if one == name]
            warnings.append(f"The column {name!r} is in the header {count} times, at positions {' and '.join(at)}.")
        elif not name:
            at = [str(position + 1) for position, one in enumerate(names) if not one]
            warnings.append(f"{counted(count, 'column')} without a name, at position {' and '.join(at)}.")
    return warnings
