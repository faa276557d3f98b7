"""Where the consumers' scores come from: a bundle, or whichever the pointer `current` of a folder names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from features.scores.score import Scoring

FOLDER: Final = "bundles"
"""Below the data folder."""
_SIGNS: Final = ("bundle.json", "current")
"""One of these stands in a bundle, or in a folder of bundles: looked for without the training side's libraries."""


@dataclass(frozen=True, slots=True)
class FolderBundles:
    """Bundles as `consumers.features.scoring.Bundles` takes them; `training` is imported when there is one to load.

    Attributes:
        path: a bundle, or a folder with a pointer.
    """

    path: Path

    def current(self) -> str | None:
        """The bundle's folder and the time of its making; None while there is neither bundle nor pointer."""
        if not any((self.path / name).is_file() for name in _SIGNS):
            return None
        from training.bundle import resolve  # noqa: PLC0415

        folder = resolve(self.path)
        return f"{folder}\n{(folder / _SIGNS[0]).stat().st_mtime_ns}"

    def load(self, key: str) -> Scoring:
        """The bundle of a key. Raises ShopstreamError when it is damaged or does not fit."""
        from training.bundle import load_bundle  # noqa: PLC0415

        return load_bundle(Path(key.partition("\n")[0])).scoring()
