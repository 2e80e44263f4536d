"""A capture's file has at most the bytes that it may have, to the byte, and not a packet less."""

from __future__ import annotations

import io
import struct

import pytest

from fastnet.devices import Capture
from fastnet.devices.capture import INBOUND
from tests.devices.test_capture import blocks, dpkt_reads, packet

STATISTICS = 5


def written(limit: int, interfaces: int, count: int, size: int) -> tuple[bytes, Capture]:
    file = io.BytesIO()
    capture = Capture(file, lambda: 7, limit)
    for number in range(interfaces):
        capture.add_interface(f"if{number}")
    for i in range(count):
        capture.write(i % interfaces, INBOUND, [packet(size)])
    capture.close()
    return file.getvalue(), capture


@pytest.mark.parametrize("interfaces", [1, 2])
def test_the_limit_is_the_limit(interfaces: int) -> None:
    """With room for the statistics at the end, which say how many packets of each interface were left out."""
    whole, _ = written(1 << 20, interfaces, 5, 11)
    last = len(blocks(whole)[-interfaces - 1][1]) + 12
    for limit, fitting in ((len(whole) - 1, 4), (len(whole), 5), (len(whole) + 1, 5), (len(whole) - last, 4), (len(whole) - last - 1, 3)):
        data, capture = written(limit, interfaces, 6, 11)
        assert len(data) <= limit and capture.packets == fitting == len(dpkt_reads(data)) and capture.left_out == 6 - fitting
        lost = [struct.unpack("<Q", body[16:24])[0] for kind, body in blocks(data) if kind == STATISTICS]
        assert len(lost) == interfaces and sum(lost) == 6 - fitting


def test_nothing_comes_after_what_did_not_fit() -> None:
    """A small packet behind a large one would make a hole that nobody sees."""
    whole, _ = written(1 << 20, 1, 1, 10)
    file = io.BytesIO()
    capture = Capture(file, lambda: 7, len(whole) + 200)
    capture.add_interface("if0")
    capture.write(0, INBOUND, [packet(10), packet(1000), packet(10)])
    assert (capture.packets, capture.left_out) == (1, 2)
    capture.close()
    end = len(file.getvalue())
    capture.write(0, INBOUND, [packet(10)])
    capture.close()
    assert len(file.getvalue()) == end and capture.left_out == 3
