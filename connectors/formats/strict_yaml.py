"""Reads YAML written by users strictly and keeps the line number of every part."""

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
UNKNOWN_KEY: Final = "unknown key"


class PartError(ValueError):
    """Mistake in a part of a document that a check of the whole document finds.

    Args:
        message: what is wrong.
        path: path to the part, from the part that is checked.
        text: text of the part, where the path to it is not known: the first such scalar below `path` counts.
    """

    def __init__(self, message: str, path: Path = (), text: str | None = None) -> None:
        super().__init__(message)
        self.path = tuple(path)
        self.text = text


class _Loader(yaml.SafeLoader):
    """Loads only true and false as booleans: a segment may be called `no`, and Norway's code is NO."""

    yaml_implicit_resolvers: ClassVar = {  # type: ignore[misc]  # PyYAML's stubs call it an instance's
        first: [
            (tag, re.compile("^(?:true|false)$") if tag == "tag:yaml.org,2002:bool" else pattern)
            for tag, pattern in resolvers
        ]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


@dataclass(frozen=True, slots=True)
class YamlText:
    """YAML document with its content.

    Attributes:
        origin: name for errors: the path of a file.
        content: dicts, lists and scalars.
    """

    origin: str
    content: Any
    root: yaml.Node | None

    def line(self, path: Path) -> int:
        """Return the line, from 1, of the deepest existing part of a path of keys and positions."""
        node = self.root
        line = 1 if node is None else node.start_mark.line + 1
        for part in path:
            child = _child(node, part)
            if child is None:
                break
            line, node = child
        return line

    def span(self, path: Path) -> tuple[int, int] | None:
        """Return where a scalar begins and ends in the text, in characters; None if the path leads to none."""
        node = self.root
        for part in path:
            child = _child(node, part)
            node = None if child is None else child[1]
        return (node.start_mark.index, node.end_mark.index) if isinstance(node, yaml.ScalarNode) else None

    def error(self, path: Path, message: str) -> str:
        """Format a mistake: file, line, path, message."""
        return f"{self.origin}, line {self.line(path)}: {dotted(path)}: {message.rstrip('.')}."

    def refusal(self, error: ValidationError) -> str:
        """Format a model's validation error: a line for each mistake."""
        mistakes = [(self._position(one), message_of(one)) for one in error.errors(include_url=False)]
        mistakes.sort(key=lambda mistake: self.line(mistake[0]))
        return "\n".join(dict.fromkeys(self.error(path, message) for path, message in mistakes))

    def _position(self, mistake: ErrorDetails) -> Path:
        """Return the path to a mistake, as the document has it."""
        reason = mistake.get("ctx", {}).get("error")
        if not isinstance(reason, PartError):
            return self.without_branches(mistake["loc"])
        path: list[str | int] = []
        node = self.root
        for part in (*mistake["loc"], *reason.path):
            child = _child(node, part)
            if child is not None:
                path.append(part)
                node = child[1]
        return path if reason.text is None else _path_to(node, reason.text, path) or path

    def without_branches(self, path: Path) -> Path:
        """Remove the names of union branches, which no document has, from a model's path to a mistake."""
        node, parts = self.root, list[str | int]()
        for depth, part in enumerate(path):
            child = _child(node, part)
            if child is not None:
                node = child[1]
            elif isinstance(node, yaml.ScalarNode) or depth < len(path) - 1 or not _is_key(part):
                continue  # a missing key is last
            parts.append(part)
        return parts


def read_yaml(text: str, origin: str) -> YamlText:
    """Parse a YAML text.

    Raises:
        UsageError: the text is not YAML, or a mapping repeats a key. The message names `origin` and the line.
    """
    try:
        root = yaml.compose(text, Loader=_Loader)
        content = yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = "" if mark is None else f", line {mark.line + 1}"
        raise UsageError(f"{origin}{line}: {getattr(error, 'problem', None) or error}.", "Correct the YAML.") from None
    except RecursionError:
        raise UsageError(f"{origin}: lists or keys are nested too deeply.", "Correct the YAML.") from None
    except (ValueError, TypeError) as error:  # an invalid date, or a list as a key
        raise UsageError(f"{origin}: {error}.", "Correct the YAML.") from None
    _refuse_repeated_keys(root, origin)
    return YamlText(origin, content, root)


def message_of(mistake: ErrorDetails) -> str:
    """Return the message of a validation error as one line."""
    if mistake["type"] == "extra_forbidden":
        return UNKNOWN_KEY
    message = mistake["msg"].removeprefix("Value error, ")
    return message[0].lower() + message[1:]


def builtin_texts(package: str, folder: str) -> dict[str, str]:
    """Return name -> YAML of every file in a package's folder, sorted by name."""
    files = [file for file in (resources.files(package) / folder).iterdir() if file.name.endswith(".yaml")]
    return {file.name.removesuffix(".yaml"): file.read_text("utf-8") for file in sorted(files, key=lambda f: f.name)}


def find_text(name_or_path: str, builtin: Mapping[str, str], kind: str, remedy: str = "") -> tuple[str, str]:
    """Return a built-in text by its name or a YAML file's text by its path, and its name for errors.

    Args:
        name_or_path: name or path that the user gave.
        builtin: built-in texts: name -> text.
        kind: kind of file for errors: mapping.
        remedy: hint how to list the built-in texts.

    Raises:
        UsageError: there is no such text.
    """
    if name_or_path in builtin:
        return builtin[name_or_path], f"{kind} {name_or_path}"
    known = f"Give a YAML file, or one of {', '.join(builtin)}{remedy}."
    return read_text(File(name_or_path), f"There is no {kind} {name_or_path}", known), name_or_path


def read_text(path: File, failed: str, remedy: str) -> str:
    """Return a file's text. Raises UsageError with `failed`, the reason and `remedy`; for other encodings the line."""
    try:
        return path.read_text("utf-8")
    except OSError as error:
        raise UsageError(f"{failed}: {error.strerror or error}.", remedy) from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{path}, line {line}: the file is not UTF-8.", "Save it in the encoding UTF-8.") from None


def dotted(path: Path) -> str:
    """Format a path as `segments[2].when`."""
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


def _path_to(node: yaml.Node | None, text: str, before: Path) -> Path | None:
    """Return the path to the first scalar with a text, below a node."""
    if isinstance(node, yaml.ScalarNode):
        return before if node.value == text else None
    parts: list[tuple[str | int, yaml.Node]] = []
    if isinstance(node, yaml.MappingNode):
        parts = [(key.value, value) for key, value in node.value if isinstance(key, yaml.ScalarNode)]
    elif isinstance(node, yaml.SequenceNode):
        parts = list(enumerate(node.value))
    return next((path for part, one in parts if (path := _path_to(one, text, [*before, part]))), None)


def _refuse_repeated_keys(root: yaml.Node | None, origin: str) -> None:
    """Refuse repeated keys, of which YAML silently keeps the last one: a condition would be lost."""
    pending, seen = [root], set()
    while pending:
        node = pending.pop()
        if id(node) in seen:  # an alias
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            pending += node.value
        elif isinstance(node, yaml.MappingNode):
            keys: set[str] = set()
            for key, value in node.value:
                if key.value in keys:
                    raise UsageError(
                        f"{origin}, line {key.start_mark.line + 1}: {key.value} is repeated.",
                        "Keep one of them, or join the two with `all`.",
                    )
                keys.add(key.value)
                pending.append(value)
