"""Compares the stream with its floor and with another library, on the same topic in one run.

    make bench                                                   # everything, on servers of its own
    python benchmarks/stream.py --only a,b --repeat 5            # some of it
    python benchmarks/stream.py --servers settings --json out.json   # on the servers of `shopstream up`
    python benchmarks/stream.py --only b --steps                 # where the consumer's time goes

(a) the floor: consume and decode to typed records, nothing else
(b) the features consumer; rows are evaluated and discarded         (e) the same by two workers
(c) the same into Elasticsearch                                     (g) the same with a million customers in its state
(d) quixstreams: count and sum per customer                         (f) memory of that state

Every measurement is its own process. They alternate, so that other load affects all of them; medians are shown.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
from pathlib import Path

from rich.console import Console

from benchmarks.figures import Figures
from benchmarks.million import million
from benchmarks.runner import ROOT
from benchmarks.servers import open_servers
from benchmarks.systems import Systems
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


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--customers", type=int, default=20_000)
    parser.add_argument("--repeat", type=int, default=3, help="measurements of each system")
    parser.add_argument("--only", default="".join(NAMES), help="letters, for example a,b")
    parser.add_argument("--servers", choices=("own", "settings"), default="own", help="own: started and removed")
    parser.add_argument("--steps", action="store_true", help="show the time of (b) by part, from one more measurement")
    parser.add_argument("--state-customers", type=int, default=1_000_000, help="customers of (f)")
    parser.add_argument("--million-customers", type=int, default=1_000_000, help="customers of (g)")
    parser.add_argument("--checkpoint-interval-s", type=float, default=5.0)
    parser.add_argument("--json", type=Path, help="every figure, as JSON")
    parser.add_argument("--quix-python", type=Path, default=ROOT / ".venv" / "bench" / "bin" / "python")
    arguments = parser.parse_args()
    arguments.only = [letter for letter in NAMES if letter in arguments.only]
    return arguments


def main() -> None:
    arguments = parse_arguments()
    console = Console(stderr=True)
    load = os.getloadavg()[0]
    console.print(f"{platform.machine()}, {CORES} cores, Python {platform.python_version()}; load before: {load:.1f}")
    if load > CORES / 4:
        console.print("[yellow]Other programs use this machine: rates are too low, CPU seconds slightly too high.[/]")
    with tempfile.TemporaryDirectory(prefix="shopstream-bench-") as folder:
        work = Path(folder)
        work.chmod(0o711)  # as root, Elasticsearch runs as another user, which needs access to its data
        figures = Figures(NAMES)
        try:
            measure(arguments, work, figures, console)
        finally:
            figures.show(Console(), arguments)
            if arguments.json:
                arguments.json.write_text(figures.to_json(arguments))
    if not figures.right:
        raise SystemExit(1)


def measure(arguments: argparse.Namespace, work: Path, figures: Figures, console: Console) -> None:
    streams = [letter for letter in arguments.only if letter in "abcde"]
    if not streams and "g" not in arguments.only:
        figures.state(work, arguments, console)
        return
    with open_servers(arguments.servers, work, console) as servers:
        if streams or arguments.steps:
            systems = Systems(servers, work / "main", arguments, console)
            systems.prepare(Size(arguments.customers, arguments.events))
            figures.sent = systems.sent
            for turn in range(arguments.repeat):
                for letter in streams:
                    systems.take_turn(letter, turn, figures)
            if arguments.steps:
                figures.steps = systems.steps()
            systems.clear()
        if "g" in arguments.only:
            million(servers, work / "million", arguments, figures, console)
    if "f" in arguments.only:
        figures.state(work, arguments, console)


if __name__ == "__main__":
    try:
        main()
    except ShopstreamError as error:
        raise SystemExit(f"error: {error}") from error
