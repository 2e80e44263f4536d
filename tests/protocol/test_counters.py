"""Counters that no other test is about."""

from scapy.layers.inet import ICMP, IP
from scapy.packet import Raw

from fastnet.devices import MemoryDevice
from fastnet.stack import Stack
from tests.peer import PEER, SECOND, STACK, Peer, Wire, call


class FullDevice(MemoryDevice):
    """Takes nothing, as a device whose queue is full."""

    def transmit(self, ring: object) -> int:
        super().transmit(ring)
        return 0


def test_packets_in_and_out() -> None:
    wire = Wire()
    peer = Peer(wire)
    peer.open(wire.stack.listen("0.0.0.0", 80))
    wire.put(IP(src=PEER, dst=STACK) / ICMP(type=8, id=1, seq=2) / Raw(b"ping"))
    counters = wire.stack.counters
    assert (counters.IpInReceives, counters.IpOutRequests) == (3, 2)
    assert (counters.TcpInSegs, counters.IcmpInMsgs, counters.IcmpInEchos, counters.IcmpOutEchoReps) == (2, 1, 1, 1)


def test_what_the_device_does_not_take() -> None:
    device = FullDevice(1500)
    stack = Stack(device, (STACK,), clock=lambda: SECOND)
    stack.connect(PEER, 80)
    stack.flush(SECOND)
    assert (stack.counters.IpOutRequests, stack.counters.DeviceTxErrors) == (1, 1)


def test_opens() -> None:
    wire = Wire()
    peer, _connection, _ = call(wire)
    peer.put("SA", 0, 1)
    Peer(wire, port=81).open(wire.stack.listen("0.0.0.0", 81))
    counters = wire.stack.counters
    assert (counters.TcpActiveOpens, counters.TcpPassiveOpens, counters.TcpCurrEstab) == (1, 1, 2)
