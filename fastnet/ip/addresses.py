"""A stack's own addresses: parsed once, and asked at a cost that does not depend on how many there are."""

import ipaddress

EVERY_BIT = 0xFFFFFFFF


class AddressSet:
    """IPv4 addresses and networks.

    :param texts: "198.18.0.2" or "198.18.1.0/24"; none: every address
    :raises ValueError: not an IPv4 address or network
    """

    __slots__ = ("first", "networks")

    def __init__(self, texts: tuple[str, ...]) -> None:
        # Mask -> first addresses: at most 33 look-ups.
        self.networks: dict[int, set[int]] = {}
        self.first: str | None = None
        """The first single address, None without one."""
        for text in texts:
            network = ipaddress.IPv4Network(text)
            self.networks.setdefault(int(network.netmask), set()).add(int(network.network_address))
            if self.first is None and network.prefixlen == 32:
                self.first = str(network.network_address)

    def __contains__(self, address: int) -> bool:
        """Is it one of them? An address as a number."""
        if not self.networks:
            return True
        return any(address & mask in firsts for mask, firsts in self.networks.items())

    def is_single(self) -> bool:
        """Is it one address and no more?"""
        return list(self.networks) == [EVERY_BIT] and len(self.networks[EVERY_BIT]) == 1
