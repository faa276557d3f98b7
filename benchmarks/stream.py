"""The stream against its floor and against another library, on the same topic in one run.

    make bench                                                   # everything, on servers of its own
    python benchmarks/stream.py --only a,b --repeat 5            # some of it
    python benchmarks/stream.py --servers settings --json out.json   # on the servers of `shopstream up`
    python benchmarks/stream.py --only b --steps                 # where the consumer's time goes

(a) the floor: consume and decode to typed records, nothing else
(b) the features consumer; rows are evaluated and thrown away       (e) the same by two workers
(c) the same into Elasticsearch                                     (g) the same with a million customers in its state
(d) quixstreams: count and sum per customer                         (f) memory of that state

Every measurement is a process of its own; by turns, so that what else the machine does falls on all; medians are shown.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
from pathlib import Path

from rich.console import Console

from benchmarks.contest import ROOT
from benchmarks.entrants import Entrants
from benchmarks.figures import Figures
from benchmarks.ground import ground
from benchmarks.million import million
from benchmarks.workload import Size
from features.errors import ShopstreamError

NAMES = {
    "a": "floor: consume, decode",
    "b": "features, sinks off",
    "c": "features, Elasticsearch",
    "d": "quixstreams: count, sum",
    "e": "features, two workers",
    "f": "memory of the state",
    "g": "features, a million customers",
}

CORES = os.cpu_count() or 1


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--customers", type=int, default=20_000)
    parser.add_argument("--repeat", type=int, default=3, help="measurements of each, by turns")
    parser.add_argument("--only", default="".join(NAMES), help="letters, for example a,b")
    parser.add_argument("--servers", choices=("own", "settings"), default="own", help="own: started and removed")
    parser.add_argument("--steps", action="store_true", help="tell where (b)'s time goes, from one more measurement")
    parser.add_argument("--state-customers", type=int, default=1_000_000, help="of (f)")
    parser.add_argument("--million-customers", type=int, default=1_000_000, help="of (g)")
    parser.add_argument("--checkpoint-interval-s", type=float, default=5.0)
    parser.add_argument("--json", type=Path, help="every figure, as JSON")
    parser.add_argument("--quix-python", type=Path, default=ROOT / ".venv" / "bench" / "bin" / "python")
    given = parser.parse_args()
    given.only = [letter for letter in NAMES if letter in given.only]
    return given


def main() -> None:
    given = arguments()
    console = Console(stderr=True)
    load = os.getloadavg()[0]
    console.print(f"{platform.machine()}, {CORES} cores, Python {platform.python_version()}; load before: {load:.1f}")
    if load > CORES / 4:
        console.print("[yellow]Others are using this machine: rates are too low, CPU seconds a little too high.[/]")
    with tempfile.TemporaryDirectory(prefix="shopstream-bench-") as folder:
        work = Path(folder)
        work.chmod(0o711)  # as root, Elasticsearch runs as another user, who has to reach its data
        figures = Figures(NAMES)
        try:
            measure(given, work, figures, console)
        finally:
            figures.show(Console(), given)
            if given.json:
                given.json.write_text(figures.to_json(given))
    if not figures.right:
        raise SystemExit(1)


def measure(given: argparse.Namespace, work: Path, figures: Figures, console: Console) -> None:
    streams = [letter for letter in given.only if letter in "abcde"]
    if not streams and "g" not in given.only:
        figures.state(work, given, console)
        return
    with ground(given.servers, work, console) as servers:
        if streams or given.steps:
            entrants = Entrants(servers, work / "main", given, console)
            entrants.prepare(Size(given.customers, given.events))
            figures.sent = entrants.sent
            for turn in range(given.repeat):
                for letter in streams:
                    entrants.take_turn(letter, turn, figures)
            if given.steps:
                figures.steps = entrants.steps()
            entrants.clear()
        if "g" in given.only:
            million(servers, work / "million", given, figures, console)
    if "f" in given.only:
        figures.state(work, given, console)


if __name__ == "__main__":
    try:
        main()
    except ShopstreamError as error:
        raise SystemExit(f"error: {error}") from error
