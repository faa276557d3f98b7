"""Writes what was measured into docs/reliability.md: `python tests/faults/report.py`.

Figures of a machine are no facts of the code, so these tables stand between marks of their own: no guard compares them.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "reliability"
DOCUMENT = ROOT / "docs" / "reliability.md"


def faults(results: list[dict[str, Any]]) -> str:
    """A line for each fault."""
    head = ("fault", "what was injected", "roles", "records", "lost", "doubled", "changed", "recovered after")
    return _table(head, [[*_words(result), _seconds(result["recovered_s"])] for result in results])


def _words(result: dict[str, Any]) -> list[str]:
    counts = (f"{result[name]:,}" for name in ("records", "lost", "doubled", "changed"))
    return [result["fault"], result["injected"], result["roles"], *counts]


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} s"


def backpressure(phases: list[dict[str, Any]]) -> str:
    """A line for each phase."""
    head = (
        "sink", "for", "records/s in", "documents/s out", "state behind by", "rows waiting", "freshness p50 / p99",
        "resident memory",
    )  # fmt: skip
    rows = [
        [
            phase["sink"], f"{phase['seconds']:.0f} s", f"{phase['records_per_s']:,.0f}",
            f"{phase['documents_per_s']:,.0f}", f"{phase['lag_max']:,} records", f"{phase['waiting_max']:,}",
            f"{phase['freshness_p50_s']:.1f} / {phase['freshness_p99_s']:.1f} s",
            f"{phase['memory_min_mb']:.0f} to {phase['memory_max_mb']:.0f} MB",
        ]
        for phase in phases
    ]  # fmt: skip
    return _table(head, rows)


def _table(head: tuple[str, ...], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def replaced(text: str, name: str, table: str) -> str:
    """The text with another table between its marks."""
    mark = re.compile(rf"(<!-- measured {name} -->\n).*?(<!-- end of {name} -->)", re.DOTALL)
    assert mark.search(text), name
    return mark.sub(lambda found: f"{found[1]}{table}{found[2]}", text)


def main() -> None:
    """Takes what the campaigns have left in the build folder."""
    text = DOCUMENT.read_text("utf-8")
    for name, written in (("faults", faults), ("backpressure", backpressure)):
        path = BUILD / f"{name}.json"
        if path.is_file():
            text = replaced(text, name, written(json.loads(path.read_text("utf-8"))))
    DOCUMENT.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
