"""The byte queue against a bytearray."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from scapy.layers.inet import IP, TCP

from fastnet._buffer import ByteRing
from fastnet._headers import Segment


class Machine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.ring = ByteRing()
        self.model = bytearray()

    @rule(data=st.binary(max_size=9000))
    def append(self, data: bytes) -> None:
        self.ring.append(data)
        self.model += data

    @rule(n=st.integers(0, 10000))
    def take(self, n: int) -> None:
        assert self.ring.take(n) == bytes(self.model[:n])
        del self.model[:n]

    @rule(n=st.integers(0, 5000))
    def take_into(self, n: int) -> None:
        target = bytearray(n)
        taken = self.ring.take_into(target)
        assert bytes(target[:taken]) == bytes(self.model[:n]) and target[taken:] == bytes(n - taken)
        del self.model[:taken]

    @rule(gap=st.integers(0, 6000), data=st.binary(min_size=1, max_size=3000))
    def place_and_fill_the_gap(self, gap: int, data: bytes) -> None:
        """Bytes placed ahead stay where they are through reading, growth and wrapping, and belong to the queue once committed."""
        segment = Segment()
        segment.read(packet := bytes(IP(src="198.18.0.1", dst="198.18.0.2") / TCP(sport=1, dport=2) / data))
        segment.place(self.ring, len(self.ring) + gap, len(data))
        assert len(packet) > len(data), "kept: the segment points into it"
        n = len(self.model) // 2
        self.ring.discard(n)
        del self.model[:n]
        self.ring.append(b"-" * gap)
        self.ring.commit(len(data))
        self.model += b"-" * gap + data

    @rule(share=st.floats(0, 1), n=st.integers(0, 10000))
    def peek(self, share: float, n: int) -> None:
        offset = int(share * len(self.model))
        assert self.ring.peek(offset, n) == bytes(self.model[offset : offset + n])

    @rule(share=st.floats(0, 1))
    def discard(self, share: float) -> None:
        n = int(share * len(self.model))
        self.ring.discard(n)
        del self.model[:n]

    @invariant()
    def same_length(self) -> None:
        assert len(self.ring) == len(self.model)
        assert self.ring.allocated <= max(4096, 4 * (len(self.model) + 20000))


TestByteRing = Machine.TestCase


def test_memory_does_not_grow_with_what_passes_through() -> None:
    ring = ByteRing()
    for i in range(1000):
        ring.append(bytes([i & 255]) * 3000)
        assert ring.take(3000) == bytes([i & 255]) * 3000
    assert ring.allocated == 0
    for _ in range(10):
        ring.append(bytes(20_000))
        assert len(ring.take(20_000)) == 20_000
        assert ring.allocated == 32768, "what was large is likely to be needed again"
    ring.append(b"x")
    ring.release()
    assert ring.take(9) == b"x", "nothing is lost by it"
    ring.release()
    assert ring.allocated == 0


def test_more_than_there_is() -> None:
    ring = ByteRing()
    ring.append(b"abc")
    with pytest.raises(IndexError):
        ring.discard(4)
    with pytest.raises(IndexError):
        ring.discard(-1)
    with pytest.raises(IndexError):
        ring.peek(4, 1)
    for placed in (1, 2**63 - 1):
        with pytest.raises(IndexError):
            ring.commit(placed)
    assert ring.peek(3, 1) == b"" and ring.take(99) == b"abc"
