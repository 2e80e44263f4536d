"""What a device can do, in one object. It is a leaf, as the compiled TUN device is one and has such an object."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a device can do. A stack reads it once, when it is made.

    :param mtu: bytes of the longest IP packet on the wire
    :param medium: what a packet begins with: "ip", an IP header
    :param offload: the device computes transport checksums and cuts large packets (TSO), and may give packets of several segments joined
        and without a transport checksum (GRO); so its packets may have 65,535 bytes. Linux: IFF_VNET_HDR with TUNSETOFFLOAD
    :param loops_back: what is sent comes back: the stack's own addresses can be reached here, and no others. Linux: IFF_LOOPBACK
    :param descriptor: a file descriptor that can be read while packets wait; None: the device has none, and no event loop can wait for it
    :param timed: packets may be due without anything to read from the descriptor; ``Device.due`` says when
    :param queues: queues that the device may have, each with a stack of its own
    :raises ValueError: an MTU or a number of queues below 1
    """

    mtu: int = 1500
    medium: Literal["ip"] = "ip"
    offload: bool = False
    loops_back: bool = False
    descriptor: int | None = None
    timed: bool = False
    queues: int = 1

    def __post_init__(self) -> None:
        if self.mtu < 1 or self.queues < 1:
            raise ValueError(f"a device has an MTU and queues of 1 or more, not {self.mtu} and {self.queues}")
