"""Bytes of one connection between two stacks back to back in memory, both on one core: what a Gbit/s of TCP costs without a device."""

import time

import pytest

from fastnet.devices import MemoryDevice
from fastnet.stack import Stack

SECONDS = 1.0


def carry(mtu: int, seconds: float) -> float:
    """One connection from one stack to the other for so long; bits per second."""
    one, other = MemoryDevice.pair(mtu)
    client = Stack(one, ("198.18.0.1",), slots=64)
    server = Stack(other, ("198.18.0.2",), slots=64)
    listener = server.listen("0.0.0.0", 80)
    source = client.connect("198.18.0.2", 80)
    sink = None
    data = bytes(1 << 18)
    received = 0
    started = now = time.perf_counter()
    while now < started + seconds:
        client.poll(client.clock())
        server.poll(server.clock())
        if sink is None:
            sink = listener.accept()
        else:
            received += len(sink.receive(1 << 20))
            server.flush(server.clock())
        while source.state == 1 and source.writable():
            source.send(data)
        client.flush(client.clock())
        now = time.perf_counter()
    return received * 8 / (now - started)


@pytest.mark.parametrize("mtu", [65535, 9000, 1500])
def test_bulk_in_memory(benchmark, mtu: int) -> None:
    carry(mtu, 0.2)
    rate = benchmark.pedantic(carry, (mtu, SECONDS), rounds=1)
    benchmark.extra_info["per_item"] = f"{rate / 1e9:.1f} Gbit/s"
