"""Choosing ports."""

import socket
from collections.abc import Iterator

import pytest

from shopstream.embedded import ports


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind((ports.LOOPBACK, 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_preferred_port_is_chosen_when_free() -> None:
    with socket.socket() as probe:
        probe.bind((ports.LOOPBACK, 0))
        free = probe.getsockname()[1]
    assert ports.is_free(free)
    assert ports.choose(free) == free


def test_other_port_is_chosen_when_the_preferred_one_is_in_use(taken: int) -> None:
    assert not ports.is_free(taken)
    assert ports.accepts(taken)
    chosen = ports.choose(taken)
    assert chosen != taken
    assert ports.is_free(chosen)


def test_port_in_use_on_all_interfaces_is_not_free() -> None:
    with socket.socket() as listener:
        listener.bind(("0.0.0.0", 0))
        listener.listen()
        assert not ports.is_free(listener.getsockname()[1])


def test_reserved_port_is_not_chosen(taken: int) -> None:
    first = ports.choose(taken)
    assert ports.choose(taken, {first}) not in {taken, first}


def test_any_free_port_is_chosen_when_all_near_ones_are_reserved() -> None:
    near = set(range(65_500, 65_536))
    assert ports.choose(65_500, near) not in near
