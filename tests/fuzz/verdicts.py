"""What the decoder makes of a batch against what the judge makes of each of its messages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from fuzz.corpus import MARK, Sent
from fuzz.judge import Refused, Removed, Unsure, Verdict, judge, plain
from fuzz.pieces import WORDS
from oracle.rows import cents

from features.records.decode import Tombstone, decode, decode_events, event_columns, order_columns
from features.records.rejections import REASON_LENGTH_MAX

Counts = Counter[str]


def check_batch(topic: Any, sent: Sequence[Sent]) -> Counts:
    """Fails where the decoder and the judge differ; returns how many messages were applied and refused, by rule."""
    values, keys = [one.value for one in sent], [one.key for one in sent]
    append_ms = [one.append_ms for one in sent]
    verdicts = [judge(topic, one.value, one.key, one.append_ms) for one in sent]
    decoded = decode(topic, values, keys, append_ms)
    records = dict(zip(decoded.positions.tolist(), decoded.records, strict=True))
    reasons = {one.position: one.reason for one in decoded.rejected}
    assert len(reasons) == len(decoded.rejected)
    assert sorted([*records, *reasons]) == list(range(len(sent))), "every message is either a record or refused"
    assert list(records) == sorted(records)
    assert list(reasons) == sorted(reasons)
    for position, (one, verdict) in enumerate(zip(sent, verdicts, strict=True)):
        fault = _difference(verdict, records.get(position), reasons.get(position)) or _tells(one, reasons.get(position))
        assert fault is None, f"{topic}, message {position} of {len(sent)}: {fault}\n{_shown(one)}"
    if topic == "events":
        _check_event_columns(values, keys, append_ms, decoded)
    if topic == "orders":
        _check_order_columns(decoded.records)
    return Counter(_name(verdict) for verdict in verdicts)


def _name(verdict: Verdict) -> str:
    match verdict:
        case Refused():
            return verdict.why
        case Removed():
            return "removed"
        case Unsure():
            return "unsure"
    return "applied"


def _difference(verdict: Verdict, record: Any, reason: str | None) -> str | None:
    match verdict:
        case Unsure():
            return None
        case Refused():
            return None if reason is not None else f"refused by the judge ({verdict.why}), taken as {record!r:.500}"
        case Removed():
            same = record == Tombstone(verdict.customer_id)
            return None if same else f"a tombstone of {verdict.customer_id!r}, got {record!r:.500} {reason}"
    if reason is not None:
        return f"a record to the judge, refused: {reason}"
    got = values_of(record)
    wrong = [name for name, value in verdict.items() if not _same(got[name], value)]
    if wrong or got.keys() != verdict.keys():
        return "; ".join(f"{name}: got {got[name]!r:.200}, expected {verdict[name]!r:.200}" for name in wrong)
    return None


def values_of(record: msgspec.Struct) -> dict[str, Any]:
    """Every field of a record, items as dicts too."""
    result = msgspec.structs.asdict(record)
    if result.get("items"):
        result["items"] = [msgspec.structs.asdict(item) for item in result["items"]]
    return result


def _same(got: Any, expected: Any) -> bool:
    """Equal and of one type."""
    if isinstance(expected, list):
        return type(got) is list and len(got) == len(expected) and all(map(_same, got, expected))
    if isinstance(expected, dict):
        return got.keys() == expected.keys() and all(_same(got[name], value) for name, value in expected.items())
    return type(got) is type(expected) and got == expected


def _tells(one: Sent, reason: str | None) -> str | None:
    """What is wrong with a reason: too long, empty, or a name or e-mail address in it."""
    if reason is None:
        return None
    if not 0 < len(reason) <= REASON_LENGTH_MAX:
        return f"a reason of {len(reason)} characters"
    if MARK not in reason or MARK.encode() in (one.key or b""):
        return None
    result = plain(one.value or b"")
    others = {name: value for name, value in result.items() if name not in ("name", "email")} if result else {}
    return None if MARK in repr(others) else f"a reason that tells a name or an e-mail address: {reason}"


def _shown(one: Sent) -> str:
    shown = repr(one.value)
    cut = shown if len(shown) < 3_000 else f"{shown[:2_000]} … {shown[-500:]} ({len(one.value or b'')} bytes)"
    return f"key {one.key!r:.200}\nappended {one.append_ms}\n{cut}"


# --- columns ---------------------------------------------------------------------------------------------------------
def _check_event_columns(values: list[Any], keys: list[Any], append_ms: list[int], decoded: Any) -> None:
    """The columns that the stream takes are those of the records, and refused is the same for the same reason."""
    direct = decode_events(values, keys, append_ms)
    assert direct.rejected == decoded.rejected
    assert direct.positions.tolist() == decoded.positions.tolist()
    assert direct.positions.dtype == np.int64
    records, by_record = decoded.records, event_columns(decoded.records)
    for columns in (direct.columns, by_record):
        assert len(columns) == len(records)
        assert columns.ts.dtype == np.int64
        assert columns.ts.tolist() == [record.ts for record in records]
        for name in ("event_id", "customer_id", "session_id", "category", "channel", "country"):
            got, expected = texts_of(columns, name), [getattr(record, name) for record in records]
            assert got == expected, (name, next((g, e) for g, e in zip(got, expected, strict=True) if g != e))
        for name in ("event_type", "device"):
            codes = getattr(columns, name)
            assert codes.dtype == np.uint8
            assert [WORDS[name][code] for code in codes.tolist()] == [getattr(record, name) for record in records], name


def texts_of(columns: Any, name: str) -> list[str | None]:
    """The strings of a column of events, whether they stand there or are indices into its words."""
    column = getattr(columns, name)
    if isinstance(column, np.ndarray):
        assert column.min(initial=0) >= -1
        columns.words.validate(full=True)
        words = [*columns.words.to_pylist(), None]
        return [words[code] for code in column.tolist()]
    column.validate(full=True)
    return column.to_pylist()


def _check_order_columns(records: list[Any]) -> None:
    columns = order_columns(records, keep_records=False)
    assert columns.total_cents.tolist() == [cents(record.total) for record in records]
    assert columns.lines.tolist() == [len(record.items or ()) for record in records]
    assert columns.ts.tolist() == [record.ts for record in records]
    assert columns.updated_ts.tolist() == [record.updated_ts for record in records]
    assert columns.order_id.to_pylist() == [record.order_id for record in records]
    assert [WORDS["status"][code] for code in columns.status.tolist()] == [record.status for record in records]
