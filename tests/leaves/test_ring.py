"""Packet rings: preallocated, viewable, bounded."""

import numpy as np
import pytest

from fastnet._ring import HEADROOM, PacketRing


def test_packets_go_in_and_can_be_looked_at() -> None:
    ring = PacketRing(4, 100)
    assert ring.append(b"one") and ring.append(b"")
    assert len(ring) == 2
    assert ring.packet(0).tobytes() == b"one" and ring.packet(1).tobytes() == b""
    assert list(ring.lengths[:2]) == [3, 0]


def test_a_slot_is_a_view_without_a_copy() -> None:
    ring = PacketRing(4, 100)
    ring.append(b"abc")
    view = ring.packet(0)
    assert isinstance(view, np.ndarray) and np.shares_memory(view, ring.memory)
    view[0] = ord("x")
    assert ring.memory[0, HEADROOM : HEADROOM + 3].tobytes() == b"xbc"


def test_bounds() -> None:
    ring = PacketRing(2, 100)
    assert ring.capacity >= 100
    with pytest.raises(ValueError, match="slots hold"):
        ring.append(bytes(ring.capacity + 1))
    assert ring.append(bytes(ring.capacity)) and ring.append(b"b")
    assert not ring.append(b"c"), "full"
    assert len(ring) == 2
    for slot in (-1, 2):
        with pytest.raises(IndexError):
            ring.packet(slot)
    ring.clear()
    with pytest.raises(IndexError):
        ring.packet(0)


@pytest.mark.parametrize(("slots", "capacity"), [(0, 10), (10, 0), (-1, 10)])
def test_a_ring_has_room(slots: int, capacity: int) -> None:
    with pytest.raises(ValueError, match="at least"):
        PacketRing(slots, capacity)


@pytest.mark.parametrize("capacity", [1, 1500, 1984, 2048, 9000, 65535])
def test_packets_start_cache_lines_in_different_cache_sets(capacity: int) -> None:
    ring = PacketRing(8, capacity)
    assert (ring.memory.ctypes.data + HEADROOM) % 64 == 0
    assert ring.stride // 64 % 2 == 1, "an odd number of lines, so that 64 slots use 64 sets"
