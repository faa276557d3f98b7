"""Counts the events of sessions by type, and finds their most viewed categories."""

from __future__ import annotations

import numpy as np

from features.schema import EVENT_TYPES
from features.state import row_chains
from features.state.state import State
from features.state.tables import CARRIED, COUNT_MAX, NONE, Float64, Int32, Int64, Rows, carried_word, take


def session_counts(state: State, sessions: Rows) -> dict[str, Int64]:
    """Return the number of events of each type, as `n_TYPE`, for rows copied from the state's sessions."""
    counts = {f"n_{event_type}": sessions[f"n_{event_type}"].astype(np.int64) for event_type in EVENT_TYPES}
    carried = np.flatnonzero(sessions["marks"] & CARRIED)
    if len(carried):
        position, links = gather(sessions["views"][carried], state.next_view)
        views = take(state.views, links)
        for number, count in enumerate(counts.values()):
            of_word = views["category"] == carried_word(number)
            np.add.at(count, carried[position[of_word]], COUNT_MAX * views["count"][of_word].astype(np.int64))
    return counts


def top_categories(state: State, group: Int32, rows: Rows, customers: int) -> tuple[Int32, Float64]:
    """Return each customer's category number with most product views (NONE without views), and its share."""
    viewed = rows["views"] != NONE
    position, links = gather(np.ascontiguousarray(rows["views"][viewed]), state.next_view)
    views = take(state.views, links)
    of_words = views["category"] > NONE
    if not of_words.all():
        position, views = position[of_words], views[of_words]
    top, share = np.empty(customers, np.int32), np.empty(customers, np.float64)
    row_chains.sum_views(
        group[viewed][position], np.ascontiguousarray(views["category"]), views["count"].astype(np.int64),
        customers, byte_order(state), top, share,
    )  # fmt: skip
    return top, share


def byte_order(state: State) -> Int32:
    """Return the position of each word of the state in the order of its UTF-8 bytes."""
    words = [word.encode() for word in state.words.array().to_pylist()]
    rank = np.empty(len(words), np.int32)
    rank[sorted(range(len(words)), key=words.__getitem__)] = np.arange(len(words), dtype=np.int32)
    return rank


def gather(heads: Int32, following: Int32) -> tuple[Int32, Int32]:
    """Return position of the head and row number of every row in the chains that begin at `heads`."""
    lengths = np.empty(len(heads), np.int32)
    total = row_chains.chain_lengths(heads, following, lengths)
    group, index = np.empty(total, np.int32), np.empty(total, np.int32)
    row_chains.gather_chains(heads, following, lengths, group, index)
    return group, index
