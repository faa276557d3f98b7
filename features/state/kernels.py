"""Updates the state in compiled loops: one pass over a batch of columns, no allocation per record.

Callers guarantee room: every table has space for as many new rows as the batch has records.
"""

from __future__ import annotations

import numba
import numpy as np

from features.hashing import murmur3_128
from features.state.hash_index import filled, find_row, mixed_key, remember, row_bits
from features.state.int48 import high_part, joined, low_part

_HOUR_MS = np.int64(3_600_000)
_HOUR_BITS = np.uint64((1 << 20) - 1)
_REMEMBERED_HOURS = np.int64(48)  # schema.EVENT_LATENESS_MS, checked by a test
_PRODUCT_VIEW, _ADD_TO_CART, _CHECKOUT, _PURCHASE = 2, 3, 5, 6  # positions in schema.EVENT_TYPES, checked by a test
_COUNT_MAX = 65_535
_OPEN_CART, _SEEN, _CARRIED = np.uint8(1), np.uint8(2), np.uint8(4)
_NEVER_LOW, _NEVER_HIGH = np.uint32(0xFFFF_FFFF), np.uint16(0xFFFF)  # int48.NEVER_MIN


@numba.njit(inline="always")
def _smaller(data, start, length, other, other_start, other_length):
    for i in range(min(length, other_length)):
        a, b = data[start + i], other[other_start + i]
        if a != b:
            return a < b
    return length < other_length


@numba.njit(inline="always")
def _one_more(count):
    """Return the next count, which restarts at 1 after its maximum: 0 always means none."""
    return np.uint16(1) if count == _COUNT_MAX else np.uint16(count + 1)


@numba.njit(inline="always")
def _count_word(views, next_view, view_count, head, word):
    """Count a word in a session's chain of view counts; return the head of the chain and the number of counts.

    A full count stays unchanged, and a new count of the same word continues it.
    """
    link = head
    while link != -1 and (views[link].category != word or views[link].count == _COUNT_MAX):
        link = next_view[link]
    if link == -1:
        link = np.int32(view_count)
        view_count += 1
        views[link].category = word
        views[link].count = 0
        next_view[link] = head
        head = link
    views[link].count += 1
    return head, view_count


