"""What an open connection holds: resident memory, divided by as many as there are."""

import gc

import pytest
from memory import alone, resident

from fastnet.load.memory import MemoryClient
from fastnet.tcp.connection import Connection


def each(held: int, used: bool) -> float:
    """Bytes of a connection."""
    client = MemoryClient(1024)
    client.run(10)
    gc.collect()
    before = resident()
    client.hold(held)
    if used:
        for endpoint in client.stack.context.endpoints:
            if isinstance(endpoint, Connection):
                endpoint.need_sender()
                endpoint.need_receiver(0)
    gc.collect()
    return (resident() - before) / held


@pytest.mark.parametrize("used", [False, True], ids=["idle", "has-sent-and-received"])
@pytest.mark.parametrize("held", [100_000, 1_000_000])
def test_bytes_of_a_connection(benchmark, held: int, used: bool) -> None:
    """Established and idle: as accepted, and with all that a connection keeps once data went both ways."""
    if used and held > 100_000:
        held = 300_000
    size = benchmark.pedantic(alone, (each, held, used), rounds=1)
    benchmark.extra_info["per_item"] = f"{size:,.0f} bytes at {held:,}"
    assert size < 2048
