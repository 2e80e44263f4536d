"""Full cycles in memory on one core: SYN with options, SYN-ACK, ACK, accept, RST by the client. The client's own time is left out.

Ratios are of one run: ``handshakes`` first measures 128 flows with nothing else open, and every other figure is put beside it.
Uncompiled: FASTNET_PURE=1.
"""

import gc

import pytest

import fastnet.tcp.connection
from fastnet.load.memory import MemoryClient

COMPILED = not str(fastnet.tcp.connection.__file__).endswith(".py")
CYCLES = 200_000 if COMPILED else 40_000


def best(client: MemoryClient, times: int = 5) -> float:
    client.run(3)
    return max(client.run(CYCLES // client.flows).rate for _ in range(times))


@pytest.fixture(scope="module")
def base() -> float:
    """Cycles/s at 128 flows, nothing else open."""
    return best(MemoryClient(128))


@pytest.mark.parametrize("flows", [16, 128, 1024])
def test_cycles(benchmark, per_item, base: float, flows: int) -> None:
    client = MemoryClient(flows)
    rate = benchmark.pedantic(best, (client,), rounds=1)
    benchmark.extra_info["per_item"] = f"{rate:,.0f} cycles/s, {rate / base:.2f} x"


def test_cycles_of_ipv6(benchmark, base: float) -> None:
    """The same over IPv6: a longer header, and addresses of four times the size."""
    client = MemoryClient(128, "2001:2::2")
    rate = benchmark.pedantic(best, (client,), rounds=1)
    benchmark.extra_info["per_item"] = f"{rate:,.0f} cycles/s, {rate / base:.2f} x"


@pytest.mark.parametrize("held", [100_000, 1_000_000])
def test_cycles_beside_open_connections(benchmark, base: float, held: int) -> None:
    """1,024 flows come and go while so many stay open."""
    client = MemoryClient(1024)
    client.hold(held)
    rate = benchmark.pedantic(best, (client,), rounds=1)
    benchmark.extra_info["per_item"] = f"{rate:,.0f} cycles/s, {rate / base:.2f} x"
    client.stack.context.endpoints.clear()
    del client
    gc.collect()


def test_memory_stays_flat(benchmark) -> None:
    """Ten million handshakes, compiled; what the process holds afterwards is what it held before."""
    client = MemoryClient(1024)
    client.run(200)

    def resident() -> int:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * 4096

    before = resident()
    rounds = (10_000_000 if COMPILED else 500_000) // 1024
    cycles = benchmark.pedantic(client.run, (rounds,), rounds=1)
    grown = resident() - before
    benchmark.extra_info["per_item"] = f"{cycles.cycles:,} cycles, {grown / 2**20:+.1f} MiB"
    assert grown < 16 * 2**20
