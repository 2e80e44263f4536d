"""A stack's own addresses, and which single one it comes from."""

from __future__ import annotations

import ipaddress

import pytest
from scapy.layers.inet import ICMP, IP
from scapy.packet import Raw

from fastnet.ip.addresses import Address, AddressSet, leads_somewhere, parse
from tests.peer import PEER, STACK, Wire


def number(text: str) -> Address:
    return ipaddress.ip_address(text)


def test_networks_and_single_addresses() -> None:
    """The first single one is where connections come from, wherever it stands among networks."""
    own = AddressSet(("198.18.1.0/24", "198.18.0.2", "198.18.0.3/32", "10.0.0.0/8"))
    assert own.first == {4: "198.18.0.2"} and not own.is_single()
    inside = ("198.18.1.0", "198.18.1.255", "198.18.0.2", "198.18.0.3", "10.255.0.1")
    outside = ("198.18.2.0", "198.18.0.255", "198.18.0.1", "198.18.0.4", "11.0.0.0", "9.255.255.255")
    assert all(number(text) in own for text in inside) and not any(number(text) in own for text in outside)


def test_one_address_and_none() -> None:
    assert AddressSet(("198.18.0.2",)).is_single() and AddressSet(("198.18.0.2/32",)).first == {4: "198.18.0.2"}
    assert not AddressSet(("198.18.0.2", "198.18.0.3")).is_single()
    network = AddressSet(("198.18.0.0/31",))
    assert not network.is_single() and network.first == {} and number("198.18.0.1") in network and number("198.18.0.2") not in network
    everything = AddressSet(())
    assert not everything.is_single() and everything.first == {}
    assert all(number(text) in everything for text in ("0.0.0.0", "255.255.255.255", "2001:2::1"))
    for wrong in ("198.18.0.1/24", "2001:2::1/48", "nowhere", ""):
        with pytest.raises(ValueError, match=r"."):
            AddressSet((wrong,))


def test_both_families() -> None:
    """A number of one family is none of the other's."""
    own = AddressSet(("2001:2::/64", "198.18.0.2", "2001:2:1::1", "::/128"))
    assert own.first == {4: "198.18.0.2", 6: "2001:2:1::1"} and own.versions == {4, 6} and not own.is_single()
    assert number("2001:2::ffff") in own and number("2001:2:1::1") in own and number("2001:2:1::2") not in own
    assert number("0.0.0.0") not in own and number("::c612:2") not in own
    assert AddressSet(("198.18.0.2", "2001:2::2")).is_single() and not AddressSet(("198.18.0.2", "2001:2::2", "2001:2::3")).is_single()


def test_addresses_from_text() -> None:
    assert parse("::ffff:198.18.0.2") == ipaddress.ip_address("198.18.0.2"), "an IPv4-mapped address is IPv4's"
    assert str(parse("2001:0002:0:0::0001")) == "2001:2::1"
    for wrong in ("fe80::1%fastnet0", "2001:2::1/64", "localhost", "1.2.3", ""):
        with pytest.raises(ValueError, match=r"."):
            parse(wrong)


def test_what_no_connection_leads_to() -> None:
    """RFC 9293 MUST-46: groups, everybody and nobody."""
    for text in ("224.0.0.1", "239.1.2.3", "255.255.255.255", "0.0.0.0", "::", "ff02::1", "ff0e::1"):
        assert not leads_somewhere(number(text)), text
    for text in ("223.255.255.255", "240.0.0.1", "198.18.0.1", "2001:2::1", "fe80::1", "::1"):
        assert leads_somewhere(number(text)), text


@pytest.mark.parametrize("mtu", [128, 576])
def test_the_largest_ping_is_answered_whole(mtu: int) -> None:
    """As long as a packet can be; the answer has the same bytes."""
    wire = Wire(mtu)
    for size in (0, 1, mtu - 29, mtu - 28):
        ping = IP(src=PEER, dst=STACK) / ICMP(type=8, id=7, seq=size) / Raw(bytes(i & 255 for i in range(size)))
        (answer,) = wire.put(ping)
        assert answer[ICMP].type == 0 and answer[ICMP].seq == size and answer[IP].dst == PEER
        assert bytes(answer[ICMP].payload) == bytes(i & 255 for i in range(size))
