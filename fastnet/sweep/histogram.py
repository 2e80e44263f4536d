"""Percentiles of any number of values in bounded memory."""

EXACT = 64
"""Smaller values are kept as they are; larger ones to 1 part in 32 or better."""


class Histogram:
    """Counts of whole numbers from 0 up.

    :ivar count: values so far
    """

    def __init__(self) -> None:
        self.count = 0
        self._counts: dict[int, int] = {}

    def add(self, value: int) -> None:
        """Count one value, 0 or more."""
        self.count += 1
        if value >= EXACT:
            # Six leading bits are kept: at most 32 keys for each power of two.
            shift = value.bit_length() - 6
            value = value >> shift << shift
        self._counts[value] = self._counts.get(value, 0) + 1

    def percentile(self, percent: float) -> int:
        """The smallest value that so many percent do not exceed, rounded down as above; 0 without any."""
        wanted = self.count * percent / 100
        seen = 0
        value = 0
        for value in sorted(self._counts):
            seen += self._counts[value]
            if seen >= wanted:
                break
        return value
