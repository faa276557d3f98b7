"""Creates the picture of the README: runs `shopstream demo --once` and stores its summary as SVG.

    python docs/capture_demo.py [--run NAME] [--customers N --events N --days D]

The settings define the servers, the data folder and the run. The history is sent to a run once, so a second picture
takes seconds.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

from shopstream.demo.demo import Demo
from shopstream.demo.demo import run as run_demo
from shopstream.runtime.logs import configure_logs
from shopstream.settings import load_settings

PICTURE = Path(__file__).parent / "img" / "demo.svg"
WIDTH = 90
PROMPT = "$ make demo DEMO=--once"
FORMAT = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL).replace(
    "Fira Code, monospace", "ui-monospace, SFMono-Regular, Menlo, Consolas, monospace"
)
"""SVG format of Rich without the fonts that a viewer would download."""


def capture(
    customers: Annotated[int, typer.Option(help="Number of customers.")] = 5_000,
    events: Annotated[int, typer.Option(help="Approximate number of events.")] = 1_000_000,
    days: Annotated[int, typer.Option(help="Days of the history.")] = 365,
    run: Annotated[str | None, typer.Option(help="Name of the run.")] = None,
) -> None:
    """Run the demo once and write its summary as a picture."""
    console = Console(stderr=True)
    configure_logs(json=not console.is_terminal)
    out = Console(record=True, width=WIDTH, force_terminal=True, color_system="truecolor")
    out.print(Text(PROMPT, style="bold"))
    holds = run_demo(Demo(customers, events, days, once=True), load_settings(run=run), console, out)
    if not holds:
        sys.exit("the counts do not agree: no picture was written")
    out.save_svg(str(PICTURE), title="shopstream demo --once", theme=MONOKAI, code_format=FORMAT, unique_id="demo")
    console.print(f"wrote {PICTURE}")


if __name__ == "__main__":
    typer.run(capture)
