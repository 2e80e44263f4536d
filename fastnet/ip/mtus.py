"""What is known of the ways to other hosts: the largest packet that gets there (RFC 1191, RFC 8201), for as long as it is believed."""

from typing import Any

from fastnet._flow import FourTuple
from fastnet.config import Settings

SECOND = 1_000_000_000
LARGEST = 4096
"""Destinations that are remembered. The one that has been known longest makes way for a new one."""
IPV6_MIN_MTU = 1280
"""What every link of IPv6 takes (RFC 8200 section 5)."""
MIN_MTU = 68
"""No link takes less (RFC 791 section 3.1)."""
GUESSED_MTU = 576
"""What to go down to for a router that does not say what it takes (RFC 1191 section 5)."""


class KnownMtu:
    """What is known of the way to one destination.

    :ivar mtu: bytes of the largest packet that gets there
    :ivar until: when that is no longer believed, ns
    :ivar fragment: it takes less than min_pmtu: packets of that size go without DF, and are fragmented on their way
    :ivar found: no router said so: larger packets vanished, and connections that begin go up from here by probes (RFC 8899)
    """

    __slots__ = ("found", "fragment", "mtu", "until")

    def __init__(self, mtu: int, until: int, fragment: bool, found: bool) -> None:
        self.mtu = mtu
        self.until = until
        self.fragment = fragment
        self.found = found


class MtuCache:
    """Destinations with a path that is narrower than the device.

    :param device_mtu: bytes of the largest packet that the device takes
    """

    __slots__ = ("device_mtu", "known", "settings")

    def __init__(self, settings: Settings, device_mtu: int) -> None:
        self.settings = settings
        self.device_mtu = device_mtu
        self.known: dict[Any, KnownMtu] = {}

    def find(self, flow: FourTuple, now: int) -> KnownMtu | None:
        """The path to a destination; None where packets as large as the device takes may be tried."""
        target = flow.remote_number
        path = self.known.get(target)
        if path is not None and now >= path.until:
            del self.known[target]
            return None
        return path

    def narrowed(self, flow: FourTuple, mtu: int, now: int) -> bool:
        """A router says that it takes only so many bytes. True when that is less than was known.

        Below min_pmtu nobody is believed: whoever forges such messages cannot bring packets below that size (__ip_rt_update_pmtu()).
        """
        if flow.version == 6:
            # Every link takes that many (RFC 8201 section 4).
            floor = IPV6_MIN_MTU
            fragment = False
        else:
            if mtu < MIN_MTU:
                mtu = GUESSED_MTU
            floor = min(self.settings.min_pmtu, self.device_mtu)
            fragment = mtu < floor
        mtu = max(mtu, floor)
        path = self.find(flow, now)
        most = self.device_mtu if path is None or path.found else path.mtu
        if mtu > most or mtu == self.device_mtu and not fragment:
            return False
        until = now + self.settings.mtu_expires * SECOND
        if path is None:
            self.keep(flow, KnownMtu(mtu, until, fragment, False))
            return True
        news = mtu < path.mtu or path.found or fragment and not path.fragment
        path.mtu = mtu
        path.until = until
        path.found = False
        path.fragment = path.fragment or fragment
        return news

    def went_through(self, flow: FourTuple, mtu: int, now: int) -> None:
        """Where larger packets vanish, one of this size got there: new connections begin with that."""
        path = self.find(flow, now)
        if path is not None and not path.found:
            return
        if mtu >= self.device_mtu:
            self.known.pop(flow.remote_number, None)
        elif path is None:
            self.keep(flow, KnownMtu(mtu, now + self.settings.mtu_expires * SECOND, False, True))
        else:
            path.mtu = mtu
            path.until = now + self.settings.mtu_expires * SECOND

    def keep(self, flow: FourTuple, path: KnownMtu) -> None:
        """Remember one more."""
        if len(self.known) >= LARGEST:
            del self.known[next(iter(self.known))]
        self.known[flow.remote_number] = path
