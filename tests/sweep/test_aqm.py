"""RED by its paper, number for number: how the average goes, and what it makes of a packet."""

from __future__ import annotations

from random import Random

import pytest

from fastnet.sweep.aqm import Red


class Fixed:
    """A random source that says what it is told."""

    def __init__(self, value: float) -> None:
        self.value = value

    def random(self) -> float:
        return self.value


def red(draw: float, capacity: int = 120_000) -> Red:
    return Red(capacity, 12e6, Fixed(draw))  # type: ignore[arg-type]


def settle(queue: Red, waiting: int) -> None:
    """Until the average is there, by packets that come at once."""
    for _ in range(20_000):
        queue.arrives(waiting, 0)


def test_thresholds() -> None:
    """A twelfth and a quarter of the queue, of two packets at least."""
    assert (red(0)._low, red(0)._high) == (10_000, 30_000)
    assert (red(0, 12_000)._low, red(0, 12_000)._high) == (3_000, 9_000)


def test_the_average() -> None:
    """A five hundredth of the way each time; while nothing waits it falls as if packets had gone (Floyd and Jacobson, section 4)."""
    queue = red(0.99)
    queue.arrives(5_000, 0)
    assert queue._average == pytest.approx(10)
    queue.arrives(5_000, 0)
    assert queue._average == pytest.approx(10 + 0.002 * 4_990)
    before = queue._average
    # A packet takes 1 ms at 12 Mbit/s.
    queue.arrives(0, 100_000_000)
    assert queue._average == pytest.approx(before * 0.998**100 * 0.998, rel=1e-6)


@pytest.mark.parametrize(("waiting", "chance"), [
    (9_900, 0.0), (12_000, 0.01), (20_000, 0.05), (29_000, 0.095), (30_300, 0.1 + 0.9 * 0.01), (45_000, 0.55), (60_500, 1.0),
])  # fmt: skip
def test_how_likely_it_is(waiting: int, chance: float) -> None:
    """From 0 at the lower threshold to a tenth at the upper, and on to certainty at twice that ("gentle"); packets between count up."""
    queue = red(0.5)
    settle(queue, waiting)
    queue._passed = 0
    assert queue._average == pytest.approx(waiting)
    for draw in (chance - 0.001, chance + 0.001):
        # The first packet after one that was chosen: chance / (1 - chance).
        if not 0 <= draw <= 1:
            continue
        queue._passed = 0
        queue._draw = lambda draw=draw: draw / (1 - draw) if draw < 1 else 1.0
        assert queue.arrives(waiting, 0) == (draw < chance)
    if 0 < chance < 0.5:
        # So that they are evenly spread: one in 1 / chance for certain.
        queue._passed = 0
        queue._draw = lambda: 2.0
        count = 1
        while not queue.arrives(waiting, 0):
            count += 1
        assert count == pytest.approx(1 / chance, abs=1.01)


def test_a_short_queue_begins_anew() -> None:
    queue = red(2.0)
    settle(queue, 20_000)
    assert 0 < queue._passed < 20
    settle(queue, 1_000)
    assert queue._passed == 0


def test_its_choice_is_the_random_sources() -> None:
    """The same seed, the same packets."""
    chosen = []
    for _ in range(2):
        queue = Red(120_000, 12e6, Random(7))
        settle(queue, 25_000)
        chosen.append([queue.arrives(25_000, 0) for _ in range(500)])
    assert chosen[0] == chosen[1] and 60 < sum(chosen[0]) < 100, "with the even spread, one in about 1 / (2 * chance)"
