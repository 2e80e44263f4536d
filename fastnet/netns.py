"""Private network namespaces, where a stack and the kernel can talk without touching any real network.

Addresses are of 198.18.0.0/15 (RFC 2544, benchmarking) and 2001:2::/48 (RFC 5180, the same of IPv6). A namespace belongs to the thread that
entered it, and it and its devices are gone when nobody is in it any more: nothing is left behind after an exception, SIGINT or even
SIGKILL. ``fastnet.isolation`` sees to it that nobody stays in it.
"""

import ctypes
import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_interface
from pathlib import Path
from socket import AF_INET, AF_INET6
from types import TracebackType
from typing import Any, Self

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from fastnet._tun import Tun
from fastnet.isolation import (
    CLONE_NEWNET,
    CLONE_NEWNS,
    MS_PRIVATE,
    MS_REC,
    enter_user_namespace,
    in_user_namespace,
    isolated,
    libc,
    mount,
    unshare,
)  # fmt: skip

__all__ = [
    "Namespace", "add_gateway", "check_free", "configure", "configure_link", "isolated", "keep", "receive_on", "set_namespace", "sysctl",
]  # fmt: skip

TUNSETPERSIST = 0x400454CB
"""<linux/if_tun.h>"""
IFA_F_NODAD = 2
"""<linux/if_addr.h>: the address can be used at once, as nobody else on the link is asked whether he has it."""

Addresses = str | tuple[str, ...]
"""One address with its prefix length, or several, of either family."""


@contextmanager
def netlink() -> Iterator[Any]:
    """An ``IPRoute``.

    :raises OSError: what the kernel refuses, with a line that says what to do
    """
    try:
        with IPRoute() as ip:
            yield ip
    except NetlinkError as error:
        hint = "it takes root or CAP_NET_ADMIN in this network namespace" if error.code == errno.EPERM else ""
        raise OSError(error.code, ": ".join(filter(None, (f"the kernel's network: {os.strerror(error.code)}", hint)))) from None


class Namespace:
    """A context manager: inside it, the calling thread is in a new network namespace with its loopback up.

    As root, leaving it brings the thread back. Without root it takes a user namespace too, which only a process of one thread can
    make and nobody can leave: see ``isolated``.

    :raises OSError: EPERM, EINVAL, ENOSPC, with a line that says what to do
    """

    def __init__(self) -> None:
        self._before: int | None = None
        self._tuns: list[Tun] = []

    def __enter__(self) -> Self:
        if os.geteuid() == 0:
            before = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            try:
                unshare(CLONE_NEWNET)
            except OSError:
                os.close(before)
                raise
            self._before = before
        else:
            enter_user_namespace(CLONE_NEWNET)
        try:
            with netlink() as ip:
                ip.link("set", index=ip.link_lookup(ifname="lo")[0], state="up")
        except BaseException:
            self.leave()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.leave()

    def leave(self) -> None:
        """Close the devices that were added, and go back to where the thread was."""
        for tun in self._tuns:
            tun.close()
        self._tuns.clear()
        if self._before is not None:
            before, self._before = self._before, None
            failed = libc.setns(before, CLONE_NEWNET)
            number = ctypes.get_errno()
            os.close(before)
            # Nobody goes from a user namespace back to the network of another one.
            if failed and not (number == errno.EPERM and in_user_namespace()):
                raise OSError(number, f"back to the first network namespace: {os.strerror(number)}")

    def add_tun(
        self, kernel: Addresses = "198.18.0.1/24", name: str = "fastnet0", mtu: int = 1500, offload: bool = False, queue: int = 0
    ) -> Tun:
        """A TUN device, up, with the kernel's addresses and networks on it; the stack takes any other address of these networks.

        :param kernel: the kernel's own address with its prefix length, or several: ("198.18.0.1/24", "2001:2::1/64")
        :param queue: packets that may wait to be read (txqueuelen), beyond which the kernel drops; 0: the kernel's 500
        :raises OSError, ValueError: as ``Tun``
        """
        tun = Tun(name, mtu, offload=offload)
        self._tuns.append(tun)
        if queue:
            with netlink() as ip:
                ip.link("set", index=ip.link_lookup(ifname=tun.name)[0], txqlen=queue)
        configure(tun, kernel)
        return tun

    def route(self, destination: str, tun: Tun) -> None:
        """Send what goes to a network ("198.18.128.0/17", "2001:2:0:1::/64") to a device."""
        with netlink() as ip:
            ip.route("add", dst=destination, oif=ip.link_lookup(ifname=tun.name)[0])

    def add_veth(self, kernel: Addresses, name: str, peer: str, process: int) -> None:
        """A pair of Ethernet devices: one end here, up, with an address and network; the other in another process's namespace.

        :param peer: name of the other end, for ``configure_link`` over there; ``process``: id of the process
        """
        with netlink() as ip:
            ip.link("add", ifname=name, kind="veth", peer={"ifname": peer, "net_ns_pid": process})
        configure_link(name, kernel)

    def add_address(self, address: str, interface: str = "lo") -> None:
        """One more address of the kernel's, of either family, with its prefix length."""
        with netlink() as ip:
            add_interface_address(ip, ip.link_lookup(ifname=interface)[0], address)


