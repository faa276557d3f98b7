"""Takes the picture of the README: runs `shopstream demo --once` and keeps its summary as SVG.

    python docs/capture_demo.py [--run NAME] [--customers N --events N --days D]

The servers, the data folder and the run are those of the settings. A run that holds the demo's history already is not
sent it again, so that a second picture takes seconds.
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
"""Rich's own, without fonts that would be fetched from somewhere."""


def capture(
    customers: Annotated[int, typer.Option(help="As for `shopstream demo`.")] = 5_000,
    events: Annotated[int, typer.Option(help="Likewise.")] = 1_000_000,
    days: Annotated[int, typer.Option(help="Likewise.")] = 365,
    run: Annotated[str | None, typer.Option(help="Likewise.")] = None,
) -> None:
    """Run the demo once and write its summary as a picture."""
    console = Console(stderr=True)
    configure_logs(json=not console.is_terminal)
    out = Console(record=True, width=WIDTH, force_terminal=True, color_system="truecolor")
    out.print(Text(PROMPT, style="bold"))
    holds = run_demo(Demo(customers, events, days, once=True), load_settings(run=run), console, out)
    if not holds:
        sys.exit("the counts do not agree: no picture of that")
    out.save_svg(str(PICTURE), title="shopstream demo --once", theme=MONOKAI, code_format=FORMAT, unique_id="demo")
    console.print(f"wrote {PICTURE}")


if __name__ == "__main__":
    typer.run(capture)
