"""SYNs answered with a cookie, in memory on one core: parse, look-up, two SipHashes, SYN-ACK. The client's own time is left out.

And full cycles whose handshake is a cookie's, beside those whose handshake is a request's, in one run; without options, as the client
echoes no timestamps.
"""

import numpy as np
import numpy.typing as npt
import pytest

import fastnet.tcp.connection
from fastnet.load.memory import SYN, SYN_OPTIONS, MemoryClient

COMPILED = not str(fastnet.tcp.connection.__file__).endswith(".py")
Numbers = npt.NDArray[np.uint32]
SYNS = 1_000_000 if COMPILED else 40_000


class BareClient(MemoryClient):
    """Sends no options."""

    def batch(self, flows: Numbers, seq: Numbers | int, ack: Numbers | int, flags: int, options: bytes) -> npt.NDArray[np.uint8]:
        return super().batch(flows, seq, ack, flags, b"")


def answers(client: MemoryClient, options: bytes) -> float:
    """SYNs answered per second of the stack's own time, best of five."""
    flows = np.arange(SYNS // 5, dtype=np.uint32)
    packets = client.batch(flows, flows * np.uint32(7919), 0, SYN, options)
    rates = []
    for _ in range(5):
        sent, spent = client.play(packets)
        assert len(sent) == len(packets)
        rates.append(len(packets) / spent * 1e9)
    assert client.stack.counters.SyncookiesSent == 5 * len(packets)
    return max(rates)


@pytest.mark.parametrize("options", [SYN_OPTIONS, b""], ids=["options", "bare"])
def test_syns_answered_with_a_cookie(benchmark, options: bytes) -> None:
    client = MemoryClient(256, settings={"tcp_syncookies": 2})
    rate = benchmark.pedantic(answers, (client, options), rounds=1)
    benchmark.extra_info["per_item"] = f"{rate:,.0f} SYN/s"


@pytest.mark.parametrize("cookies", [1, 2], ids=["requests", "cookies"])
def test_cycles(benchmark, cookies: int) -> None:
    client = BareClient(128, settings={"tcp_syncookies": cookies})
    client.run(3)
    rate = benchmark.pedantic(lambda: max(client.run(SYNS // 1000).rate for _ in range(5)), rounds=1)
    benchmark.extra_info["per_item"] = f"{rate:,.0f} cycles/s"
