"""Many seeds in parallel processes, each with every role: `make simulate SEEDS=1000`, `make simulate SEED=123`.

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


ROLES = ("features", "index", "archive", "map")


def run(seed: int, role: str) -> tuple[int, str, str, int, Counter[str], str]:
    """Seed, role, digest, boundaries crossed, what happened, and what failed (empty: nothing)."""
    from simulation.storm import weather  # noqa: PLC0415 - after `ready`

    try:
        result = weather(seed, role)
    except Exception as error:  # noqa: BLE001 - told at the end
        where = traceback.extract_tb(error.__traceback__)[-1]
        fault = f"{type(error).__name__}: {str(error)[:600]} ({where.filename}:{where.lineno})"
        return seed, role, "", 0, Counter(), fault
    return seed, role, result.digest, result.steps, result.happened, ""


def main() -> None:
    """Runs the seeds that the command line names."""
    parser = argparse.ArgumentParser(description="Simulated disasters, each from a seed.")
    parser.add_argument("--seed", type=int, help="this one alone, in this process, with its digest")
    parser.add_argument("--seeds", type=int, default=1_000)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--role", choices=ROLES, help="this one alone")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    ready()
    console = Console()
    roles = [options.role] if options.role else ROLES
    if options.seed is not None:
        sys.exit(max(tell(console, options.seed, role) for role in roles))
    started_s = time.perf_counter()
    steps_all, total, failed = 0, {role: Counter[str]() for role in roles}, []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with (
        Progress(*columns, console=console) as progress,
        ProcessPoolExecutor(options.workers, initializer=ready) as pool,
    ):
        task = progress.add_task("worlds", total=options.seeds * len(roles))
        seeds = range(options.start, options.start + options.seeds)
        for future in as_completed([pool.submit(run, seed, role) for seed in seeds for role in roles]):
            seed, role, _, steps, happened, fault = future.result()
            steps_all += steps
            total[role] += happened
            progress.advance(task)
            if fault:
                failed.append((seed, role))
                progress.console.print(f"seed {seed}, {role}: {fault}", markup=False, highlight=False)
                progress.console.print(f"  again: {again(seed, role)}", markup=False, highlight=False)
    took_s = time.perf_counter() - started_s
    console.print(f"{options.seeds} seeds from {options.start} in {took_s:.0f} s ({options.seeds / took_s:.2f}/s), "
                  f"{steps_all:,} boundaries, {len(failed)} failed {sorted(failed)[:50]}", highlight=False)  # fmt: skip
    for role in roles:
        for what, count in sorted(total[role].items(), key=lambda pair: -pair[1]):
            console.print(f"  {role:<8} {count:>8,} {what}", markup=False, highlight=False)
    sys.exit(1 if failed else 0)


def tell(console: Console, seed: int, role: str) -> int:
    """Plays one world in this process, says how it went, and returns 1 if it failed."""
    _, _, digest, steps, happened, fault = run(seed, role)
    console.print(f"seed {seed}, {role}: {digest or 'failed'}, {steps:,} boundaries, {dict(happened)}", highlight=False)
    if fault:
        console.print(fault, markup=False, highlight=False)
    return 1 if fault else 0


def again(seed: int, role: str) -> str:
    """The command that plays it once more."""
    return f"make simulate SEED={seed} ROLE={role}"


if __name__ == "__main__":
    main()
