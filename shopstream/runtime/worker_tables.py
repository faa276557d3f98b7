"""Builds the tables of workers for the terminal: while they run and after they have ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from connectors.clock import iso
from consumers.metrics.definitions import DRIFT_PREFIX, DROPPED_PREFIX, LEFT_OUT_PREFIX, PATH_FILL_PREFIX, Figure
from consumers.metrics.reports import merged, pending_of, rows_of
from shopstream.runtime.coordinator_types import WorkerView
from shopstream.runtime.tables import table

TIGHT: Final = (0, 1, 0, 0)
"""Padding with which a table of a million records fits 80 columns."""
STAGE_STYLES: Final = {"running": "green", "at end": "cyan", "done": "green", "dead": "bold red", "waiting": "yellow"}


def by_role(views: Sequence[WorkerView]) -> dict[str, list[WorkerView]]:
    """Group the workers by role, in the order of the roles."""
    roles: dict[str, list[WorkerView]] = {}
    for view in views:
        roles.setdefault(view.name.role, []).append(view)
    return roles


def live_table(views: Sequence[WorkerView]) -> RenderableType:
    """Build a table with a line for each role: records read and written, lag and problems."""
    columns = (
        "role", "state", "read", "read/s", "lag", "pending", "written", "written/s", "rejected", "p50 / p99",
    )  # fmt: skip
    rows: list[tuple[RenderableType, ...]] = []
    errors: list[Text] = []
    for role, workers in by_role(views).items():
        total = merged([view.figures for view in workers])
        fresh = [total.get("freshness_p50_ms"), total.get("freshness_p99_ms")]
        rows.append((
            role if len(workers) == 1 else f"{role} x{len(workers)}",
            _stages(workers),
            _count(total.get("consumed")),
            _count(sum(view.records_per_s for view in workers)),
            _count(total.get("lag_records")),
            _count(pending_of(total)),
            _count(rows_of(total)),
            _count(sum(view.rows_per_s for view in workers)),
            _count(int(total.get("rejected") or 0) + int(total.get("late") or 0)),
            " / ".join(_seconds(value) for value in fresh) if any(fresh) else "",
        ))  # fmt: skip
        errors += [Text(f"{view.name}: {view.last_error}", style="yellow") for view in workers if view.last_error]
    return Group(table(None, columns, rows, text_columns=2, box=None, pad_edge=False, header_style="dim"), *errors)


def closing_table(views: Sequence[WorkerView], seconds: float, final_as_of: int | None) -> Table:
    """Build a table of each role's totals."""
    totals = {role: merged([view.figures for view in workers]) for role, workers in by_role(views).items()}
    # only the role `map` leaves messages out, and it neither drops late records nor duplicates
    maps = any("left_out" in total for total in totals.values())
    columns = _MAP_TOTALS if maps else _TOTALS
    rows = []
    for role, workers in by_role(views).items():
        total = {**totals[role], "written": rows_of(totals[role])}
        rate = sum(view.mean_records_per_s for view in workers)
        rows.append((role, *(_count(total.get(name)) for name in columns.values()), _count(rate)))
    title = f"{'mapped' if maps else 'consumed'} in {seconds:,.1f} s"
    title += f", final rows at {iso(final_as_of)}" if final_as_of else ""
    names = ("role", *columns, "read/s")
    return table(title, names, rows, text_columns=1, title_justify="left", box=SIMPLE_HEAD, padding=TIGHT)


_TOTALS: Final = {
    "read": "consumed", "rejected": "rejected", "late": "late", "duplicates": "duplicates", "written": "written",
    "refused": "refused",
}  # fmt: skip
_MAP_TOTALS: Final = {
    "read": "consumed", "mapped": "valid", "left out": "left_out", "dead letters": "rejected",
    "records written": "written", "behind 48 h": "behind",
}  # fmt: skip
"""Column of the totals -> figure."""


def reason_tables(figures: Sequence[Mapping[str, Figure]]) -> list[Table]:
    """Build a table of the messages that were left out, and one of the dropped values; none without any.

    Args:
        figures: figures of each worker.
    """
    total = merged(figures)
    tables = []
    for prefix, title, columns in _BY_REASON:
        rows = [
            (escape(name.removeprefix(prefix)), _count(count))
            for name, count in sorted(total.items())
            if name.startswith(prefix)
        ]
        if rows:
            tables.append(table(title, columns, rows, text_columns=1, title_justify="left"))
    return tables


_BY_REASON: Final = (
    (LEFT_OUT_PREFIX, "left out", ("reason", "messages")),
    (DROPPED_PREFIX, "values that records cannot hold", ("mapping, path and reason", "values")),
)
"""Prefix of figures, and title and columns of their table."""


def json_lines(views: Sequence[WorkerView]) -> list[tuple[str, dict[str, object]]]:
    """Return the name and the log fields of each role."""
    lines: list[tuple[str, dict[str, object]]] = []
    for role, workers in by_role(views).items():
        # too long for a line: the documents of `pipeline`, the metrics and `status` have them
        figures: list[Mapping[str, Figure]] = [
            {n: v for n, v in view.figures.items() if not n.startswith((DRIFT_PREFIX, PATH_FILL_PREFIX))}
            for view in workers
        ]
        total = merged(figures)
        rates = {
            "records_per_s": round(sum(view.records_per_s for view in workers)),
            "rows_per_s": round(sum(view.rows_per_s for view in workers)),
        }
        fields = {"workers": len(workers), "state": _stages(workers).plain, **total, **rates}
        lines.append((role, {**fields, "role": role}))
    return lines


def _stages(workers: Sequence[WorkerView]) -> Text:
    stages = list(dict.fromkeys(view.stage for view in workers))
    return Text(", ".join(stages), style=STAGE_STYLES.get(stages[0], "") if len(stages) == 1 else "")


def _count(value: object) -> str:
    return f"{value:,.0f}" if isinstance(value, int | float) else ""


def _seconds(value: object) -> str:
    return f"{value / 1_000:,.1f} s" if isinstance(value, int | float) else "-"
