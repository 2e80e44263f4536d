"""A handshake that a program decides on, in memory and in virtual time.

The policy lets one network in, refuses another, makes a third wait, asks the program about a fourth, and answers everybody else with a
cookie. What the peers see is printed.
"""

import ipaddress

from fastnet._flow import FourTuple
from fastnet._headers import OPTION_TIMESTAMPS, SYN, Segment
from fastnet._ring import PacketRing
from fastnet._writer import SegmentWriter
from fastnet.devices import MemoryDevice
from fastnet.stack import Stack
from fastnet.tcp.policy import COOKIE, RESET, Accept, Arrival, Deferred, Delay, Verdict, chain

SERVER = "198.18.0.2"
SECOND = 1_000_000_000
asked: list[Deferred] = []


def friends(arrival: Arrival) -> Verdict | None:
    """198.18.1.0/24 is let in, with a small window and a time to live that keeps answers near."""
    return Accept(window=1000, ttl=3) if in_network(arrival, "198.18.1.0/24") else None


def strangers(arrival: Arrival) -> Verdict | None:
    """198.18.2.0/24 is refused, 198.18.3.0/24 waits a second and a half, and 198.18.4.0/24 until the program has decided."""
    if in_network(arrival, "198.18.2.0/24"):
        return RESET
    if in_network(arrival, "198.18.3.0/24"):
        return Delay(1.5)
    if in_network(arrival, "198.18.4.0/24"):
        asked.append(arrival.defer(timeout=5))
        return asked[-1]
    return None


def in_network(arrival: Arrival, network: str) -> bool:
    return ipaddress.ip_address(arrival.source) in ipaddress.ip_network(network)


def syn(source: str) -> bytes:
    """A SYN from an address."""
    ring = PacketRing(1)
    flow = FourTuple(source, 40000, SERVER, 80)
    SegmentWriter(ring, lambda: None).synack(flow, 1000, 0, SYN, 64240, 1460, 7, True, True, 1, 0)
    return bytes(ring.packet(0))


def main() -> None:
    """Send five SYNs, decide on one after three seconds, and print what the stack sends."""
    now = 0
    device = MemoryDevice()
    stack = Stack(device, (SERVER,), {"tcp_synack_retries": 0}, clock=lambda: now, random=lambda n: bytes(n))
    listener = stack.listen("0.0.0.0", 80)
    listener.set_policy(chain(friends, strangers, lambda arrival: COOKIE))
    for network in range(1, 6):
        device.inject(syn(f"198.18.{network}.7"))
    while now <= 5 * SECOND:
        stack.poll(now)
        if now == 3 * SECOND:
            asked.pop().accept()
            stack.flush(now)
        for packet in device.drain():
            seg = Segment()
            seg.read(packet)
            name = "SYN-ACK" if seg.flags & SYN else "RST"
            stamped = ", timestamps" if name == "SYN-ACK" and seg.options & OPTION_TIMESTAMPS else ""
            print(f"{now / 1e9:4.1f} s  {name:7} to {seg.flow.local_address}, ttl {seg.ttl}, window {seg.window}{stamped}")
        now += SECOND // 2
    statistics = listener.statistics()
    print(f"requests {statistics.requests}, cookies {statistics.cookies_sent}, refused {statistics.refused['policy_reset']}")


if __name__ == "__main__":
    main()
