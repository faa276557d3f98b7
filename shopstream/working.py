"""What commands that work on files have in common: a line that says what is done now, and tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from connectors.files import write_whole

if TYPE_CHECKING:
    import polars as pl


@contextmanager
def progress(console: Console) -> Iterator[Callable[[str, float | None], None]]:
    """A line that says what is done now, and the share of it that is done, where that is known."""
    bar = Progress(
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(),
        console=console, transient=True, disable=not console.is_terminal,
    )  # fmt: skip
    with bar:
        task = bar.add_task("reading the archive", total=None)
        yield lambda said, share: _show(bar, task, said, share)


def _show(bar: Progress, task: TaskID, said: str, share: float | None) -> None:
    bar.update(task, description=said, total=None if share is None else 1.0, completed=share or 0.0)


def write_table(out: Path, frame: pl.DataFrame) -> None:
    """Parquet, or CSV by the file's ending, in which no text begins a formula; lists of words are joined by blanks."""
    from polars import List, col  # noqa: PLC0415 - commands import this module for their help, too

    from training.cells import safe_frame  # noqa: PLC0415

    if out.suffix != ".csv":
        write_whole(out, frame.write_parquet)
        return
    lists = [name for name, dtype in frame.schema.items() if isinstance(dtype, List)]
    write_whole(out, safe_frame(frame.with_columns(col(name).list.join(" ") for name in lists)).write_csv)
