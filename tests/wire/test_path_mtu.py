"""Path MTU discovery with the kernel as the router: it says what it cannot forward (RFC 1191), or fragments it."""

import subprocess
import time
from collections.abc import Callable

import pytest

from fastnet.netns import Namespace, sysctl
from fastnet.stack import Stack
from fastnet.tcp.connection import Connection

SIZE = 200_000


class Path:
    """Two stacks, and a kernel between them whose link to the second takes fewer bytes than both believe."""

    def __init__(self, namespace: Namespace, mtu: int) -> None:
        sysctl("net.ipv4.ip_forward", 1)
        self.near = Stack(namespace.add_tun("198.18.0.1/24", "near"), ("198.18.0.2",))
        self.far = Stack(namespace.add_tun("198.18.1.1/24", "far"), ("198.18.1.2",))
        subprocess.run(["ip", "link", "set", "far", "mtu", str(mtu)], check=True, timeout=10)
        self.listener = self.far.listen("0.0.0.0", 80)

    def until(self, done: Callable[[], object]) -> None:
        deadline = time.monotonic() + 20
        while not done():
            assert time.monotonic() < deadline
            for stack in (self.near, self.far):
                stack.poll(stack.clock())

    def connect(self) -> tuple[Connection, Connection]:
        client = self.near.connect("198.18.1.2", 80)
        self.until(lambda: self.listener.accept_queue)
        server = self.listener.accept()
        assert server is not None
        return client, server

    def transfer(self, client: Connection, server: Connection) -> None:
        sent = received = 0

        def step() -> bool:
            nonlocal sent, received
            sent += client.send(bytes(min(SIZE - sent, 50_000)))
            received += len(server.receive(1 << 20))
            return received == SIZE

        self.until(step)


def test_the_kernel_says_what_it_takes(namespace: Namespace) -> None:
    path = Path(namespace, 1000)
    client, server = path.connect()
    assert client.send_mss() == 1448
    path.transfer(client, server)
    counters = path.near.counters
    assert client.send_mss() == 948 and client.path_mtu() == 1000
    assert counters.IcmpInDestUnreachs > 0 and counters.TCPTimeouts == 0 and counters.TCPSackRecovery == 0
    said = counters.IcmpInDestUnreachs
    again, server = path.connect()
    path.transfer(again, server)
    assert counters.IcmpInDestUnreachs == said, "the next connection knows"


@pytest.mark.parametrize("mtu", [300, 551])
def test_below_min_pmtu_the_kernel_fragments(namespace: Namespace, mtu: int) -> None:
    """The other stack reassembles nothing: that fragments get there is what is to be seen."""
    path = Path(namespace, mtu)
    client, _ = path.connect()
    client.send(bytes(5000))
    path.until(lambda: path.far.counters.FragmentDrops > 0)
    assert client.send_mss() == 500 and client.path_mtu() == 552


def test_the_kernel_fragments_what_has_no_df(namespace: Namespace) -> None:
    """IP_PMTUDISC_DONT."""
    path = Path(namespace, 1000)
    client, _ = path.connect()
    client.set_path_discovery(-1)
    client.send(bytes(5000))
    path.until(lambda: path.far.counters.FragmentDrops > 0)
    assert path.near.counters.IcmpInDestUnreachs == 0 and client.send_mss() == 1448
