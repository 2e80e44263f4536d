"""The stack under a program that was not written for one: which addresses are its, and where the environment says to find it.

A program that runs under ``fastnet.patched()`` or on an event loop of ``fastnet.aio`` names addresses only. What belongs to the stack goes
to the stack, and everything else to the kernel, by one rule for all doors.
"""

import ipaddress
import os
import threading
from dataclasses import fields
from socket import AF_INET, AF_INET6, AF_UNSPEC

from fastnet._tun import Tun
from fastnet.config import SettingError, Settings
from fastnet.driver import Driver
from fastnet.ip.addresses import ANY, Address, parse
from fastnet.stack import IPV6_MIN_MTU, Stack

NETWORKS = ("198.18.0.0/15", "2001:2::/48")
"""What is reached over the stack's device, unless one says otherwise: the benchmarking addresses (RFC 2544, RFC 5180)."""


class Ambient:
    """A driver with its stack, and the rule for addresses.

    :param driver: whose stack it is; it may have its thread or not
    :param networks: what is reached over its device, networks of either family in text
    :raises ValueError: not a network
    """

    def __init__(self, driver: Driver, networks: tuple[str, ...] = NETWORKS) -> None:
        self.driver = driver
        self.networks = tuple(ipaddress.ip_network(text) for text in networks)

    def is_local(self, host: str | None) -> bool:
        """Does a server that binds to this host listen on the stack? On its addresses, and on the wildcards ("", None, "0.0.0.0", "::")."""
        if host in (None, "", *ANY):
            return True
        address = _parsed(host)
        stack = self.driver.stack
        return address is not None and (stack.loops or not address.is_loopback) and stack.is_local(str(address))

    def wildcards(self, family: int = AF_UNSPEC) -> tuple[str, ...]:
        """What a server binds to that names no host: "0.0.0.0" and "::", of the families that the stack has addresses of.

        :param family: AF_INET, AF_INET6, or AF_UNSPEC for both
        """
        stack = self.driver.stack
        versions = stack.own.versions or ({4, 6} if stack.device.capabilities.mtu >= IPV6_MIN_MTU else {4})
        each = zip(ANY, (4, 6), (AF_INET, AF_INET6), strict=True)
        return tuple(host for host, version, its in each if version in versions and family in (AF_UNSPEC, its))

    def leads_to(self, host: str | None) -> bool:
        """Does a client that connects to this host go over the stack? To its networks, and to the stack's own addresses."""
        address = _parsed(host)
        if address is None:
            return False
        return any(address in network for network in self.networks) or str(address) in self.driver.stack.single_addresses


class LaterAmbient(Ambient):
    """What the environment describes; the device is taken, and polled by a thread, when a socket is to be the stack's.

    So a program that starts others leaves it to them, as long as it has no use for it.

    :raises ValueError: a variable that is not what it should be
    """

    def __init__(self) -> None:
        self._networks = tuple(ipaddress.ip_network(text) for text in (*(_list("FASTNET_NETWORKS") or NETWORKS), *_addresses()))
        self._own = tuple(ipaddress.ip_network(text) for text in _addresses())
        self._lock = threading.Lock()
        self._driver: Driver | None = None

    @property
    def taken(self) -> Driver | None:
        """The driver, if there is one yet."""
        return self._driver

    def let_go(self) -> None:
        """Forget the driver, at the end of the process: what the interpreter finds last it takes apart without its modules."""
        self._driver = None

    @property
    def driver(self) -> Driver:  # type: ignore[override]
        """The driver.

        :raises OSError: no such device, another program has it, or no permission
        :raises ValueError: as ``from_environment``
        """
        with self._lock:
            if self._driver is None:
                self._driver = from_environment().driver.start()
            return self._driver

    def is_local(self, host: str | None) -> bool:
        """As ``Ambient.is_local``."""
        if host in (None, "", *ANY):
            return True
        address = _parsed(host)
        return address is not None and any(address in network for network in self._own)

    def leads_to(self, host: str | None) -> bool:
        """As ``Ambient.leads_to``."""
        address = _parsed(host)
        return address is not None and any(address in network for network in self._networks)


def _parsed(host: str | None) -> Address | None:
    # Names are the kernel's to resolve; what they resolve to comes back here. An address with a zone is the kernel's.
    try:
        return parse(host or "")
    except ValueError:
        return None


def from_environment() -> Ambient:
    """The stack that the environment describes, without its thread.

    FASTNET_TUN is the name of a TUN device in this network namespace, FASTNET_MTU its MTU (default 1500), FASTNET_OFFLOAD whether the
    kernel does checksums and segmentation (1, the default, or 0); FASTNET_ADDRESS the stack's addresses (default 198.18.0.2),
    FASTNET_NETWORKS what is reached over the device, FASTNET_SET settings as ``name=value``; each a list with commas. ``fastnet run``
    sets them.

    :raises OSError: no such device, another program has it, or no permission
    :raises ValueError: a variable that is missing or not what it should be
    """
    name = os.environ.get("FASTNET_TUN")
    if not name:
        raise ValueError("FASTNET_TUN names no TUN device: start the program with `fastnet run -- COMMAND`, or set it")
    settings: dict[str, str] = {}
    for pair in _list("FASTNET_SET"):
        key, equals, value = pair.partition("=")
        if not equals:
            raise SettingError(f"FASTNET_SET: {pair!r} is not name=value")
        settings[key.strip()] = value.strip()
    mtu = os.environ.get("FASTNET_MTU") or "1500"
    if not mtu.isdecimal():
        raise ValueError(f"FASTNET_MTU is a number of bytes, not {mtu!r}")
    offload = os.environ.get("FASTNET_OFFLOAD") or "1"
    if offload not in ("0", "1"):
        raise ValueError(f"FASTNET_OFFLOAD is 0 or 1, not {offload!r}")
    stack = Stack(Tun(name, int(mtu), offload=offload == "1"), _addresses(), settings)
    return Ambient(Driver(stack), _list("FASTNET_NETWORKS") or NETWORKS)


def as_environment(name: str, addresses: tuple[str, ...], settings: Settings, mtu: int, offload: bool) -> dict[str, str]:
    """The variables that ``from_environment`` reads; of the settings those that are not the defaults."""
    defaults = Settings()
    changed = {field.name: getattr(settings, field.name) for field in fields(Settings)}
    return {
        "FASTNET_TUN": name,
        "FASTNET_MTU": str(mtu),
        "FASTNET_OFFLOAD": str(int(offload)),
        "FASTNET_ADDRESS": ",".join(addresses),
        "FASTNET_SET": ",".join(
            f"{key}={' '.join(map(str, value)) if isinstance(value, tuple) else value}"
            for key, value in changed.items()
            if value != getattr(defaults, key)
        ),
    }


def _addresses() -> tuple[str, ...]:
    return _list("FASTNET_ADDRESS") or ("198.18.0.2",)


def _list(variable: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in os.environ.get(variable, "").split(",") if part.strip())
