"""The compiled loops of the state: one pass over a batch of columns, no allocation per record.

Callers guarantee room: every table passed in has space for as many new rows as the batch has records.
"""

from __future__ import annotations

import numba
import numpy as np

from features.hashing import murmur3_128

_MIX = np.uint64(0x9E3779B97F4A7C15)
_HOUR_MS = np.int64(3_600_000)
_HOUR_BITS = np.uint64((1 << 20) - 1)
_PRODUCT_VIEW, _ADD_TO_CART, _CHECKOUT, _PURCHASE = 2, 3, 5, 6  # positions in schema.EVENT_TYPES, checked by a test


@numba.njit(inline="always")
def _same(data, start, length, other, other_start):
    for i in range(length):
        if data[start + i] != other[other_start + i]:
            return False
    return True


@numba.njit(inline="always")
def _smaller(data, start, length, other, other_start, other_length):
    for i in range(min(length, other_length)):
        a, b = data[start + i], other[other_start + i]
        if a != b:
            return a < b
    return length < other_length


@numba.njit(cache=True, nogil=True)
def intern_strings(offsets, data, slots, hashes, ends, store, count, codes):
    """Write the number of each string into `codes`, adding unknown ones to the table; returns the new count."""
    mask = len(slots) - 1
    for i in range(len(codes)):
        start, end = np.int64(offsets[i]), np.int64(offsets[i + 1])
        length = end - start
        key, _ = murmur3_128(data, start, end)
        slot = np.int64(key & np.uint64(mask))
        while True:
            row = slots[slot]
            if row == -1:
                at = ends[count]
                for j in range(length):
                    store[at + j] = data[start + j]
                ends[count + 1] = at + length
                hashes[count] = key
                slots[slot] = count
                codes[i] = count
                count += 1
                break
            if (
                hashes[row] == key
                and ends[row + 1] - ends[row] == length
                and _same(data, start, length, store, ends[row])
            ):
                codes[i] = row
                break
            slot = (slot + 1) & mask
    return count


@numba.njit(cache=True, nogil=True)
def find_strings(offsets, data, slots, hashes, ends, store, codes):
    """Write the number of each string into `codes`, -1 for one that the table does not have."""
    mask = len(slots) - 1
    for i in range(len(codes)):
        start, end = np.int64(offsets[i]), np.int64(offsets[i + 1])
        key, _ = murmur3_128(data, start, end)
        slot = np.int64(key & np.uint64(mask))
        while True:
            row = slots[slot]
            if row == -1 or (
                hashes[row] == key
                and ends[row + 1] - ends[row] == end - start
                and _same(data, start, end - start, store, ends[row])
            ):
                codes[i] = row
                break
            slot = (slot + 1) & mask


@numba.njit(cache=True)
def rebuild_string_slots(slots, hashes, count):
    """Fill empty slots from the hashes of the rows."""
    mask = len(slots) - 1
    for row in range(count):
        slot = np.int64(hashes[row] & np.uint64(mask))
        while slots[slot] != -1:
            slot = (slot + 1) & mask
        slots[slot] = row


@numba.njit(inline="always")
def _home(customer, key, mask):
    mixed = (key ^ (np.uint64(customer) * _MIX)) * _MIX
    return np.int64((mixed >> np.uint64(20)) & np.uint64(mask))


@numba.njit(inline="always")
def _find(rows, slots, customer, key):
    """Slot of the row of (customer, key), or of the empty slot where it belongs."""
    mask = len(slots) - 1
    slot = _home(customer, key, mask)
    while True:
        row = slots[slot]
        if row == -1 or (rows[row].key == key and rows[row].customer == customer):
            return slot
        slot = (slot + 1) & mask


