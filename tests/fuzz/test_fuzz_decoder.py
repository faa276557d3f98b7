"""A corpus of bad input through the real decoder: every message is a record by the contract, or refused with a reason.

`make fuzz RECORDS=100000` runs a larger one, SEED=7 another.
"""

from __future__ import annotations

import os
import resource
import time
from collections import Counter

import numpy as np
import pytest
from fuzz.corpus import Mint, Sent, batches
from fuzz.pieces import LARGE_BYTES
from fuzz.strategies import batches as hypothetical_batches
from fuzz.verdicts import check_batch
from hypothesis import HealthCheck, given, settings
from hypothesis import seed as seeded

from features.records.decode import decode, decode_events

RECORDS = int(os.environ.get("FUZZ_RECORDS", "20000"))
SEED = int(os.environ.get("FUZZ_SEED", "1"))
SHARE = {"events": 0.5, "orders": 0.3, "customers": 0.2}
EXAMPLES = RECORDS // 400
"""Of Hypothesis for each topic: up to 25 messages each."""
LARGE_COUNT = 40
COPIES_MAX = 2
"""Of a batch's bytes: what decoding it may add to the resident memory, and GROWTH_MB_MAX."""
GROWTH_MB_MAX = 100


@pytest.mark.parametrize("topic", SHARE)
@pytest.mark.timeout(3_600)
def test_every_message_is_applied_or_rejected_with_a_reason(topic):
    expected = int(RECORDS * SHARE[topic])
    counts: Counter[str] = Counter()
    started_s = time.perf_counter()
    for batch in batches(topic, SEED, expected):
        counts += check_batch(topic, batch)
    refused = {why: count for why, count in counts.most_common() if why not in ("applied", "removed", "unsure")}
    print(
        f"{topic}: {counts.total():,} messages in {time.perf_counter() - started_s:.1f} s, seed {SEED}; "
        f"applied {counts['applied']:,}, removed {counts['removed']:,}, unsure {counts['unsure']}, "
        f"refused {sum(refused.values()):,}: {refused}"
    )
    assert counts.total() == expected
    assert counts["applied"] > expected / 4
    assert sum(refused.values()) > expected / 4
    assert counts["unsure"] < max(3, expected / 100)


@pytest.mark.parametrize("topic", SHARE)
@pytest.mark.timeout(3_600)
def test_generated_messages_are_applied_or_rejected_with_a_reason(topic):
    counts: Counter[str] = Counter()

    @seeded(SEED)
    @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(hypothetical_batches(topic))
    def check(sent):
        counts.update(check_batch(topic, sent))

    check()
    print(f"{topic}: {counts.total():,} messages of Hypothesis, applied {counts['applied']:,}")
    # Hypothesis also draws constants of the modules that happen to be loaded, so the shares are not the seed's alone
    assert counts["applied"] > counts.total() / 50
    assert counts["applied"] < counts.total() * 49 / 50


def resident_mb_max() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@pytest.mark.parametrize("topic", SHARE)
def test_large_messages_take_no_more_memory_than_a_few_copies(topic):
    """Forty messages of 5 MB, valid and not, in one batch with small ones."""
    mint = Mint(topic, np.random.default_rng(SEED))
    sent = []
    for _ in range(LARGE_COUNT):
        record = mint.record(1_700_000_000_000)
        key = record["customer_id"].encode()
        sent += [Sent(key, mint.large(mint.fields(record)), 1_700_000_000_000), mint.message()]
    values, keys, append_ms = [s.value for s in sent], [s.key for s in sent], [s.append_ms for s in sent]
    size_mb = sum(map(len, filter(None, values))) / 2**20
    assert size_mb > LARGE_COUNT * LARGE_BYTES / 2**20 * 0.9
    before_mb = resident_mb_max()
    decoded = decode(topic, values, keys, append_ms)
    if topic == "events":
        decode_events(values, keys, append_ms)
    grown_mb = resident_mb_max() - before_mb
    print(
        f"{topic}: {LARGE_COUNT} messages of {LARGE_BYTES >> 20} MB, {len(decoded.records)} valid: +{grown_mb:.0f} MB"
    )
    assert len(decoded.records) >= LARGE_COUNT // 4
    assert len(decoded.rejected) >= LARGE_COUNT // 4
    assert grown_mb < size_mb * COPIES_MAX + GROWTH_MB_MAX
