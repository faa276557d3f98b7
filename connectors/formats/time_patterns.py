"""Compiles the format of a time, a name such as `iso` or a pattern such as `%d.%m.%Y`, to regular expressions.

A format is supported exactly or refused. The expressions have one meaning in Python's `re` and in Polars, and their
groups have the names of `FIELDS`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from connectors.formats.schema_times import SCHEMA

FIELDS: Final = ("Y", "y", "m", "b", "d", "j", "a", "H", "I", "p", "M", "S", "f", "z", "Z")
"""Groups, each called like its directive: `b` and `a` are names, `f` is a fraction's digits, `Z` a zone's word."""

EPOCHS: Final = {"epoch_s": 0, "epoch_ms": 3, "epoch_us": 6, "epoch_ns": 9}
"""Named format -> decimal decimals of a second that its unit stands for."""

EXCEL: Final = "excel_days"
ISO: Final = "iso"

_BLANKS: Final = "[ \t\u00a0\u202f]"
_OFFSET: Final = "[+-][0-9]{2}(?::?[0-9]{2})?"
_WORD: Final = "[A-Za-z][A-Za-z0-9_/+-]*"

MONTHS: Final = (
    "january", "february", "march", "april", "may", "june",
    "july", "august", "september", "october", "november", "december",
)  # fmt: skip
WEEKDAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


@dataclass(frozen=True, slots=True)
class TimeFormat:
    """Compiled format of times.

    Attributes:
        pattern: name or pattern, as in the mapping.
        forms: anchored regular expressions; the first one that matches applies. Empty for epochs and Excel days.
        day_ends: whether 24:00 is the start of the next day.
    """

    pattern: str
    forms: tuple[str, ...] = ()
    day_ends: bool = False


def time_format(pattern: str) -> TimeFormat:
    """Compile a named format or a pattern of strptime's directives.

    Two-digit years follow POSIX: 69 to 99 are 1969 to 1999, 00 to 68 are 2000 to 2068. Numbers have one or two digits,
    and a fixed width next to another number. English names of months and days are read in any case, full or short.

    Args:
        pattern: `iso`, `epoch_s`, `epoch_ms`, `epoch_us`, `epoch_ns`, `excel_days` or a pattern. `schema` is `iso`:
            a reader of messages writes such times in this form.

    Raises:
        ValueError: the pattern is not supported exactly; the message names the directive and what to write.
    """
    if pattern in (ISO, SCHEMA):
        return _ISO_FORMAT
    if pattern in EPOCHS or pattern == EXCEL:
        return TimeFormat(pattern)
    try:
        tokens = _tokens(pattern)
        _check(tokens)
        return TimeFormat(pattern, (_regex(tokens),))
    except _PatternError as error:
        raise ValueError(f"time format {pattern!r}: {error}") from None


_DATE: Final = "^(?P<Y>[0-9]{4})-(?P<m>[0-9]{2})-(?P<d>[0-9]{2})"
_CLOCK: Final = "(?P<H>[0-9]{2}):(?P<M>[0-9]{2})(?::(?P<S>[0-9]{2})(?:[.,](?P<f>[0-9]{1,9}))?)?"
_END: Final = f"(?:{_BLANKS}*(?:(?P<z>{_OFFSET})|(?P<Z>{_WORD})))?"
_EXTENDED: Final = f"{_DATE}(?:(?:[Tt]|{_BLANKS}+){_CLOCK}{_END})?$"
_BASIC: Final = _EXTENDED.replace(")-(", ")(").replace("):(", ")(").replace("(?::(", "(?:(")
_ISO_FORMAT: Final = TimeFormat(ISO, (_EXTENDED, _BASIC), day_ends=True)


class _PatternError(Exception):
    """A pattern that is not supported; the text is the reason."""


@dataclass(frozen=True, slots=True)
class _Token:
    """Literal text, or a directive with its flag."""

    text: str = ""
    code: str = ""
    flag: str = ""

    @property
    def directive(self) -> str:
        return f"%{self.flag}{self.code}"

    @property
    def is_number(self) -> bool:
        return self.code in _WIDTHS


_WIDTHS: Final = {
    "Y": (4, 4), "y": (2, 2), "m": (1, 2), "d": (1, 2), "e": (1, 2), "j": (1, 3),
    "H": (1, 2), "I": (1, 2), "M": (1, 2), "S": (1, 2),
}  # fmt: skip
"""Directive of a number -> fewest and most digits."""
_COMPOSITES: Final = {"T": "%H:%M:%S", "R": "%H:%M", "F": "%Y-%m-%d", "D": "%m/%d/%y"}
_SAME: Final = {"e": "d", "B": "b", "h": "b", "A": "a"}
"""Directive -> the group that it shares."""
_OTHERS: Final = "fzZpbBhaA"

_LOCALE: Final = "its parts, such as %d/%m/%Y: it depends on a locale"
_WEEK: Final = "a pattern of year, month and day: weeks are not read"
_INSTEAD: Final = {
    "s": "epoch_s", "c": _LOCALE, "x": _LOCALE, "X": "its parts, such as %H:%M:%S: it depends on a locale",
    "C": "%Y", "G": _WEEK, "g": _WEEK, "V": _WEEK, "U": _WEEK, "W": _WEEK, "u": _WEEK, "w": _WEEK,
    "k": "%H", "l": "%I", "P": "%p", "r": "%I:%M:%S %p", "n": "a blank", "t": "a blank", "v": "%e-%b-%Y", "+": "iso",
    "L": ".%f after %S", "N": ".%f after %S", "Q": "epoch_ms", ".": ".%f after %S", "3": ".%f after %S",
    "6": ".%f after %S", "9": ".%f after %S",
    "E": "the directive without E", "O": "the directive without O", "_": "the directive without _",
    "0": "the directive without 0", "^": "the directive without ^", "#": "the directive with - instead of #",
}  # fmt: skip
"""Refused directive -> what to write."""


def _tokens(pattern: str) -> list[_Token]:
    tokens, at, literal = list[_Token](), 0, ""
    for name, parts in _COMPOSITES.items():
        pattern = re.sub(r"(%%|%-?[^%])", lambda m, n=name, p=parts: p if m[1] == f"%{n}" else m[1], pattern)  # type: ignore[misc]
    while at < len(pattern):
        if pattern[at] != "%":
            literal += pattern[at]
            at += 1
            continue
        match = re.compile(r"%(?P<flag>[-:]?)(?P<code>.)", re.DOTALL).match(pattern, at)
        if match is None:
            raise _PatternError("it ends with %; for a percent sign write %%")
        at = match.end()
        if match[0] == "%%":
            literal += "%"
            continue
        if literal:
            tokens.append(_Token(literal))
        literal = ""
        tokens.append(_directive(match["flag"], match["code"]))
    return [*tokens, _Token(literal)] if literal else tokens


def _directive(flag: str, code: str) -> _Token:
    known = code in _WIDTHS or code in _OTHERS
    if not known or (flag == "-" and (code not in _WIDTHS or code in "Yy")) or (flag == ":" and code != "z"):
        if code in _INSTEAD and not flag:
            raise _PatternError(f"%{code} is not supported: write {_INSTEAD[code]}")
        raise _PatternError(f"%{flag}{code} is not supported")
    return _Token("", code, flag)


def _check(tokens: list[_Token]) -> None:
    """Raise _PatternError if the directives do not name one time."""
    codes = [_SAME.get(token.code, token.code) for token in tokens if token.code]
    for parts, what in _ONCE:
        given = [code for code in codes if code in parts]
        if len(given) > 1:
            raise _PatternError(f"the {what} is in it twice")
    if "j" in codes and {"m", "b", "d"} & set(codes):
        raise _PatternError("%j is a day of the year: write it without month and day")
    for parts, what in (("Yy", "year"), ("mbj", "month"), ("dj", "day")):
        if not set(parts) & set(codes):
            names = f"one of {', '.join([ISO, *EPOCHS, EXCEL])} or a pattern"
            raise _PatternError(f"it has no {what}" if codes else f"it has no directive; write {names}")
    if ("I" in codes) != ("p" in codes):
        raise _PatternError("%I and %p go together; hours from 0 to 23 are %H")
    for later, earlier, what in (
        ("S", "M", "minutes"),
        ("M", "HI", "hours"),
        ("z", "HI", "hours"),
        ("Z", "HI", "hours"),
    ):
        if later in codes and not set(earlier) & set(codes):
            raise _PatternError(f"%{later} without {what}")


_ONCE: Final = (
    ("Yy", "year"), ("mb", "month"), ("d", "day"), ("j", "day of the year"), ("a", "weekday"), ("HI", "hour"),
    ("p", "%p"), ("M", "minute"), ("S", "second"), ("f", "fraction"), ("zZ", "zone"),
)  # fmt: skip


def _regex(tokens: list[_Token]) -> str:
    parts = []
    for at, token in enumerate(tokens):
        before = tokens[at - 1] if at else _Token()
        after = tokens[at + 1] if at + 1 < len(tokens) else _Token()
        if token.code:
            parts.append(_group(tokens, at, before, after))
        else:
            parts.append(_literal(token.text))
    return f"^{''.join(parts)}$"


def _literal(text: str) -> str:
    if not re.sub(r"[ \t\u00a0\u202f]", "", text).isprintable():
        raise _PatternError("it has a control character")
    pieces = re.split(f"{_BLANKS}+", text)
    return f"{_BLANKS}+".join(re.escape(piece) for piece in pieces)


def _group(tokens: list[_Token], at: int, before: _Token, after: _Token) -> str:
    token = tokens[at]
    name = _SAME.get(token.code, token.code)
    digit_before = before.is_number or before.text[-1:].isdigit()
    digit_after = after.is_number or after.code == "f" or after.text[:1].isdigit()
    if token.is_number:
        least, most = _WIDTHS[token.code]
        if digit_before or digit_after:
            if token.flag or token.code == "e":
                raise _PatternError(f"{token.directive} next to another number has no certain width")
            least = most
        blank = f"{_BLANKS}?" if token.code == "e" and not re.search(f"{_BLANKS}$", before.text) else ""
        return f"{blank}(?P<{name}>[0-9]{{{least},{most}}})"
    if token.code == "f":
        if before.text not in (".", ",") or at < 2 or tokens[at - 2].code != "S":
            raise _PatternError("%f follows %S. or %S, (the digits of a fraction of a second)")
        if digit_after:
            raise _PatternError("%f next to another number has no certain width")
        return "(?P<f>[0-9]{1,9})"
    if token.code in "zZ":
        if digit_after:
            raise _PatternError(f"{token.directive} next to another number has no certain width")
        return f"(?P<z>[Zz]|{_OFFSET})" if token.code == "z" else f"(?P<Z>{_WORD})"
    if token.code == "p":
        return "(?P<p>[AaPp][Mm])"
    return f"(?P<{name}>{_names(MONTHS if name == 'b' else WEEKDAYS)})"


def _names(names: tuple[str, ...]) -> str:
    """Return an expression for names in any case, full or as three characters (September also as four)."""
    return "|".join(f"{_any_case(name[:3])}(?:{_rest(name)})?" if len(name) > 3 else _any_case(name) for name in names)


def _rest(name: str) -> str:
    rest = _any_case(name[3:])
    return f"{rest}|{_any_case('t')}" if name == "september" else rest


def _any_case(name: str) -> str:
    # Classes instead of a flag: with the flag, both engines accept characters outside ASCII, but not the same ones.
    return "".join(f"[{character.upper()}{character}]" for character in name)
