"""Loads the consumers' scoring bundle: a given bundle, or the one that the pointer `current` of a folder names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from features.scores.score import Scoring

FOLDER: Final = "bundles"
"""Subfolder of the data folder."""
_SIGNS: Final = ("bundle.json", "current")
"""Files that mark a bundle or a folder of bundles; found without importing the training side's libraries."""


@dataclass(frozen=True, slots=True)
class FolderBundles:
    """Implements `consumers.features.scoring.Bundles`; imports `training` only when there is a bundle to load.

    Attributes:
        path: path of a bundle, or of a folder with a pointer.
    """

    path: Path

    def current(self) -> str | None:
        """Return the bundle's folder and its time of creation; None if there is neither bundle nor pointer."""
        if not any((self.path / name).is_file() for name in _SIGNS):
            return None
        from training.bundle import resolve  # noqa: PLC0415

        folder = resolve(self.path)
        return f"{folder}\n{(folder / _SIGNS[0]).stat().st_mtime_ns}"

    def load(self, key: str) -> Scoring:
        """Load the bundle of a key. Raises ShopstreamError if the bundle is damaged or incompatible."""
        from training.bundle import load_bundle  # noqa: PLC0415

        return load_bundle(Path(key.partition("\n")[0])).scoring()
