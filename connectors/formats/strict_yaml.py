"""YAML that people write: read strictly, and every part of it knows its line."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path as File
from typing import Any, ClassVar, Final

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from features.errors import UsageError

Path = Sequence[str | int]
UNKNOWN_KEY: Final = "this key is not known here"


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

    def refusal(self, error: ValidationError) -> str:
        """What a model has against the content: a line for each mistake."""
        found = [(self.known(one["loc"]), said(one)) for one in error.errors(include_url=False)]
        placed = sorted(found, key=lambda mistake: self.line(mistake[0]))
        return "\n".join(dict.fromkeys(self.error(path, words) for path, words in placed))

    def known(self, path: Path) -> Path:
        """A model's path to a mistake without the names of its unions' branches, which no document has."""
        node, known = self.root, list[str | int]()
        for place, part in enumerate(path):
            found = _child(node, part)
            if found is not None:
                node = found[1]
            elif isinstance(node, yaml.ScalarNode) or place < len(path) - 1 or not _is_key(part):
                continue  # a key that is missing stands last
            known.append(part)
        return known


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


def said(mistake: ErrorDetails) -> str:
    """What a model has against a value, in words that go on a line."""
    if mistake["type"] == "extra_forbidden":
        return UNKNOWN_KEY
    message = mistake["msg"].removeprefix("Value error, ")
    return message[0].lower() + message[1:]


def ready_texts(package: str, folder: str) -> dict[str, str]:
    """Name -> YAML of every file of a package's folder, by name."""
    files = [file for file in (resources.files(package) / folder).iterdir() if file.name.endswith(".yaml")]
    return {file.name.removesuffix(".yaml"): file.read_text("utf-8") for file in sorted(files, key=lambda f: f.name)}


def find_text(name_or_path: str, ready: Mapping[str, str], kind: str, remedy: str = "") -> tuple[str, str]:
    """A ready text by its name, or a YAML file's; and what it is called in errors.

    Args:
        name_or_path: what somebody asked for.
        ready: name -> text.
        kind: what it is, for errors: mapping.
        remedy: how to see the ready ones.

    Raises:
        UsageError: there is none.
    """
    if name_or_path in ready:
        return ready[name_or_path], f"{kind} {name_or_path}"
    known = f"Give a YAML file, or one of {', '.join(ready)}{remedy}."
    return read_text(File(name_or_path), f"There is no {kind} {name_or_path}", known), name_or_path


def read_text(path: File, failed: str, remedy: str) -> str:
    """A file's text. Raises UsageError: `failed`, why, `remedy`."""
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{failed}: {getattr(error, 'strerror', None) or error}.", remedy) from None


def dotted(path: Path) -> str:
    """`segments[2].when`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".") or "the document"


def _is_key(part: str | int) -> bool:
    return isinstance(part, int) or part.isidentifier()


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
