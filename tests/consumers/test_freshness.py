"""The measurement of freshness: it ends with its client closed."""

from consumers.features.freshness import Followed, Freshness


def test_closing_ends_the_measurement_and_closes_its_client():
    released = []
    freshness = Freshness(lambda _: 3, lambda: released.append(True))
    freshness.follow(Followed("c", 3, 0))
    freshness.close()
    assert released == [True]
