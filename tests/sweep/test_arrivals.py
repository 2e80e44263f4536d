"""What came twice, against a set of all that came."""

from __future__ import annotations

from random import Random

import pytest

from fastnet.sweep.arrivals import MASK, Stream


@pytest.mark.parametrize("seed", range(20))
def test_bytes_that_came_twice(seed: int) -> None:
    random = Random(seed)
    first = random.choice((0, MASK - 50, 0x7FFFFFC0))
    stream = Stream(first)
    came: set[int] = set()
    again = segments = 0
    for _ in range(300):
        left, size = random.randrange(400), random.randint(1, 30)
        new = set(range(left, left + size))
        again += len(new & came)
        segments += bool(new & came)
        came |= new
        stream.data(first + left & MASK, size)
        assert (stream.needless_bytes, stream.needless) == (again, segments)
    assert stream.segments == 300


def test_in_order() -> None:
    stream = Stream(MASK)
    for index in range(5):
        stream.data(MASK + index * 10 & MASK, 10)
    assert stream.needless == 0 and stream.segments == 5
    stream.data(MASK, 50)
    assert (stream.needless, stream.needless_bytes) == (1, 50)
