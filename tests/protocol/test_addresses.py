"""A stack's own addresses, and which single one it comes from."""

from __future__ import annotations

import ipaddress

import pytest
from scapy.layers.inet import ICMP, IP
from scapy.packet import Raw

from fastnet.ip.addresses import AddressSet
from tests.peer import PEER, STACK, Wire


def number(text: str) -> int:
    return int(ipaddress.IPv4Address(text))


def test_networks_and_single_addresses() -> None:
    """The first single one is where connections come from, wherever it stands among networks."""
    own = AddressSet(("198.18.1.0/24", "198.18.0.2", "198.18.0.3/32", "10.0.0.0/8"))
    assert own.first == "198.18.0.2" and not own.is_single()
    inside = ("198.18.1.0", "198.18.1.255", "198.18.0.2", "198.18.0.3", "10.255.0.1")
    outside = ("198.18.2.0", "198.18.0.255", "198.18.0.1", "198.18.0.4", "11.0.0.0", "9.255.255.255")
    assert all(number(text) in own for text in inside) and not any(number(text) in own for text in outside)


def test_one_address_and_none() -> None:
    assert AddressSet(("198.18.0.2",)).is_single() and AddressSet(("198.18.0.2/32",)).first == "198.18.0.2"
    assert not AddressSet(("198.18.0.2", "198.18.0.3")).is_single()
    network = AddressSet(("198.18.0.0/31",))
    assert not network.is_single() and network.first is None and number("198.18.0.1") in network and number("198.18.0.2") not in network
    everything = AddressSet(())
    assert not everything.is_single() and everything.first is None and 0 in everything and number("255.255.255.255") in everything
    for wrong in ("198.18.0.1/24", "::1", "nowhere", ""):
        with pytest.raises(ValueError, match=r"."):
            AddressSet((wrong,))


@pytest.mark.parametrize("mtu", [128, 576])
def test_the_largest_ping_is_answered_whole(mtu: int) -> None:
    """As long as a packet can be; the answer has the same bytes."""
    wire = Wire(mtu)
    for size in (0, 1, mtu - 29, mtu - 28):
        ping = IP(src=PEER, dst=STACK) / ICMP(type=8, id=7, seq=size) / Raw(bytes(i & 255 for i in range(size)))
        (answer,) = wire.put(ping)
        assert answer[ICMP].type == 0 and answer[ICMP].seq == size and answer[IP].dst == PEER
        assert bytes(answer[ICMP].payload) == bytes(i & 255 for i in range(size))
