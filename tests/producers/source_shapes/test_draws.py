"""Random numbers of a source: by seed, shape and day, and by nothing else."""

from features.schema import DAY_MS
from producers.source_shapes.draws import DailyDraws


def numbers(draws, day, count=5):
    draws.begin(day * DAY_MS + 17)
    return [draws.uniform() for _ in range(count)]


def test_numbers_of_a_day_do_not_depend_on_the_days_before_it():
    draws = DailyDraws(seed=1, shape=0)
    numbers(draws, 100, count=9_000)
    assert numbers(draws, 101) == numbers(DailyDraws(seed=1, shape=0), 101)


def test_other_seeds_shapes_and_days_have_other_numbers():
    drawn = [numbers(DailyDraws(seed, shape), day) for seed in (1, 2) for shape in (0, 1) for day in (100, 101)]
    assert len({tuple(one) for one in drawn}) == 8


def test_a_new_day_begins_once():
    draws = DailyDraws(seed=1, shape=0)
    assert [draws.begin(ms) for ms in (DAY_MS, 2 * DAY_MS - 1, 2 * DAY_MS)] == [True, False, True]


def test_whole_numbers_reach_both_ends():
    draws = DailyDraws(seed=1, shape=0)
    draws.begin(0)
    assert {draws.whole(3, 5) for _ in range(200)} == {3, 4, 5}
