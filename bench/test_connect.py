"""What a number of connections costs an active open, a refusal, and a bind: CPU time of the process, at several fills in one run.

Each figure is the median of single calls; what a call sends is taken by a device that keeps nothing.
"""

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import cycle
from statistics import median

import pytest

from fastnet._ring import PacketRing
from fastnet.devices import BaseDevice
from fastnet.driver import Driver
from fastnet.socket import Socket
from fastnet.stack import Stack

ROUNDS = 500
PORTS = 60999 - 32768 + 1


class Sink(BaseDevice):
    """A device that takes everything and gives nothing."""

    def receive(self, ring: PacketRing) -> int:
        return 0

    def transmit(self, ring: PacketRing) -> int:
        count = len(ring)
        ring.clear()
        return count


class Crowd:
    """A stack with connections to one destination, from as many local addresses as they need."""

    def __init__(self, count: int, addresses: tuple[str, ...]) -> None:
        self.stack = Stack(Sink(), addresses)
        self.local = "198.18.0.2"
        for i in range(count):
            # All but the last address have every port taken.
            self.local = f"198.18.{i // PORTS}.2"
            self.stack.connect("198.19.0.1", 80, self.local)

    def connect(self) -> None:
        self.stack.connect("198.19.0.1", 80, self.local).abort(self.stack.clock())

    def refused(self) -> None:
        with pytest.raises(OSError, match="every port"):
            self.stack.connect("198.19.0.1", 80, self.local)


def each(call: Callable[[], None]) -> float:
    """Microseconds of CPU time, median."""
    gc.collect()
    gc.disable()
    took = []
    for _ in range(ROUNDS):
        start = time.process_time_ns()
        call()
        took.append(time.process_time_ns() - start)
    gc.enable()
    return median(took) / 1000


@pytest.mark.parametrize("count", [1, 14_000, 28_000, PORTS - 1, 1_000_000])
def test_connect(benchmark, count: int) -> None:
    """To one destination; 1,000,000 from a prefix of local addresses."""
    crowd = Crowd(count, ("198.18.0.0/16",) if count > PORTS else ("198.18.0.2",))
    crowd.connect()
    took = benchmark.pedantic(each, (crowd.connect,), rounds=3)
    benchmark.extra_info["per_item"] = f"{took:.1f} us a connect and an abort at {count:,}"
    assert took < 1000


def test_refusal(benchmark) -> None:
    """No port is left."""
    crowd = Crowd(PORTS, ("198.18.0.2",))
    crowd.refused()
    took = benchmark.pedantic(each, (crowd.refused,), rounds=3)
    benchmark.extra_info["per_item"] = f"{took:.1f} us a refusal"
    assert took < 1000


@pytest.fixture(scope="module", params=[1, 100_000, 1_000_000])
def crowd(request: pytest.FixtureRequest) -> Crowd:
    return Crowd(request.param, ("198.18.0.0/16",))


@pytest.mark.parametrize("port", [0, 20_000], ids=["any-port", "one-port"])
@pytest.mark.parametrize("host", ["0.0.0.0", "198.18.200.2", "198.18.0.2"])
def test_bind(benchmark, crowd: Crowd, host: str, port: int) -> None:
    """Without SO_REUSEADDR: the wildcard, an address that nobody uses, and the one with the most connections."""
    driver = Driver(crowd.stack)
    sockets = iter([Socket(driver) for _ in range(3 * ROUNDS)])
    ports: Iterator[int] = cycle([0]) if port == 0 else iter(range(port, port + 3 * ROUNDS))

    def bind() -> None:
        # Where every port is taken, the refusal is what is measured.
        with suppress(OSError):
            next(sockets).bind((host, next(ports)))

    took = benchmark.pedantic(each, (bind,), rounds=3)
    benchmark.extra_info["per_item"] = f"{took:.1f} us a bind beside {len(crowd.stack.context.demux):,}"
    assert took < 1000
