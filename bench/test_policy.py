"""What a policy in Python costs: full cycles in memory at 128 flows without one, and with policies that look at the SYN.

Without a policy a listener has no gate and makes no ``Arrival``; the ratios are to that, of one run.
"""

import pytest

import fastnet.tcp.connection
from fastnet.load.memory import MemoryClient
from fastnet.server.faults import Dice, FinAfter
from fastnet.server.faults import policy as faulty
from fastnet.tcp.policy import Accept, Policy, chain

COMPILED = not str(fastnet.tcp.connection.__file__).endswith(".py")
CYCLES = 50_000 if COMPILED else 10_000
CHOICE = Accept(ttl=32, window=1000)

POLICIES: dict[str, Policy | None] = {
    "none": None,
    "none-again": None,
    "no-opinion": lambda arrival: None,
    "accept": lambda arrival: CHOICE,
    "chain-of-three": chain(lambda arrival: None, lambda arrival: None, lambda arrival: CHOICE),
    "fault-at-one-percent": faulty(Dice([(FinAfter(1000), 0.01)])),
}


def best(policy: Policy | None) -> float:
    client = MemoryClient(128)
    client.listener.set_policy(policy)
    client.run(3)
    return max(client.run(CYCLES // 128).rate for _ in range(5))


@pytest.fixture(scope="module")
def base() -> float:
    """Cycles/s without a policy."""
    return best(None)


@pytest.mark.parametrize("name", POLICIES)
def test_cycles(benchmark, base: float, name: str) -> None:
    rate = benchmark.pedantic(best, (POLICIES[name],), rounds=1)
    benchmark.extra_info["per_item"] = f"{rate:,.0f} cycles/s, {rate / base:.2f} x"