@numba.njit(cache=True, nogil=True)
def apply_events(
    ts, event_type, device, category, channel, country, customer_code,
    event_id_offsets, event_id_data, session_id_offsets, session_id_data,
    customers, sessions, next_session, session_slots, session_count, views, next_view, view_count,
    recent, recent_count, recent_bytes, recent_size, ids, new_ids, new_id_count, open_carts, open_count,
    touched_customers, touched_sessions, clock, is_log,
):  # fmt: skip
    """Apply a batch of events; return the new counts.

    The first event of an id counts. For all others only sums, minima and maxima are used, so neither their order nor
    batch boundaries affect the result. `clock` is the highest ts before the batch. In a log it follows the records, and
    ids are forgotten by it. Otherwise each record is its own clock.
    """
    bits = row_bits(session_slots)
    customers_touched = 0
    sessions_touched = 0
    applied = 0
    ids_added = 0
    for i in range(len(ts)):
        low, high = murmur3_128(event_id_data, event_id_offsets[i], event_id_offsets[i + 1])
        at = ts[i]
        hour = at // _HOUR_MS
        high = (high & ~_HOUR_BITS) | (np.uint64(hour) & _HOUR_BITS)
        if low == np.uint64(0):
            low = np.uint64(1)
        if not is_log or at > clock:
            clock = at
        # an event that is too late, which only tests apply, repeats those of its own hour and of later ones
        is_new, is_empty = remember(ids, low, high, min(clock // _HOUR_MS - _REMEMBERED_HOURS, hour))
        if not is_new:
            continue
        ids_added += is_empty
        new_ids[new_id_count].low = low
        new_ids[new_id_count].high = high
        new_id_count += 1
        applied += 1

        code = customer_code[i]
        customer = customers[code]
        at_low, at_high = low_part(at), high_part(at)
        if at < joined(customer.first_seen_low, customer.first_seen_high):
            customer.first_seen_low, customer.first_seen_high = at_low, at_high
        if at > joined(customer.last_seen_low, customer.last_seen_high):
            customer.last_seen_low, customer.last_seen_high = at_low, at_high
        if customer.seen == 0:
            customer.seen = 1
            touched_customers[customers_touched] = code
            customers_touched += 1

        id_start, id_end = np.int64(session_id_offsets[i]), np.int64(session_id_offsets[i + 1])
        key, _ = murmur3_128(session_id_data, id_start, id_end)
        mixed = mixed_key(code, key)
        slot, row = find_row(sessions, session_slots, bits, code, key, mixed)
        if row == -1:
            row = np.int64(session_count)
            session_count += 1
            session_slots[slot] = filled(row, bits, mixed)
            fresh = sessions[row]
            fresh.key = key
            fresh.customer = code
            fresh.start_low, fresh.start_high = _NEVER_LOW, _NEVER_HIGH
            fresh.last_low, fresh.last_high = np.uint32(0), np.uint16(0)
            fresh.first_view_low, fresh.first_view_high = _NEVER_LOW, _NEVER_HIGH
            fresh.first_cart_low, fresh.first_cart_high = _NEVER_LOW, _NEVER_HIGH
            fresh.first_checkout_low, fresh.first_checkout_high = _NEVER_LOW, _NEVER_HIGH
            fresh.first_purchase_low, fresh.first_purchase_high = _NEVER_LOW, _NEVER_HIGH
            fresh.views = -1
            fresh.recent = -1
            fresh.n_page_view = 0
            fresh.n_search = 0
            fresh.n_product_view = 0
            fresh.n_add_to_cart = 0
            fresh.n_remove_from_cart = 0
            fresh.n_checkout = 0
            fresh.n_purchase = 0
            fresh.marks = 0
            next_session[row] = customer.session
            customer.session = row
        session = sessions[row]
        if session.marks & _SEEN == 0:
            session.marks |= _SEEN
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
        start_ts = joined(session.start_low, session.start_high)
        earliest = at < start_ts
        if at == start_ts and strings.event_id_length > 0:
            earliest = _smaller(
                event_id_data, start, end - start, recent_bytes, strings.event_id, strings.event_id_length
            )
        if earliest:
            session.start_low, session.start_high = at_low, at_high
            session.device = device[i]
            session.channel = channel[i]
            session.country = country[i]
            strings.event_id = recent_size
            strings.event_id_length = end - start
            for j in range(end - start):
                recent_bytes[recent_size + j] = event_id_data[start + j]
            recent_size += end - start
        if at > joined(session.last_low, session.last_high):
            session.last_low, session.last_high = at_low, at_high

        kind = event_type[i]
        if kind == 0:
            before = session.n_page_view
            session.n_page_view = _one_more(before)
        elif kind == 1:
            before = session.n_search
            session.n_search = _one_more(before)
        elif kind == _PRODUCT_VIEW:
            before = session.n_product_view
            session.n_product_view = _one_more(before)
            if at < joined(session.first_view_low, session.first_view_high):
                session.first_view_low, session.first_view_high = at_low, at_high
            word = category[i]
            if word != -1:
                session.views, view_count = _count_word(views, next_view, view_count, session.views, word)
        elif kind == _ADD_TO_CART:
            before = session.n_add_to_cart
            session.n_add_to_cart = _one_more(before)
            if at < joined(session.first_cart_low, session.first_cart_high):
                session.first_cart_low, session.first_cart_high = at_low, at_high
        elif kind == 4:
            before = session.n_remove_from_cart
            session.n_remove_from_cart = _one_more(before)
        elif kind == _CHECKOUT:
            before = session.n_checkout
            session.n_checkout = _one_more(before)
            if at < joined(session.first_checkout_low, session.first_checkout_high):
                session.first_checkout_low, session.first_checkout_high = at_low, at_high
        else:
            before = session.n_purchase
            session.n_purchase = _one_more(before)
            if at < joined(session.first_purchase_low, session.first_purchase_high):
                session.first_purchase_low, session.first_purchase_high = at_low, at_high
        if before == _COUNT_MAX:
            session.marks |= _CARRIED
            session.views, view_count = _count_word(
                views, next_view, view_count, session.views, np.int32(-2) - np.int32(kind)
            )
        if session.n_add_to_cart > 0 and session.n_purchase == 0 and session.marks & _OPEN_CART == 0:
            session.marks |= _OPEN_CART
            open_carts[open_count] = row
            open_count += 1

    for i in range(customers_touched):
        customers[touched_customers[i]].seen = 0
    for i in range(sessions_touched):
        sessions[touched_sessions[i]].marks &= ~_SEEN
    return (
        applied, session_count, view_count, recent_count, recent_size, new_id_count, open_count,
        customers_touched, sessions_touched, ids_added,
    )  # fmt: skip


@numba.njit(cache=True, nogil=True)
def apply_orders(
    ts, updated_ts, status, cents, lines, customer_code, order_id_offsets, order_id_data,
    customers, orders, next_order, order_slots, order_count, won,
):  # fmt: skip
    """Apply a batch of order records; `won[i]` is the row that record i won, or -1. Return the new row count."""
    bits = row_bits(order_slots)
    for i in range(len(ts)):
        code = customer_code[i]
        customer = customers[code]
        at = ts[i]
        if at < joined(customer.first_seen_low, customer.first_seen_high):
            customer.first_seen_low, customer.first_seen_high = low_part(at), high_part(at)
        key, _ = murmur3_128(order_id_data, order_id_offsets[i], order_id_offsets[i + 1])
        mixed = mixed_key(code, key)
        slot, row = find_row(orders, order_slots, bits, code, key, mixed)
        wins = row == -1
        if wins:
            row = np.int64(order_count)
            order_count += 1
            order_slots[slot] = filled(row, bits, mixed)
            fresh = orders[row]
            fresh.key = key
            fresh.customer = code
            fresh.lines = 0
            next_order[row] = customer.order
            customer.order = row
        order = orders[row]
        if not wins:
            updated = joined(order.ts_low, order.ts_high) + joined(order.change_low, order.change_high)
            before = joined(order.cents_low, order.cents_high)
            wins = updated_ts[i] > updated
            if updated_ts[i] == updated:
                wins = status[i] > order.status or (status[i] == order.status and cents[i] > before)
        won[i] = -1
        if wins:
            change = updated_ts[i] - at
            # a record that never won was never written, so it has no lines to void
            order.lines = max(np.int32(order.lines), lines[i])
            order.ts_low, order.ts_high = low_part(at), high_part(at)
            order.change_low, order.change_high = low_part(change), np.uint8(high_part(change))
            order.cents_low, order.cents_high = low_part(cents[i]), high_part(cents[i])
            order.status = status[i]
            won[i] = row
    return order_count


@numba.njit(cache=True, nogil=True)
def finalise_orders(customers, orders, count, keep, placed):
    """Add the placed orders that are about to expire to their customers' settled totals."""
    for row in range(count):
        if keep[row] or orders[row].status != placed:
            continue
        order = orders[row]
        at = joined(order.ts_low, order.ts_high)
        customer = customers[order.customer]
        customer.settled_orders += 1
        customer.settled_cents += joined(order.cents_low, order.cents_high)
        if at < joined(customer.settled_first_low, customer.settled_first_high):
            customer.settled_first_low, customer.settled_first_high = order.ts_low, order.ts_high
        if at > joined(customer.settled_last_low, customer.settled_last_high):
            customer.settled_last_low, customer.settled_last_high = order.ts_low, order.ts_high


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
