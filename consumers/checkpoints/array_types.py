"""Converts array types to and from their description in a checkpoint's header. Pure."""

from __future__ import annotations

from typing import Any

import numpy as np


def described(dtype: np.dtype[Any]) -> list[Any]:
    """Return the description of a type for a checkpoint's header."""
    if dtype.names is None:
        return [dtype.str]
    return [dtype.itemsize, *((name, dtype[name].str, dtype.fields[name][1]) for name in dtype.names)]  # type: ignore[index]


def dtype_of(description: list[Any]) -> np.dtype[Any]:
    """Return the type of a description; inverse of `described`."""
    if isinstance(description[0], str):
        return np.dtype(description[0])
    itemsize, *columns = description
    return np.dtype(
        {
            "names": [name for name, _, _ in columns],
            "formats": [form for _, form, _ in columns],
            "offsets": [offset for _, _, offset in columns],
            "itemsize": itemsize,
        }
    )
