"""Records the checkpoint locations of a run's Spark streams, since checkpoints can lie anywhere.

One file per run in the data folder, with a line per checkpoint.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from connectors.files import write_whole
from shopstream.settings import Settings

FOLDER: Final = "spark"
"""Folder below the data folder; holds `RUN.checkpoints`."""
SUFFIX: Final = ".checkpoints"


def spark_checkpoints(settings: Settings, run: str) -> list[str]:
    """Return the checkpoints of a run, without local ones that were deleted."""
    try:
        recorded = _file(settings, run).read_text("utf-8").splitlines()
    except OSError:
        return []
    return [checkpoint for checkpoint in recorded if "://" in checkpoint or Path(checkpoint).exists()]


def record_spark_checkpoint(settings: Settings, run: str, checkpoint: str) -> None:
    """Record that a run is streamed with this checkpoint.

    Args:
        settings: settings with the data folder.
        run: name of the run.
        checkpoint: a path or URI; a path is recorded as an absolute one.
    """
    location = checkpoint if "://" in checkpoint else str(Path(checkpoint).absolute())
    recorded = spark_checkpoints(settings, run)
    if location not in recorded:
        write_whole(
            _file(settings, run), lambda path: path.write_text("\n".join([*recorded, location]) + "\n", "utf-8")
        )


def _file(settings: Settings, run: str) -> Path:
    return settings.home / FOLDER / f"{run}{SUFFIX}"