@numba.njit(cache=True)
def rebuild_row_slots(slots, rows, count):
    """Fill empty slots from the rows of `orders` or `sessions`."""
    mask = len(slots) - 1
    for row in range(count):
        slot = _home(rows[row].customer, rows[row].key, mask)
        while slots[slot] != -1:
            slot = (slot + 1) & mask
        slots[slot] = row


@numba.njit(inline="always")
def _remember(ids, low, high):
    """Put an event id into the table; False if it was there."""
    mask = len(ids) - 1
    slot = np.int64((low >> np.uint64(8)) & np.uint64(mask))
    while True:
        if ids[slot].low == low and ids[slot].high == high:
            return False
        if ids[slot].low == np.uint64(0) and ids[slot].high == np.uint64(0):
            ids[slot].low = low
            ids[slot].high = high
            return True
        slot = (slot + 1) & mask


@numba.njit(cache=True, nogil=True)
def remember_all(ids, new):
    """Put many event ids into the table (restore, growth); returns how many were new."""
    added = 0
    for i in range(len(new)):
        if _remember(ids, new[i].low, new[i].high):
            added += 1
    return added


@numba.njit(cache=True, nogil=True)
def live_ids(ids, hour_min, out):
    """Copy the ids whose hour is `hour_min` or later (modulo 2^20) into `out`; returns their number."""
    count = 0
    for slot in range(len(ids)):
        if ids[slot].low == np.uint64(0) and ids[slot].high == np.uint64(0):
            continue
        age = (np.int64(ids[slot].high & _HOUR_BITS) - hour_min) & np.int64((1 << 20) - 1)
        if age < (1 << 19):
            out[count] = ids[slot]
            count += 1
    return count


