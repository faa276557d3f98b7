"""Seeds of simulated disasters, and what each fault is known to do; `make simulate SEEDS=1000` runs more."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from dataclasses import fields
from pathlib import Path

import pytest
from simulation.boundary import Odds
from simulation.storm import weather, world_of
from simulation.world import World

SEEDS = (*range(20), 257)
NO_FAULTS = ("switch", "expire", "kill_at", "stall_at")


@pytest.mark.parametrize("seed", SEEDS)
def test_after_every_disaster_everything_stands_as_the_oracle_counts(seed):
    try:
        weather(seed)
    except AssertionError as error:
        raise AssertionError(f"{error}\nagain: make simulate SEED={seed}") from error


def test_a_seed_is_one_history_whatever_the_process():
    """Bit for bit: in this process and in another, with other hashes of strings."""
    expected = weather(9).digest
    told = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("campaign.py")), "--seed", "9"],
        env=os.environ | {"PYTHONHASHSEED": "1", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert expected in told.stdout
    assert weather(10).digest != expected


@pytest.mark.parametrize("fault", [field.name for field in fields(Odds) if field.name not in NO_FAULTS])
def test_each_fault_alone_befalls_and_is_survived(fault):
    """A fault that never happens proves nothing."""
    rates = {"kill": 0.01, "stall": 0.01, "evict": 0.1, "wall_jump": 0.2, "damage": 0.5, "letters_stuck": 0.3}
    odds = {fault: rates.get(fault, 0.3)}
    if fault in ("damage", "usurp"):
        odds |= {"kill": 0.01, "stall": 0.005}
    for seed in range(3):
        world = world_of(seed, Odds(**odds), slots=2)
        world.run()
        world.check()
        if told(world)[fault]:
            return
    pytest.fail(f"{fault} never happened")


def told(world: World) -> Counter[str]:
    """What happened, by the names of Odds."""
    names = {
        "stalls": "stall",
        "living member evicted": "evict",
        "second process of an instance": "usurp",
        "checkpoint damaged": "damage",
        "wall clock jumped": "wall_jump",
    }
    found: Counter[str] = Counter()
    for what, count in world.happened.items():
        found["kill" if what.startswith("killed") else names.get(what, what)] += count
    return found
