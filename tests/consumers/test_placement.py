"""Records of keys that the run's partitioner puts elsewhere: dead letters that change nothing, and refused states."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stream.feeding import as_batch, message

from consumers.checkpoints.recovery import empty, restore, snapshot
from consumers.state.partition import PartitionState
from consumers.state.placement import set_placement
from features.errors import ShopstreamError
from features.placement import Placement

SINK = "sink"
PARTITIONS = 3
NUMBER = 1
T = 1_700_000_000_000
CRC = Placement("crc32", PARTITIONS)


def is_ours(customer: str) -> bool:
    return zlib.crc32(customer.encode()) % PARTITIONS == NUMBER


OURS = [customer for customer in (f"c{n}" for n in range(60)) if is_ours(customer)]
OTHERS = [customer for customer in (f"c{n}" for n in range(60)) if not is_ours(customer)]


def rows(topic: str, customers: list[str]) -> list[dict]:
    if topic == "events":
        common = {"event_type": "page_view", "session_id": "s", "device": "mobile"}
        return [{"event_id": f"e{n}", "customer_id": c, "ts": T + n, **common} for n, c in enumerate(customers)]
    if topic == "orders":
        common = {"status": "placed", "total": 1.0}
        return [
            {"order_id": f"o{n}", "customer_id": c, "ts": T + n, "updated_ts": T + n, **common}
            for n, c in enumerate(customers)
        ]
    return [{"customer_id": c, "country": "DE"} for c in customers]


def fed(topic: str, records: list[dict], placement: Placement | None = CRC, size: int = 1_000) -> PartitionState:
    partition = empty(NUMBER, [SINK], contact=False)
    partition.placement = placement
    for start in range(0, len(records), size):
        pairs = [message(row) for row in records[start : start + size]]
        partition.receive(as_batch(topic, pairs, start, NUMBER))
    for name in partition.buffers:
        partition.reached_end(name)
    partition.advance()
    return partition


def customers_of(partition: PartitionState, topic: str) -> set[str]:
    return set(partition.profiles) if topic == "customers" else set(partition.state.customer_ids.array().to_pylist())


@pytest.mark.parametrize("topic", ["events", "orders", "customers"])
@settings(max_examples=40, deadline=None)
@given(customers=st.lists(st.sampled_from([*OURS[:6], *OTHERS[:6]]), max_size=20), size=st.integers(1, 20))
def test_records_of_keys_of_other_partitions_are_dead_letters_in_any_batch(topic, customers, size):
    records = rows(topic, customers)
    partition = fed(topic, records, size=size)
    wrong = [offset for offset, customer in enumerate(customers) if not is_ours(customer)]
    assert [record.offset for record in partition.rejected] == wrong
    assert [record.key for record in partition.rejected] == [customers[offset].encode() for offset in wrong]
    assert all("the partitioner crc32 puts this key into partition" in one.error for one in partition.rejected)
    assert customers_of(partition, topic) == set(filter(is_ours, customers))
    counts = partition.counts
    assert (counts.consumed, counts.rejected, counts.valid, counts.late) == (
        len(customers), len(wrong), len(customers) - len(wrong), 0,
    )  # fmt: skip


@pytest.mark.parametrize("topic", ["events", "orders"])
def test_misplaced_record_does_not_make_later_records_late(topic):
    records = rows(topic, [OTHERS[0], OURS[0]])
    records[0]["ts"] = T + 500 * 86_400_000
    if topic == "orders":
        records[0]["updated_ts"] = records[0]["ts"]
    partition = fed(topic, records)
    assert [record.offset for record in partition.rejected] == [0]
    assert "partition" in partition.rejected[0].error
    assert partition.state.max_event_time == T + 1


def test_tombstone_counts_in_any_partition():
    partition = fed("customers", [])
    partition.receive(as_batch("customers", [(OTHERS[0].encode(), None)], 0, NUMBER))
    assert partition.rejected == []
    assert partition.counts.valid == 1


def test_without_placement_any_key_is_right():
    assert fed("events", rows("events", OTHERS), placement=None).rejected == []


@pytest.mark.parametrize("topic", ["events", "orders", "customers"])
def test_state_of_another_partitioner_is_refused_with_the_property_that_fits(topic):
    held = restore(snapshot(fed(topic, rows(topic, OURS), None), "r", PARTITIONS, []), [SINK])
    set_placement(held, CRC)
    assert held.placement == CRC
    with pytest.raises(ShopstreamError) as refused:
        set_placement(held, Placement("murmur2", PARTITIONS))
    assert f"The state of partition {NUMBER} holds" in str(refused.value)
    assert "The partitioner crc32 puts all of them where they are" in str(refused.value)
    assert 'set `partitioner = "consistent_random"` below [kafka.properties]' in str(refused.value.remedy)


def test_state_of_a_torn_customer_is_refused_with_the_command_that_writes_records_again():
    held = fed("events", rows("events", [*OURS, OTHERS[0]]), None)
    with pytest.raises(ShopstreamError) as refused:
        set_placement(held, CRC)
    assert "holds 1 customers or profiles" in str(refused.value)
    assert "No known partitioner" in str(refused.value)
    assert "shopstream map run" in str(refused.value.remedy)


def test_state_in_the_only_partition_is_never_refused():
    held = fed("events", rows("events", OTHERS), None)
    set_placement(held, Placement("murmur2", 1))
