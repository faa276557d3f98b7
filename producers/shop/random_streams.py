"""Provides named random streams: every part of the shop draws from its own stream of the seed.

A stream is addressed, not consumed in turn, so any day can be drawn again without the earlier days.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Stream(IntEnum):
    """Purpose of a random stream. The numbers affect the archive's bytes."""

    CATALOGUE = 1
    POPULATION = 2
    ARRIVALS = 3
    PROFILES = 4
    DAY_NOISE = 5
    HISTORY = 6
    LIVE = 7
    DIRT = 8
    DELETIONS = 9
    SOURCES = 10


def generator(seed: int, stream: Stream, *address: int) -> np.random.Generator:
    """Return the generator of a stream at an address (non-negative integers). Equal arguments, equal generators."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(int(stream), *address))))
