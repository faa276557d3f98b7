"""Many seeds in parallel processes: `make simulate SEEDS=1000`, `make simulate SEED=123`.

Ends with 1 when a seed failed, and says for each the one command that runs it again.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
import traceback
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import structlog
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


def ready() -> None:
    """Prepares a process: the tests' folder can be imported, polars takes one thread, only failures are told."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    os.environ["POLARS_MAX_THREADS"] = "1"
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


def run(seed: int) -> tuple[int, str, int, Counter[str], str]:
    """Seed, digest, boundaries crossed, what happened, and what failed (empty: nothing)."""
    from simulation.storm import weather  # noqa: PLC0415 - after `ready`

    try:
        found = weather(seed)
    except Exception as error:  # noqa: BLE001 - told at the end
        where = traceback.extract_tb(error.__traceback__)[-1]
        return seed, "", 0, Counter(), f"{type(error).__name__}: {str(error)[:600]} ({where.filename}:{where.lineno})"
    return seed, found.digest, found.steps, found.happened, ""


def main() -> None:
    """Runs the seeds that the command line names."""
    parser = argparse.ArgumentParser(description="Simulated disasters, each from a seed.")
    parser.add_argument("--seed", type=int, help="this one alone, in this process, with its digest")
    parser.add_argument("--seeds", type=int, default=1_000)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    ready()
    console = Console()
    if options.seed is not None:
        seed, digest, steps, happened, fault = run(options.seed)
        console.print(f"seed {seed}: {digest or 'failed'}, {steps:,} boundaries, {dict(happened)}", highlight=False)
        if fault:
            console.print(fault, markup=False, highlight=False)
        sys.exit(1 if fault else 0)
    started_s = time.perf_counter()
    steps_all, total, failed = 0, Counter[str](), []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with (
        Progress(*columns, console=console) as progress,
        ProcessPoolExecutor(options.workers, initializer=ready) as pool,
    ):
        task = progress.add_task("seeds", total=options.seeds)
        for future in as_completed([pool.submit(run, options.start + n) for n in range(options.seeds)]):
            seed, _, steps, happened, fault = future.result()
            steps_all += steps
            total += happened
            progress.advance(task)
            if fault:
                failed.append(seed)
                progress.console.print(f"seed {seed}: {fault}", markup=False, highlight=False)
                progress.console.print(f"  again: make simulate SEED={seed}", markup=False, highlight=False)
    took_s = time.perf_counter() - started_s
    console.print(f"{options.seeds} seeds from {options.start} in {took_s:.0f} s ({options.seeds / took_s:.2f}/s), "
                  f"{steps_all:,} boundaries, {len(failed)} failed {sorted(failed)[:50]}", highlight=False)  # fmt: skip
    for what, count in sorted(total.items(), key=lambda pair: -pair[1]):
        console.print(f"  {count:>8,} {what}", markup=False, highlight=False)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
