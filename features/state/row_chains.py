"""Walks chains of rows of one owner, linked by int32 row numbers outside the rows, in compiled code."""

from __future__ import annotations

import numba
import numpy as np

_ABREAST = 16
"""Chains walked side by side: in a large table each step waits for memory, and these waits can overlap."""


@numba.njit(cache=True, nogil=True)
def chain_lengths(heads, following, lengths):
    """Write the length of each chain; return their sum. `following` has the next row of each, or -1."""
    at = np.empty(_ABREAST, np.int32)
    total = np.int64(0)
    for first in range(0, len(heads), _ABREAST):
        width = min(_ABREAST, len(heads) - first)
        for i in range(width):
            at[i] = heads[first + i]
            lengths[first + i] = 0
        going = True
        while going:
            going = False
            for i in range(width):
                if at[i] != -1:
                    at[i] = following[at[i]]
                    lengths[first + i] += 1
                    total += 1
                    going = True
    return total


@numba.njit(cache=True, nogil=True)
def gather_chains(heads, following, lengths, group, out):
    """Write the row numbers of each chain into `out` and the chain's position into `group`, chain by chain."""
    at = np.empty(_ABREAST, np.int32)
    end_of = np.empty(_ABREAST, np.int64)
    end = np.int64(0)
    for first in range(0, len(heads), _ABREAST):
        width = min(_ABREAST, len(heads) - first)
        for i in range(width):
            at[i] = heads[first + i]
            end_of[i] = end
            end += lengths[first + i]
        going = True
        while going:
            going = False
            for i in range(width):
                if at[i] != -1:
                    group[end_of[i]] = first + i
                    out[end_of[i]] = at[i]
                    end_of[i] += 1
                    at[i] = following[at[i]]
                    going = True


@numba.njit(cache=True, nogil=True)
def relink(heads, following, owners, count):
    """Rebuild the chains of all owners after rows were removed; `heads` must contain only -1."""
    for row in range(count):
        owner = owners[row]
        following[row] = heads[owner]
        heads[owner] = row


@numba.njit(cache=True, nogil=True)
def compact_rows(rows, count, keep, renumbered):
    """Move the kept rows to the front, in order. Write the new number of each, or -1; return the number kept."""
    used = 0
    for row in range(count):
        if keep[row]:
            rows[used] = rows[row]
            renumbered[row] = used
            used += 1
        else:
            renumbered[row] = -1
    return used


@numba.njit(cache=True, nogil=True)
def compact_views(sessions, count, views, next_view, out, out_next):
    """Copy the chains of view counts of the first `count` sessions; return the new number of links."""
    used = 0
    for row in range(count):
        link = sessions[row].views
        sessions[row].views = -1
        while link != -1:
            out[used] = views[link]
            out_next[used] = sessions[row].views
            sessions[row].views = used
            used += 1
            link = next_view[link]
    return used


@numba.njit(cache=True, nogil=True)
def sum_views(group, category, weight, groups, order, top, top_share):
    """Write per group the category with most views and its share. `order` is each word's position in byte order.

    Rows of a group are adjacent. A tie goes to the smallest position in byte order. A group without views gets -1 and
    NaN.
    """
    n = len(group)
    totals = np.zeros(len(order), np.int64)
    used = np.empty(len(order), np.int64)
    for i in range(groups):
        top[i] = -1
        top_share[i] = np.nan
    at = 0
    while at < n:
        current = group[at]
        words = 0
        total = np.int64(0)
        while at < n and group[at] == current:
            word = category[at]
            if totals[word] == 0:
                used[words] = word
                words += 1
            totals[word] += weight[at]
            total += weight[at]
            at += 1
        best = np.int64(-1)
        for i in range(words):
            word = used[i]
            if (
                best == -1
                or totals[word] > totals[best]
                or (totals[word] == totals[best] and order[word] < order[best])
            ):
                best = word
        top[current] = best
        top_share[current] = totals[best] / total
        for i in range(words):
            totals[used[i]] = 0
