r"""Decides whether bytes contain one person's id, name or address in any JSON spelling. Pure.

JSON writes a character outside ASCII literally or as `\u00e9`, and a slash with or without a backslash. Bytes that are
not JSON are searched as well: producers send anything.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from features.schema import CONTACT_FIELDS

NEEDLE_CHARS_MIN: Final = 4
"""Minimum length of a text to search for; shorter ones match too many values by chance."""
_ESCAPE: Final = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_CONTROLS: Final = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


@dataclass(frozen=True, slots=True)
class Person:
    """A customer with the known names and addresses, which are never shown.

    Attributes:
        customer_id: id as in records.
        contact: names and addresses, case-folded.
    """

    customer_id: str
    contact: frozenset[str] = frozenset()

    def __repr__(self) -> str:
        return "Person(***)"

    @property
    def key(self) -> bytes:
        """Key of the customer's messages."""
        return self.customer_id.encode()

    def known_from(self, values: Iterable[bytes]) -> Person:
        """Return the same person with the names and addresses of these profiles added."""
        contact = {text for value in values for text in _contact_of(value)}
        return replace(self, contact=self.contact | contact)

    def is_named_in(self, value: bytes | None) -> bool:
        """Return whether a value contains a name or an address of the person."""
        if not value or not self.contact:
            return False
        texts = [text.casefold() for text in spelt_out(value)]
        return any(needle in text for needle in self.contact for text in texts)

    def is_identified_in(self, value: bytes | None) -> bool:
        """Return whether a value contains the id: as a complete text, as a number, or as a word."""
        if not value:
            return False
        texts = [text for text in spelt_out(value) if self.customer_id in text]
        if not texts:
            return False
        word = re.escape(self.customer_id)
        bounded = rf"(?<![\w-]){word}(?![\w-])" if len(self.customer_id) >= NEEDLE_CHARS_MIN else rf'"{word}"'
        pattern = re.compile(rf'{bounded}|"{word}"|"customer_id"\s*:\s*{word}(?![\w.])')
        return any(pattern.search(text) for text in texts)


def spelt_out(value: bytes) -> list[str]:
    """Return the possible texts of bytes: UTF-8, the same without JSON's escapes, Latin-1 if they are not UTF-8."""
    text = value.decode("utf-8", "backslashreplace")
    texts = [text]
    if b"\\" in value:
        # a character beyond 16 bits is two escapes
        undone = _ESCAPE.sub(_character, text).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        texts.append(undone)
    try:
        value.decode()
    except UnicodeDecodeError:
        texts.append(value.decode("latin-1"))
    return texts


def _character(match: re.Match[str]) -> str:
    return chr(int(match[1], 16)) if match[1] else _CONTROLS.get(match[2], match[2])


def _contact_of(value: bytes) -> set[str]:
    try:
        profile = json.loads(value)
    except (ValueError, RecursionError):
        return set()
    texts = [profile.get(name) for name in CONTACT_FIELDS] if isinstance(profile, dict) else []
    return {text.casefold() for text in texts if isinstance(text, str) and len(text) >= NEEDLE_CHARS_MIN}
