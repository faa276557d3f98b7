"""Compiles YAML rules files to segment rules. An error names the line of every mistake."""

from __future__ import annotations

from typing import Final

from pydantic import ValidationError

from connectors.formats.strict_yaml import builtin_texts, find_text, read_yaml
from features.errors import UsageError
from features.rules.segments import Document, InvalidRulesError, Rules, compile_rules

DEFAULT_RULES: Final = "segments"
_REMEDY: Final = "docs/segments.md lists what a rules file may contain."


def builtin_rules() -> dict[str, str]:
    """Return name -> YAML of every built-in rules file."""
    return builtin_texts("features", "rules")


def default_rules() -> Rules:
    """Return the default rules."""
    return parse_rules(builtin_rules()[DEFAULT_RULES], f"rules {DEFAULT_RULES}")


def load_rules(name_or_path: str) -> Rules:
    """Load the rules of a built-in file by its name, or of a YAML file by its path.

    Raises:
        UsageError: the file is missing or invalid. The message names file and line.
    """
    return parse_rules(*find_text(name_or_path, builtin_rules(), "rules file"))


def parse_rules(text: str, origin: str) -> Rules:
    """Return the rules of a YAML text. `origin` names it in errors.

    Raises:
        UsageError: one line for each mistake, with `origin`, its line and its path.
    """
    read = read_yaml(text, origin)
    try:
        return compile_rules(Document.model_validate(read.content), text)
    except ValidationError as error:
        raise UsageError(read.refusal(error), _REMEDY) from None
    except InvalidRulesError as error:
        mistakes = sorted(error.mistakes, key=lambda mistake: read.line(mistake.path))
        lines = dict.fromkeys(read.error(mistake.path, mistake.message) for mistake in mistakes)
        raise UsageError("\n".join(lines), _REMEDY) from None
