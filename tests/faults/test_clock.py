"""The wall clock of the consumers steps while they run. The servers and all other programs keep the machine's."""

from __future__ import annotations

import os

import pytest
from faults.scene import ROOT

pytestmark = [pytest.mark.timeout(1_800), pytest.mark.campaign]
STEPPED = """
import os, time
_time, _time_ns = time.time, time.time_ns
def _step():
    with open(os.environ["SHOPTEST_CLOCK"]) as file:
        return int(file.read() or 0)
time.time = lambda: _time() + _step()
time.time_ns = lambda: _time_ns() + _step() * 10**9
"""
"""Python's clock, as a file says by how many seconds it is wrong."""
STEPS_S = (1, -1, 3_600, -3_600, 86_400, -86_400)


@pytest.fixture
def clock(tmp_path):
    """Sets it; the first variables are those of the processes that follow it."""
    folder, position = tmp_path / "clock", tmp_path / "clock" / "step"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(STEPPED, "utf-8")
    position.write_text("0")

    def step(seconds: int) -> None:
        fresh = position.with_suffix(".new")
        fresh.write_text(str(seconds))
        fresh.replace(position)

    return step, {"PYTHONPATH": f"{folder}{os.pathsep}{ROOT}", "SHOPTEST_CLOCK": str(position)}


@pytest.mark.parametrize("step_s", STEPS_S)
def test_clock_step_changes_no_row(servers, scene_on, clock, nothing_lost, step_s):
    step, variables = clock
    scene = scene_on(servers)
    scene.feeder.start()
    scene.consume(**variables)
    scene.rows_until(1)  # profiles alone make no rows
    scene.rows_until(scene.feeder.go_on())
    step(step_s)
    recovered_s = scene.rows_until(scene.feeder.go_on())
    scene.finish()
    nothing_lost(
        scene, "clock steps", f"by {step_s:+,} s in the running consumers; back at the next start", recovered_s
    )
