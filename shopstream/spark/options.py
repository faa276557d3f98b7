"""Defines the values of the Spark commands' options; imports no library, so that their `--help` is fast."""

from __future__ import annotations

from typing import Literal

Learn = Literal["auto", "machine", "cluster"]
"""Place of training."""
Reader = Literal["auto", "arrow", "spark"]
"""Library that reads the files of an archive."""
