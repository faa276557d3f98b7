"""Which checkpoints a run's stream on Spark was started with: they lie anywhere, so each start is noted here.

A file of the data folder for each run, with a line for each checkpoint.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from connectors.files import write_whole
from shopstream.settings import Settings

FOLDER: Final = "spark"
"""Below the data folder: `RUN.checkpoints`."""
SUFFIX: Final = ".checkpoints"


def spark_places(settings: Settings, run: str) -> list[str]:
    """The checkpoints of a run, those that were deleted since left out where that can be seen."""
    try:
        noted = _file(settings, run).read_text("utf-8").splitlines()
    except OSError:
        return []
    return [place for place in noted if "://" in place or Path(place).exists()]


def note_spark_place(settings: Settings, run: str, checkpoint: str) -> None:
    """Notes that a run is streamed with this checkpoint.

    Args:
        settings: of the data folder.
        run: the run's name.
        checkpoint: a path or URI; a path is noted as an absolute one.
    """
    place = checkpoint if "://" in checkpoint else str(Path(checkpoint).absolute())
    noted = spark_places(settings, run)
    if place not in noted:
        write_whole(_file(settings, run), lambda path: path.write_text("\n".join([*noted, place]) + "\n", "utf-8"))


def _file(settings: Settings, run: str) -> Path:
    return settings.home / FOLDER / f"{run}{SUFFIX}"
