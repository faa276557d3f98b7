"""Stories from seeds, one after the other: `map run` and `consume` are killed ten times, and the rows stay exact.

`python tests/mapping/campaign.py --seeds 20`, or `--seed 7` for one of them. Uses the servers of the data folder that
SHOPTEST_HOME names, or starts servers and stops them at the end. Ends with 1 when a seed failed, and says for each the
one command that runs it again.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog
from rich.console import Console

HOME_VARIABLE = "SHOPTEST_HOME"


def ready() -> None:
    """Prepares the process: the tests' folder can be imported, and only failures are logged."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


@contextmanager
def running_servers() -> Iterator[object]:
    """Servers of the named data folder, which are left running, or of a new one."""
    from shopstream.embedded import down, up  # noqa: PLC0415 - after `ready`
    from shopstream.settings import Settings  # noqa: PLC0415

    quiet = Console(stderr=True, quiet=True)
    if HOME_VARIABLE in os.environ:
        yield up(Settings(home=Path(os.environ[HOME_VARIABLE])), quiet)
        return
    with tempfile.TemporaryDirectory(prefix="shopstream-kills-") as home:
        Path(home).chmod(0o711)  # as root, Elasticsearch runs as another user, who has to reach its data
        settings = Settings(home=Path(home))
        try:
            yield up(settings, quiet)
        finally:
            down(settings)


def main() -> None:
    """Plays the seeds that the command line names."""
    parser = argparse.ArgumentParser(description="Kills of the mapping and the consumers, each from a seed.")
    parser.add_argument("--seed", type=int, help="this one alone")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--keep", action="store_true", help="keep the folder of a failed seed: archives and logs")
    options = parser.parse_args()
    ready()
    console = Console()
    seeds = range(options.start, options.start + options.seeds) if options.seed is None else [options.seed]
    started_s, failed = time.perf_counter(), []
    with running_servers() as servers:
        for seed in seeds:
            if not tell(console, seed, servers, keep=options.keep):
                failed.append(seed)
    took_s = time.perf_counter() - started_s
    console.print(f"{len(seeds)} seeds in {took_s:.0f} s, {len(failed)} failed {failed}", highlight=False)
    sys.exit(1 if failed else 0)


def tell(console: Console, seed: int, servers: object, *, keep: bool = False) -> bool:
    """Plays one story, says how it went, and returns whether all held."""
    from mapping.kill_play import play, remove  # noqa: PLC0415 - after `ready`
    from mapping.kill_story import draw  # noqa: PLC0415

    story, run = draw(seed), f"k{seed}x{os.getpid()}"
    folder = Path(tempfile.mkdtemp(prefix=f"shopstream-kills-{seed}-"))
    started_s = time.perf_counter()
    try:
        played = play(story, folder, servers, run)
    except Exception as error:  # noqa: BLE001 - told here, and the next seed follows
        where = traceback.extract_tb(error.__traceback__)[-1]
        text = f"seed {seed}, run {run}: {type(error).__name__}: {str(error)[:3_000]} ({where.filename}:{where.lineno})"
        console.print(text, markup=False, highlight=False, soft_wrap=True)
        console.print(f"  again: python tests/mapping/campaign.py --seed {seed}", highlight=False)
        if keep:
            console.print(f"  in {folder}", highlight=False)
        else:
            remove(servers, run, folder)
        return False
    remove(servers, run, folder)
    console.print(
        f"seed {seed}: {'+'.join(story.shapes)}, {time.perf_counter() - started_s:.0f} s, {played.customers:,} rows; "
        f"{played.messages:,} messages = {played.mapped:,} mapped + {played.left_out:,} left out + "
        f"{played.dead_letters:,} dead letters; {played.written:,} records, {played.records:,} distinct; "
        f"{', '.join(played.kills)}",
        markup=False, highlight=False, soft_wrap=True,
    )  # fmt: skip
    return True


if __name__ == "__main__":
    main()
