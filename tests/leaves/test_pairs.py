"""Counts for pairs of an address and a port."""

from __future__ import annotations

import random
from collections import Counter

from fastnet._pairs import PairCounts


def test_counts_of_pairs() -> None:
    """Through growth and shrinking, against a Counter."""
    counts, model = PairCounts(), Counter[tuple[int, int]]()
    draw = random.Random(1)
    largest = 0
    for goal in (20_000, 500, 20_000, 0):
        while model.total() != goal:
            pair = draw.randrange(1 << 16), draw.randrange(8)
            if model.total() < goal:
                model[pair] += 1
                assert counts.add(*pair) == model[pair]
            else:
                pair = next(iter(model))
                model[pair] -= 1
                assert counts.subtract(*pair) == model[pair]
                if not model[pair]:
                    del model[pair]
        largest = max(largest, counts.memory)
        assert len(counts) == len(model)
        assert all(counts.get(*pair) == number for pair, number in model.items())
        assert counts.get(0xFFFFFFFF, 0) == 0 == counts.subtract(0xFFFFFFFF, 0)
    assert 200_000 < largest < 20_000 * 10 / 0.3 and counts.memory == 0
