"""`map run` and `consume` at the same time, killed ten times: the rows are those of the archive. One seed of many."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from mapping.kill_play import play
from mapping.kill_story import COMMANDS, GUEST, KILLS, PAIRS, WORKER_KILLS_MAX, draw

STORY = replace(draw(27), events=8_000)
"""One of the shorter ones: most of its time is that of starts."""


@pytest.mark.slow
@pytest.mark.timeout(1_200)
def test_rows_are_those_of_the_archive_after_ten_kills(tmp_path, servers, run_name):
    played = play(STORY, tmp_path, servers, run_name)
    assert len(played.kills) == KILLS
    # a kill that repeats nothing would prove little
    assert played.written > played.records
    assert min(played.mapped, played.left_out, played.dead_letters, played.customers) > 0


@pytest.mark.parametrize("seed", range(60))
def test_story_has_ten_kills_in_order_and_another_number_of_workers(seed):
    story = draw(seed)
    assert story == draw(seed)
    assert story.shapes in PAIRS
    assert len(story.kills) == KILLS
    assert sorted(kill.after for kill in story.kills) == [kill.after for kill in story.kills]
    for command in COMMANDS:
        of_command = [kill for kill in story.kills if kill.command == command]
        assert sum(not kill.parent for kill in of_command) <= WORKER_KILLS_MAX
        numbers = [2, *(kill.workers for kill in of_command if kill.parent)]
        assert len(numbers) > 1
        assert all(one != other for one, other in itertools.pairwise(numbers))
    (guest,) = [n for n, kill in enumerate(story.kills) if kill.command == GUEST]
    assert story.guest_joins <= guest
