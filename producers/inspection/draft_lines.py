"""Writes the lines of a drafted mapping: scalars of YAML, comments, and questions as CHECK comments."""

from __future__ import annotations

import json
import re
from typing import Final

from producers.inspection.findings import Question

COMMENT_WIDTH: Final = 110
_PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:[ .-][A-Za-z0-9_]+)*")
_WORDS_OF_YAML: Final = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n", "nan", "inf"})


def scalar(text: str) -> str:
    """Return a text as a scalar of YAML, in quotes where needed."""
    if _PLAIN.fullmatch(text) and text.casefold() not in _WORDS_OF_YAML:
        return text
    return json.dumps(text, ensure_ascii=not text.isprintable())


def comment_lines(text: str, indent: int = 0) -> list[str]:
    """Return a text as comment lines of at most COMMENT_WIDTH characters."""
    lines, line = [], ""
    clean = "".join(character if character.isprintable() else " " for character in text)
    for word in clean.split():
        if line and len(line) + len(word) + indent + 3 > COMMENT_WIDTH:
            lines.append(line)
            line = ""
        line = f"{line} {word}" if line else word
    return [f"{' ' * indent}# {one}" for one in [*lines, line] if one]


def check_lines(text: str, indent: int = 0) -> list[str]:
    """Return a comment that a person must decide something."""
    return comment_lines(f"CHECK: {text}", indent)


def question_lines(question: Question, indent: int = 0) -> list[str]:
    """Return a question as such a comment."""
    return check_lines(f"{question.text} {question.decides}", indent)