@numba.njit(cache=True, nogil=True)
def apply_events(
    ts, event_type, device, category, channel, country, customer_code,
    event_id_offsets, event_id_data, session_id_offsets, session_id_data,
    customers, sessions, next_session, session_slots, session_count, views, next_view, view_count,
    recent, recent_count, recent_bytes, recent_size, ids, new_ids, new_id_count, open_carts, open_count,
    touched_customers, touched_sessions, customer_seen, session_seen,
):  # fmt: skip
    """Apply a batch of events; returns the new counts.

    Sums, minima and maxima only: neither the order of the records nor the borders of batches can matter.
    """
    customers_touched = 0
    sessions_touched = 0
    applied = 0
    for i in range(len(ts)):
        low, high = murmur3_128(event_id_data, event_id_offsets[i], event_id_offsets[i + 1])
        at = ts[i]
        high = (high & ~_HOUR_BITS) | (np.uint64(at // _HOUR_MS) & _HOUR_BITS)
        if low == np.uint64(0):
            low = np.uint64(1)
        if not _remember(ids, low, high):
            continue
        new_ids[new_id_count].low = low
        new_ids[new_id_count].high = high
        new_id_count += 1
        applied += 1

        code = customer_code[i]
        customer = customers[code]
        customer.first_seen = min(customer.first_seen, at)
        customer.last_seen = max(customer.last_seen, at)
        if customer_seen[code] == 0:
            customer_seen[code] = 1
            touched_customers[customers_touched] = code
            customers_touched += 1

        id_start, id_end = np.int64(session_id_offsets[i]), np.int64(session_id_offsets[i + 1])
        key, _ = murmur3_128(session_id_data, id_start, id_end)
        slot = _find(sessions, session_slots, code, key)
        row = session_slots[slot]
        if row == -1:
            row = session_count
            session_count += 1
            session_slots[slot] = row
            fresh = sessions[row]
            fresh.key = key
            fresh.customer = code
            fresh.start = np.iinfo(np.int64).max
            fresh.last = np.iinfo(np.int64).min
            fresh.first_view = np.iinfo(np.int64).max
            fresh.first_cart = np.iinfo(np.int64).max
            fresh.first_checkout = np.iinfo(np.int64).max
            fresh.first_purchase = np.iinfo(np.int64).max
            fresh.views = -1
            fresh.recent = -1
            fresh.n_page_view = 0
            fresh.n_search = 0
            fresh.n_product_view = 0
            fresh.n_add_to_cart = 0
            fresh.n_remove_from_cart = 0
            fresh.n_checkout = 0
            fresh.n_purchase = 0
            fresh.open_cart = 0
            next_session[row] = customer.session
            customer.session = row
        session = sessions[row]
        if session_seen[row] == 0:
            session_seen[row] = 1
            touched_sessions[sessions_touched] = row
            sessions_touched += 1

        if session.recent == -1:
            session.recent = recent_count
            strings = recent[recent_count]
            recent_count += 1
            strings.session = row
            strings.session_id = recent_size
            strings.session_id_length = id_end - id_start
            strings.event_id = recent_size
            strings.event_id_length = 0
            for j in range(id_end - id_start):
                recent_bytes[recent_size + j] = session_id_data[id_start + j]
            recent_size += id_end - id_start

        strings = recent[session.recent]
        start, end = np.int64(event_id_offsets[i]), np.int64(event_id_offsets[i + 1])
        earliest = at < session.start
        if at == session.start and strings.event_id_length > 0:
            earliest = _smaller(
                event_id_data, start, end - start, recent_bytes, strings.event_id, strings.event_id_length
            )
        if earliest:
            session.start = at
            session.device = device[i]
            session.channel = channel[i]
            session.country = country[i]
            strings.event_id = recent_size
            strings.event_id_length = end - start
            for j in range(end - start):
                recent_bytes[recent_size + j] = event_id_data[start + j]
            recent_size += end - start
        session.last = max(session.last, at)

        kind = event_type[i]
        if kind == 0:
            session.n_page_view += 1
        elif kind == 1:
            session.n_search += 1
        elif kind == _PRODUCT_VIEW:
            session.n_product_view += 1
            session.first_view = min(session.first_view, at)
            word = category[i]
            if word != -1:
                link = session.views
                while link != -1 and views[link].category != word:
                    link = next_view[link]
                if link == -1:
                    link = view_count
                    view_count += 1
                    views[link].category = word
                    views[link].count = 0
                    next_view[link] = session.views
                    session.views = link
                views[link].count += 1
        elif kind == _ADD_TO_CART:
            session.n_add_to_cart += 1
            session.first_cart = min(session.first_cart, at)
        elif kind == 4:
            session.n_remove_from_cart += 1
        elif kind == _CHECKOUT:
            session.n_checkout += 1
            session.first_checkout = min(session.first_checkout, at)
        else:
            session.n_purchase += 1
            session.first_purchase = min(session.first_purchase, at)
        if session.n_add_to_cart > 0 and session.n_purchase == 0 and session.open_cart == 0:
            session.open_cart = 1
            open_carts[open_count] = row
            open_count += 1

    for i in range(customers_touched):
        customer_seen[touched_customers[i]] = 0
    for i in range(sessions_touched):
        session_seen[touched_sessions[i]] = 0
    return (
        applied, session_count, view_count, recent_count, recent_size, new_id_count, open_count,
        customers_touched, sessions_touched,
    )  # fmt: skip


@numba.njit(cache=True, nogil=True)
def apply_orders(
    ts, updated_ts, status, cents, lines, customer_code, order_id_offsets, order_id_data,
    customers, orders, next_order, order_slots, order_count, won,
):  # fmt: skip
    """Apply a batch of order records; `won[i]` is the row whose winner record i became, or -1. Returns the count."""
    for i in range(len(ts)):
        code = customer_code[i]
        customer = customers[code]
        customer.first_seen = min(customer.first_seen, ts[i])
        key, _ = murmur3_128(order_id_data, order_id_offsets[i], order_id_offsets[i + 1])
        slot = _find(orders, order_slots, code, key)
        row = order_slots[slot]
        if row == -1:
            row = order_count
            order_count += 1
            order_slots[slot] = row
            fresh = orders[row]
            fresh.key = key
            fresh.customer = code
            fresh.lines = 0
            fresh.updated_ts = -1
            next_order[row] = customer.order
            customer.order = row
        order = orders[row]
        wins = updated_ts[i] > order.updated_ts
        if updated_ts[i] == order.updated_ts:
            wins = status[i] > order.status or (status[i] == order.status and cents[i] > order.cents)
        won[i] = -1
        if wins:
            # a record that never won was never written, so it leaves no lines to void
            order.lines = max(np.int32(order.lines), min(lines[i], np.int32(65_535)))
            order.ts = ts[i]
            order.updated_ts = updated_ts[i]
            order.status = status[i]
            order.cents = cents[i]
            won[i] = row
    return order_count


@numba.njit(cache=True, nogil=True)
def chain_lengths(heads, following):
    """Total number of rows in the chains that begin at `heads`; `following` has the next row of each, or -1."""
    total = 0
    for i in range(len(heads)):
        row = heads[i]
        while row != -1:
            total += 1
            row = following[row]
    return total


@numba.njit(cache=True, nogil=True)
def gather_chains(heads, following, group, out):
    """Write the row numbers of each chain into `out` and the chain's position into `group`."""
    at = 0
    for i in range(len(heads)):
        row = heads[i]
        while row != -1:
            group[at] = i
            out[at] = row
            at += 1
            row = following[row]


@numba.njit(cache=True, nogil=True)
def relink(heads, following, owners, count):
    """Build the chains of all owners anew after rows were removed; `heads` comes in as -1 everywhere."""
    for row in range(count):
        owner = owners[row]
        following[row] = heads[owner]
        heads[owner] = row


@numba.njit(cache=True, nogil=True)
def settle_orders(customers, orders, count, keep, placed):
    """Add the placed orders that are about to leave to their customers' settled totals."""
    for row in range(count):
        if keep[row] or orders[row].status != placed:
            continue
        customer = customers[orders[row].customer]
        customer.settled_orders += 1
        customer.settled_cents += orders[row].cents
        customer.settled_first = min(customer.settled_first, orders[row].ts)
        customer.settled_last = max(customer.settled_last, orders[row].ts)


@numba.njit(cache=True, nogil=True)
def compact_views(sessions, count, views, next_view, out, out_next):
    """Copy the chains of category views of the first `count` sessions; returns the new number of links."""
    used = 0
    for row in range(count):
        link = sessions[row].views
        sessions[row].views = -1
        while link != -1:
            out[used].category = views[link].category
            out[used].count = views[link].count
            out_next[used] = sessions[row].views
            sessions[row].views = used
            used += 1
            link = next_view[link]
    return used


@numba.njit(cache=True, nogil=True)
def compact_recent(owners, recent, count, keep, data, out_rows, out_data):
    """Copy the strings of the kept rows of `recent`. `owners` has the row of each session in `recent`, or -1."""
    for row in range(len(owners)):
        owners[row] = -1
    used, size = 0, 0
    for row in range(count):
        old = recent[row]
        if not keep[row]:
            continue
        new = out_rows[used]
        new.session = old.session
        new.session_id = size
        new.session_id_length = old.session_id_length
        for j in range(old.session_id_length):
            out_data[size + j] = data[old.session_id + j]
        size += old.session_id_length
        new.event_id = size
        new.event_id_length = old.event_id_length
        for j in range(old.event_id_length):
            out_data[size + j] = data[old.event_id + j]
        size += old.event_id_length
        owners[old.session] = used
        used += 1
    return used, size


@numba.njit(cache=True, nogil=True)
def sum_views(group, category, weight, groups, order, top, top_share):
    """Per group the category with most views and its share. `order` is each word's place in byte order.

    Rows of a group stand together. A tie goes to the smallest place in byte order; a group without views gets -1 and 0.
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
