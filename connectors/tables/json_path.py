"""Parses paths into nested records: `a.b[0].c`, `a[key=x].value`, `"odd key"`, and `.x` within an element of a list."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from connectors.tables.batches import is_name_pattern


@dataclass(frozen=True, slots=True)
class Match:
    """Step to the element of a list whose `key` equals `value`."""

    key: str
    value: str


@dataclass(frozen=True, slots=True)
class Every:
    """Step to every element of a list: the amounts behind it are added."""


EVERY: Final = Every()

Step = str | int | Match | Every
"""Key of an object, position in a list from 0, the element that has a value, or every element."""


@dataclass(frozen=True, slots=True)
class Path:
    """Steps to a value.

    Attributes:
        steps: steps from a record, or from an element of a list.
        depth: 0 from the record, 1 from an element of the list that gives a row per element. 2 is from an element of a
            list within such an element.
    """

    steps: tuple[Step, ...]
    depth: int = 0

    @property
    def relative(self) -> bool:
        """Whether the steps begin at an element."""
        return self.depth > 0

    @property
    def adds(self) -> bool:
        """Whether the path leads to the amounts of every element of a list, which are added."""
        return EVERY in self.steps


DEPTH_MAX: Final = 2
"""Lists within lists that can be read a row per element."""

WITHIN: Final = "[*]."
"""Separates the path of a list from that of a list within its elements."""

_QUOTED: Final = r'"(?:[^"\\]|\\.)*"'
_KEY: Final = re.compile(rf'(?P<quoted>{_QUOTED})|(?P<plain>[^.\[\]"\x00-\x1f]+)')
_POSITION: Final = re.compile(r"\[(?P<position>\d{1,9})\]")
_EVERY: Final = re.compile(r"\[\*\]")
_MATCH: Final = re.compile(
    rf'\[(?:(?P<quoted>{_QUOTED})|(?P<plain>[^.\[\]"=]+))=(?:(?P<quoted_value>{_QUOTED})|(?P<plain_value>[^\[\]"]+))\]'
)
_PLAIN_KEY: Final = re.compile(r'[^.\[\]"\s\x00-\x1f](?:[^.\[\]"\x00-\x1f]*[^.\[\]"\s\x00-\x1f])?')


def parse_path(text: str) -> Path:
    """Return the path that a text describes.

    Args:
        text: keys joined by points, `[0]` for a position, `[key=x]` for the element with this value and `[*]` for every
            element. A key with a point, bracket or quote is a JSON string. A path that begins with a point belongs to
            an element.

    Raises:
        ValueError: the text is no path. The message names the position, from 1.
    """
    if is_name_pattern(text):
        raise _invalid(text, 0, "write a key with special characters in quotes")
    depth = min(len(text) - len(text.lstrip(".")), DEPTH_MAX)
    relative = depth > 0
    if text == "." * depth and relative:
        return Path((), depth)
    steps: list[Step] = []
    at = depth
    while True:
        key = _KEY.match(text, at)
        if key is not None:
            steps.append(_unquoted(key["quoted"], key["plain"], text, at))
            at = key.end()
        elif not (text[at : at + 1] == "[" and relative and not steps):
            raise _invalid(text, at, "a key is missing")
        while text[at : at + 1] == "[":
            step = _POSITION.match(text, at) or _EVERY.match(text, at) or _MATCH.match(text, at)
            if step is None:
                raise _invalid(text, at, "give a position such as [0], [key=value] or [*]")
            steps.append(_bracket(step, text, at))
            at = step.end()
        if at == len(text):
            return Path(tuple(steps), depth)
        if text[at] != ".":
            raise _invalid(text, at, "write a point between two keys, and a key with special characters in quotes")
        at += 1


def write_path(steps: Sequence[Step]) -> str:
    """Return the text of a path, which `parse_path` reads."""
    text = ""
    for step in steps:
        if isinstance(step, int):
            text += f"[{step}]"
        elif isinstance(step, Every):
            text += "[*]"
        elif isinstance(step, Match):
            text += f"[{json.dumps(step.key, ensure_ascii=False)}={json.dumps(step.value, ensure_ascii=False)}]"
        else:
            plain = _PLAIN_KEY.fullmatch(step) and step[0] not in "*^"
            key = step if plain else json.dumps(step, ensure_ascii=False)
            text += f".{key}" if text else key
    return text


def _bracket(step: re.Match[str], text: str, at: int) -> Step:
    if step.re is _POSITION:
        return int(step["position"])
    if step.re is _EVERY:
        return EVERY
    return Match(
        _unquoted(step["quoted"], step["plain"], text, at),
        _unquoted(step["quoted_value"], step["plain_value"], text, at),
    )


def _unquoted(quoted: str | None, plain: str | None, text: str, at: int) -> str:
    if quoted is None:
        assert plain is not None
        if plain != plain.strip():
            raise _invalid(text, at, "write a key that begins or ends with a blank in quotes")
        return plain
    try:
        return str(json.loads(quoted))
    except ValueError:
        raise _invalid(text, at, "a key in quotes is a JSON string") from None


def _invalid(text: str, at: int, reason: str) -> ValueError:
    return ValueError(f"{text!r} is no path, at character {at + 1}: {reason}")
