"""A stack's own addresses: parsed once, and asked at a cost that does not depend on how many there are."""

import ipaddress
from ipaddress import IPv4Address, IPv6Address

Address = IPv4Address | IPv6Address
ANY = ("0.0.0.0", "::")
"""The wildcards: any address of IPv4, any address."""
MULTICAST = 224 >> 4
BROADCAST = 0xFFFFFFFF
"""How an IPv4 address begins that is no single host's, and the one of everybody."""


def parse(text: str) -> Address:
    """An address from text. An IPv4-mapped one (RFC 4291 section 2.5.5.2) is the IPv4 address in it, as in Linux's sockets.

    :raises ValueError: not an IPv4 or IPv6 address, or one with a zone: a stack has one link
    """
    address = ipaddress.ip_address(text)
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            raise ValueError(f"{text}: a stack has one link, so an address has no zone")
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
    return address


def leads_somewhere(address: Address) -> bool:
    """Can a TCP connection lead there (RFC 9293 MUST-46): is it neither a group, nor everybody, nor nobody?"""
    number = int(address)
    if address.version == 6:
        return not address.is_multicast and number != 0
    return number >> 28 != MULTICAST and number not in (0, BROADCAST)


class AddressSet:
    """Addresses and networks of both families.

    :param texts: "198.18.0.2", "198.18.1.0/24", "2001:2::2" or "2001:2::/48"; none: every address
    :raises ValueError: not an address or network
    """

    __slots__ = ("first", "networks", "versions")

    def __init__(self, texts: tuple[str, ...]) -> None:
        # (Version, mask) -> first addresses: a look-up for each length of a prefix that there is.
        self.networks: dict[tuple[int, int], set[int]] = {}
        self.first: dict[int, str] = {}
        """Version -> the first single address; without one it is missing."""
        for text in texts:
            network = ipaddress.ip_network(text)
            key = (network.version, int(network.netmask))
            self.networks.setdefault(key, set()).add(int(network.network_address))
            if network.prefixlen == network.max_prefixlen:
                self.first.setdefault(network.version, str(network.network_address))
        self.versions = {version for version, _ in self.networks}

    def __contains__(self, address: Address) -> bool:
        """Is it one of them?"""
        if not self.networks:
            return True
        number, version = int(address), address.version
        return any(number & mask in firsts for (family, mask), firsts in self.networks.items() if family == version)

    def is_single(self) -> bool:
        """Is there one address of each family, and no more?"""
        return bool(self.networks) and all(
            mask in (0xFFFFFFFF, (1 << 128) - 1) and len(firsts) == 1 for (_, mask), firsts in self.networks.items()
        )
