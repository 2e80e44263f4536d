"""What an open connection holds: resident memory, divided by as many as there are."""

import gc

import pytest

from fastnet.load.memory import MemoryClient
from fastnet.tcp.connection import Connection


def resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


@pytest.mark.parametrize("used", [False, True], ids=["idle", "has-sent-and-received"])
@pytest.mark.parametrize("held", [100_000, 1_000_000])
def test_bytes_of_a_connection(benchmark, held: int, used: bool) -> None:
    """Established and idle: as accepted, and with all that a connection keeps once data went both ways."""
    if used and held > 100_000:
        held = 300_000
    client = MemoryClient(1024)
    client.run(10)
    gc.collect()
    before = resident()

    def hold() -> None:
        client.hold(held)
        if used:
            for endpoint in client.stack.context.endpoints:
                if isinstance(endpoint, Connection):
                    endpoint.need_sender()
                    endpoint.need_receiver(0)

    benchmark.pedantic(hold, rounds=1)
    gc.collect()
    each = (resident() - before) / held
    benchmark.extra_info["per_item"] = f"{each:,.0f} bytes at {held:,}"
    client.stack.context.endpoints.clear()
    assert each < 2048
