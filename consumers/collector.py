"""Tunes Python's collector of reference cycles for processes that hold large batches."""

from __future__ import annotations

import gc


def tune_collector() -> None:
    """Make the cyclic collector run rarely: batches are large lists of objects without cycles."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)
