"""Finds out what the keys of messages are: which path of the value has the same text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from connectors.tables.json_path import write_path
from connectors.tables.records import Unreadable, decode_json

_SHARE_MIN: Final = 0.1
_PATHS_MAX: Final = 5


@dataclass(slots=True)
class KeyFindings:
    """What the keys are.

    Attributes:
        messages: messages that were read.
        forms: form of the key -> messages: `none`, `text`, `JSON object`, `not UTF-8`, `registry`.
        equal: path of the value -> messages whose key, or whose only field of the key, is the value of the path.
    """

    messages: int = 0
    forms: Counter[str] = field(default_factory=Counter)
    equal: dict[str, int] = field(default_factory=dict)


def key_findings(keys: Sequence[bytes | None], records: Sequence[dict[str, Any] | None]) -> KeyFindings:
    """Compare keys with the values of their messages.

    Args:
        keys: keys.
        records: content of the value of each message; None where it has none.
    """
    findings = KeyFindings(len(keys))
    equal: Counter[str] = Counter()
    for key, record in zip(keys, records, strict=True):
        form, text = _read(key)
        findings.forms[form] += 1
        if text is not None and record is not None:
            equal.update({path for path, value in _texts(record, ()) if value == text})
    keyed = sum(count for form, count in findings.forms.items() if form != "none")
    # of paths that are always equal the shorter one is the column; `before.id` and `after.id` are seldom both there
    ranked = sorted(equal.items(), key=lambda one: (-one[1], len(one[0]), one[0]))
    findings.equal = dict([one for one in ranked if one[1] >= _SHARE_MIN * keyed][:_PATHS_MAX])
    return findings


def _read(key: bytes | None) -> tuple[str, str | None]:
    """Return the form of a key, and the text that a path may be equal to."""
    if key is None:
        return "none", None
    if key[:1] == b"\0":
        return "registry", None
    try:
        text = key.decode()
    except UnicodeDecodeError:
        return "not UTF-8", None
    content = decode_json(text)
    if isinstance(content, Unreadable) or not isinstance(content, dict):
        return "text", str(content) if isinstance(content, str) else text
    fields = content["payload"] if content.keys() == {"schema", "payload"} else content
    values = list(fields.values()) if isinstance(fields, dict) else [fields]
    return "JSON object", str(values[0]) if len(values) == 1 and isinstance(values[0], str | int) else None


def _texts(value: dict[str, Any], steps: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for name, one in value.items():
        if isinstance(one, dict):
            yield from _texts(one, (*steps, name))
        elif isinstance(one, str | int) and not isinstance(one, bool):
            yield write_path((*steps, name)), str(one)
