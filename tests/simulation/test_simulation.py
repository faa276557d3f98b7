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
from simulation.campaign import again
from simulation.storm import weather, world_of
from simulation.world import World

SEEDS = {"features": (*range(16), 257), "index": range(20), "archive": range(10), "map": range(30)}
NO_FAULTS = ("switch", "expire", "kill_at", "stall_at")
PROCESS = ("kill", "stall", "evict", "bell", "usurp", "wall_jump", "offsets_gone", "commit_lost", "commit_answer_lost")
ELASTIC = ("index_gone", "request_refused", "request_lost", "answer_lost", "item_refused", "split")
DISK = ("disk_full", "disk_slow", "power")
TOUCHES = {
    "features": (*PROCESS, *ELASTIC, *DISK, "letters_stuck", "damage", "transaction_timeout"),
    "index": (*PROCESS, *ELASTIC, "power", "letters_stuck"),
    "archive": (*PROCESS, *DISK),
    "map": (*PROCESS, "power", "letters_stuck", "registry_away"),
}
"""Role -> the faults that can befall it."""


@pytest.mark.parametrize(("role", "seed"), [(role, seed) for role, seeds in SEEDS.items() for seed in seeds])
def test_results_after_any_faults_equal_the_oracle(role, seed):
    try:
        weather(seed, role)
    except AssertionError as error:
        raise AssertionError(f"{error}\nagain: {again(seed, role)}") from error


@pytest.mark.parametrize("role", SEEDS)
def test_seed_gives_one_history_in_any_process(role):
    """Bit for bit: in this process and in another, with other hashes of strings."""
    seed = {"features": 3, "index": 9, "archive": 3, "map": 3}[role]
    expected = weather(seed, role).digest
    told = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("campaign.py")), "--seed", str(seed), "--role", role],
        env=os.environ | {"PYTHONHASHSEED": "1", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert expected in told.stdout


@pytest.mark.parametrize(
    ("role", "fault"),
    [(role, fault) for role, faults in TOUCHES.items() for fault in faults],
)
def test_each_fault_alone_occurs_and_loses_nothing(role, fault):
    """A fault that never happens proves nothing."""
    rates = {
        "kill": 0.01, "stall": 0.01, "evict": 0.1, "wall_jump": 0.2, "damage": 0.5, "letters_stuck": 0.9,
        "offsets_gone": 0.02, "index_gone": 0.02, "power": 0.02, "disk_slow": 0.02, "commit_lost": 0.3,
    }  # fmt: skip
    odds = {fault: rates.get(fault, 0.3)}
    if fault in ("damage", "usurp"):
        odds |= {"kill": 0.01, "stall": 0.005 if role == "features" else 0.05}
    for seed in range(12):
        world = world_of(seed, role, Odds(**odds), slots=2)
        world.run()
        world.check()
        if told(world)[fault]:
            return
    pytest.fail(f"{fault} never happened")


def test_every_fault_can_occur_in_a_role():
    """A new one is played for some role."""
    assert {field.name for field in fields(Odds)} - {*NO_FAULTS} == {
        fault for faults in TOUCHES.values() for fault in faults
    }


def told(world: World) -> Counter[str]:
    """What happened, by the names of Odds."""
    names = {
        "stalls": "stall",
        "living member evicted": "evict",
        "second process of an instance": "usurp",
        "checkpoint damaged": "damage",
        "wall clock jumped": "wall_jump",
        "offsets expired": "offsets_gone",
        "power lost": "power",
        "index lost": "index_gone",
    }
    result: Counter[str] = Counter()
    for what, count in world.happened.items():
        result["kill" if what.startswith("killed") else names.get(what, what)] += count
    return result
