"""Time and randomness arrive as arguments: only declared edges read a clock, and chance comes from a seed."""

from __future__ import annotations

import ast

import pytest
from guards.repository import ROOT, dotted, name_of, sources, tree_of

CLOCKS = frozenset(
    {
        "time.time",
        "time.time_ns",
        "time.gmtime",
        "time.localtime",
        "datetime.now",
        "datetime.utcnow",
        "datetime.today",
        "datetime.datetime.now",
        "datetime.datetime.utcnow",
        "datetime.datetime.today",
        "date.today",
        "datetime.date.today",
    }
)
EDGES = {
    "connectors/clock.py": "the clock that is passed on: pacing, `--clock wall`, freshness, times of results",
    "shopstream/cli/clean.py": "what future times are told by",
    "shopstream/cli/generate.py": "the default end of a history",
    "shopstream/cli/dead_letters.py": "what future times are judged by",
    "shopstream/cli/runs.py": "how old checkpoints are",
    "shopstream/cli/servers.py": "how old what a worker last said is",
    "shopstream/runtime/probe.py": "how old a file is",
    "shopstream/runtime/run_workers.py": "the time of a measurement",
}
"""Modules that read the wall clock, and what for. `time.monotonic` measures durations and is free."""

SEEDED = frozenset({"Generator", "PCG64", "PCG64DXSM", "SeedSequence", "BitGenerator", "default_rng"})
"""What may be used of `numpy.random`; anything else draws from one source that all share."""


def clocks_read(tree: ast.Module) -> list[str]:
    """Names of the wall clocks that are mentioned, called or passed on."""
    names = {dotted(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    from_time = {
        f"time.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "time"
        for alias in node.names
    }
    return sorted((names | from_time) & CLOCKS)


def shared_chance(tree: ast.Module) -> list[str]:
    """Uses of a source of randomness that is not a generator made from a seed."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.split(".")[0] == "random"]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "random":
            found.append("random")
        elif isinstance(node, ast.Attribute) and dotted(node.value) in ("np.random", "numpy.random"):
            if node.attr not in SEEDED:
                found.append(dotted(node))
        elif isinstance(node, ast.Call) and dotted(node.func).endswith("random.default_rng"):
            found += [] if node.args or node.keywords else ["default_rng()"]
    return found


@pytest.mark.parametrize("path", sources(), ids=name_of)
def test_only_declared_edges_read_the_clock(path):
    if name_of(path) not in EDGES:
        assert clocks_read(tree_of(path)) == []


def test_every_declared_edge_reads_the_clock():
    assert [edge for edge in EDGES if not clocks_read(tree_of(ROOT / edge))] == []


@pytest.mark.parametrize("path", sources(), ids=name_of)
def test_random_numbers_are_seeded(path):
    assert shared_chance(tree_of(path)) == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("x = time.time()", ["time.time"]),
        ("f(clock=time.time_ns)", ["time.time_ns"]),
        ("from time import time", ["time.time"]),
        ("x = datetime.now(UTC)", ["datetime.now"]),
        ("x = datetime.datetime.utcnow()", ["datetime.datetime.utcnow"]),
        ("x = date.today()", ["date.today"]),
        ("x = time.monotonic()", []),
    ],
)
def test_clock_read_is_detected(source, found):
    assert clocks_read(ast.parse(source)) == found


@pytest.mark.parametrize(
    ("source", "caught"),
    [
        ("import random", True),
        ("from random import choice", True),
        ("x = np.random.rand(3)", True),
        ("np.random.seed(1)", True),
        ("x = np.random.default_rng()", True),
        ("x = np.random.default_rng(seed)", False),
        ("def f(rng: np.random.Generator) -> None: ...", False),
    ],
)
def test_unseeded_random_number_is_detected(source, caught):
    assert bool(shared_chance(ast.parse(source))) is caught
