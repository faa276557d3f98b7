"""YAML that people write: read strictly, and every part of it knows its line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import yaml

from features.errors import UsageError

Path = Sequence[str | int]


class _Loader(yaml.SafeLoader):
    """Only true and false are booleans: a segment may be called `no`, and Norway's code is NO."""

    yaml_implicit_resolvers: ClassVar = {  # type: ignore[misc]  # PyYAML's stubs call it an instance's
        first: [
            (tag, re.compile("^(?:true|false)$") if tag == "tag:yaml.org,2002:bool" else pattern)
            for tag, pattern in resolvers
        ]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


@dataclass(frozen=True, slots=True)
class YamlText:
    """A document with its content.

    Attributes:
        place: what it is called in errors: a file's path.
        content: dicts, lists and scalars.
    """

    place: str
    content: Any
    root: yaml.Node | None

    def line(self, path: Path) -> int:
        """The line, from 1, of the deepest part of a path of keys and positions that the document has."""
        node = self.root
        line = 1 if node is None else node.start_mark.line + 1
        for part in path:
            found = _child(node, part)
            if found is None:
                break
            line, node = found
        return line

    def error(self, path: Path, message: str) -> str:
        """A mistake in words: file, line, path, what is wrong."""
        return f"{self.place}, line {self.line(path)}: {dotted(path)}: {message.rstrip('.')}."


def read_yaml(text: str, place: str) -> YamlText:
    """A document of a text.

    Raises:
        UsageError: it is not YAML, or a mapping has a key twice; the message names `place` and the line.
    """
    try:
        root = yaml.compose(text, Loader=_Loader)
        content = yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = "" if mark is None else f", line {mark.line + 1}"
        raise UsageError(f"{place}{line}: {getattr(error, 'problem', None) or error}.", "Correct the YAML.") from None
    except (ValueError, TypeError) as error:  # a date that is none, a list as a key
        raise UsageError(f"{place}: {error}.", "Correct the YAML.") from None
    _refuse_repeated_keys(root, place)
    return YamlText(place, content, root)


def dotted(path: Path) -> str:
    """`segments[2].when`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".") or "the document"


def _child(node: yaml.Node | None, part: str | int) -> tuple[int, yaml.Node] | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == part:
                return key.start_mark.line + 1, value
    elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part].start_mark.line + 1, node.value[part]
    return None


def _refuse_repeated_keys(root: yaml.Node | None, place: str) -> None:
    """YAML takes the last one silently: a condition would be gone."""
    waiting, seen = [root], set()
    while waiting:
        node = waiting.pop()
        if id(node) in seen:  # an alias
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            waiting += node.value
        elif isinstance(node, yaml.MappingNode):
            keys: set[str] = set()
            for key, value in node.value:
                if key.value in keys:
                    raise UsageError(
                        f"{place}, line {key.start_mark.line + 1}: {key.value} stands here twice.",
                        "Keep one of them, or join the two with `all`.",
                    )
                keys.add(key.value)
                waiting.append(value)