def configure(tun: Tun, kernel: Addresses) -> None:
    """Give a TUN device the kernel's addresses and bring it up. Without an address of IPv6 it has no IPv6 at all.

    :raises PermissionError: it takes CAP_NET_ADMIN in this network namespace
    """
    configure_link(tun.name, kernel)


def check_free(kernel: Addresses, tun: Tun) -> None:
    """Two devices with the same network: packets would go to the first alone.

    :param kernel: the addresses and networks that the device is to have
    :raises OSError: EADDRINUSE, another interface has the address or the network
    """
    wanted = [ip_interface(address) for address in several(kernel)]
    with netlink() as ip:
        names = {link["index"]: link.get_attr("IFLA_IFNAME") for link in ip.get_links()}
        for entry in (*ip.get_addr(family=AF_INET), *ip.get_addr(family=AF_INET6)):
            name = names.get(entry["index"])
            other = ip_interface(f"{entry.get_attr('IFA_LOCAL') or entry.get_attr('IFA_ADDRESS')}/{entry['prefixlen']}")
            if name != tun.name and any(other.ip == one.ip or other.network == one.network for one in wanted):
                raise OSError(errno.EADDRINUSE, f"{name} has {other} already: choose others with --kernel and --address")


def configure_link(name: str, kernel: Addresses) -> None:
    """As ``configure``, for an interface by its name; an address that it has already stays."""
    addresses = several(kernel)
    ipv6 = Path(f"/proc/sys/net/ipv6/conf/{name}")
    if ipv6.exists():
        # No link-local address: the kernel would look for routers with it.
        (ipv6 / "addr_gen_mode").write_text("1")
        (ipv6 / "disable_ipv6").write_text(str(int(not any(":" in address for address in addresses))))
    with netlink() as ip:
        index = ip.link_lookup(ifname=name)[0]
        for address in addresses:
            try:
                add_interface_address(ip, index, address)
            except NetlinkError as error:
                if error.code != errno.EEXIST:
                    raise
        ip.link("set", index=index, state="up")


def several(kernel: Addresses) -> tuple[str, ...]:
    """The addresses, also where there is one."""
    return (kernel,) if isinstance(kernel, str) else tuple(kernel)


def add_interface_address(ip: Any, index: int, address: str) -> None:
    """Give an interface an address of either family, with its prefix length (default: the address alone)."""
    interface = ip_interface(address)
    extra = {"flags": IFA_F_NODAD} if interface.version == 6 else {}
    ip.addr("add", index=index, address=str(interface.ip), prefixlen=interface.network.prefixlen, **extra)


def add_gateway(destination: str, gateway: str) -> None:
    """Send what goes to a network (such as "198.18.0.0/15") by way of a neighbour."""
    with netlink() as ip:
        ip.route("add", dst=destination, gateway=gateway)


def set_namespace(process: int) -> None:
    """Move the calling thread to the network namespace of another process, for good.

    :raises OSError: no such process, no permission
    """
    descriptor = os.pidfd_open(process)
    try:
        if libc.setns(descriptor, CLONE_NEWNET):
            number = ctypes.get_errno()
            raise OSError(number, f"into the network namespace of process {process}: {os.strerror(number)}")
    finally:
        os.close(descriptor)


def receive_on(name: str, cores: tuple[int, ...]) -> None:
    """Have the kernel work on what a device receives on certain cores (receive packet steering), not in the sender's context.

    The calling process, which must have a single thread, gets a /sys of its own, of its network namespace.

    :raises OSError: no permission
    """
    unshare(CLONE_NEWNS)
    mount(None, b"/", None, MS_REC | MS_PRIVATE)
    mount(b"sysfs", b"/sys", b"sysfs", 0)
    Path(f"/sys/class/net/{name}/queues/rx-0/rps_cpus").write_text(f"{sum(1 << core for core in cores):x}")


def keep(tun: Tun) -> None:
    """Have a TUN device stay, with its address and routes, when nobody has it open: for the program that opens it next, by its name.

    It goes with its network namespace.
    """
    fcntl.ioctl(tun.fileno(), TUNSETPERSIST, 1)


def sysctl(name: str, value: int | str) -> None:
    """Set one of the namespace's kernel settings, as ``sysctl -w`` does: "net.ipv4.ip_forward".

    :raises OSError: there is none of that name, or it cannot be set
    """
    Path("/proc/sys", *name.split(".")).write_text(str(value))
