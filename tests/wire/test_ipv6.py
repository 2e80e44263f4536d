"""IPv6 over a real TUN device, with the kernel on the other side: both directions, with and without offload."""

from __future__ import annotations

import errno
import random
import socket
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from fastnet.driver import Driver
from fastnet.netns import Namespace, add_gateway, check_free, sysctl
from fastnet.socket import create_server
from fastnet.stack import Stack
from fastnet.tcp.connection import Connection

KERNEL, STACK, STACK_4 = "2001:2::1", "2001:2::2", "198.18.0.2"
BOTH = ("198.18.0.1/24", f"{KERNEL}/64")
SIZE = 1_000_000


class Turns:
    """A stack that is polled by hand until something is so."""

    def __init__(self, *stacks: Stack) -> None:
        self.stacks = stacks

    def until(self, done: Callable[[], object]) -> None:
        deadline = time.monotonic() + 20
        while not done():
            assert time.monotonic() < deadline
            for stack in self.stacks:
                stack.poll(stack.clock())


@pytest.fixture(params=[False, True], ids=["plain", "offload"])
def turns(request: pytest.FixtureRequest, namespace: Namespace) -> Turns:
    return Turns(Stack(namespace.add_tun(BOTH, offload=request.param), (STACK_4, STACK)))


def exchange(turns: Turns, ours: Connection, theirs: socket.socket) -> None:
    """A megabyte each way, with the kernel's socket in a thread."""
    data = random.Random(1).randbytes(SIZE)
    received = bytearray()
    sent = 0

    def kernel() -> bool:
        theirs.settimeout(20)
        theirs.sendall(data)
        got = bytearray()
        while len(got) < SIZE:
            got += theirs.recv(1 << 20)
        return bytes(got) == data

    def step() -> bool:
        nonlocal sent
        sent += ours.send(data[sent : sent + 100_000])
        received.extend(ours.receive(1 << 20))
        return sent == SIZE and len(received) == SIZE and same.done()

    with ThreadPoolExecutor(1) as pool:
        same = pool.submit(kernel)
        turns.until(step)
        assert same.result() and bytes(received) == data


@pytest.mark.parametrize("remote", [STACK, STACK_4])
def test_kernel_client(turns: Turns, remote: str) -> None:
    """A listener on :: hears both families."""
    stack = turns.stacks[0]
    listener = stack.listen("::", 80)
    with ThreadPoolExecutor(1) as pool:
        connecting = pool.submit(socket.create_connection, (remote, 80), 20)
        turns.until(lambda: listener.accept_queue and connecting.done())
    with connecting.result() as client:
        server = listener.accept()
        assert server is not None and server.handshake.flow.remote_address == client.getsockname()[0]
        exchange(turns, server, client)
    assert stack.counters.TcpInCsumErrors == 0 and (stack.counters.Ip6InReceives > 2) == (":" in remote)


def test_kernel_server(turns: Turns) -> None:
    stack = turns.stacks[0]
    with socket.create_server((KERNEL, 0), family=socket.AF_INET6) as listener:
        ours = stack.connect(KERNEL, listener.getsockname()[1])
        stack.flush(stack.clock())
        listener.settimeout(20)
        with ThreadPoolExecutor(1) as pool:
            accepting = pool.submit(listener.accept)
            turns.until(accepting.done)
        theirs, peer = accepting.result()
        with theirs:
            assert peer[0] == STACK
            exchange(turns, ours, theirs)
    if stack.device.capabilities.offload:
        assert stack.counters.Ip6OutRequests < SIZE / 3000, "packets are larger than the MTU"


def test_refused(turns: Turns) -> None:
    """A port that nobody has, on either side."""
    stack = turns.stacks[0]
    with ThreadPoolExecutor(1) as pool, socket.socket(socket.AF_INET6) as client:
        connecting = pool.submit(client.connect_ex, (STACK, 81))
        turns.until(connecting.done)
    assert connecting.result() == errno.ECONNREFUSED
    ours = stack.connect(KERNEL, 81)
    turns.until(lambda: ours.error)
    assert ours.error == errno.ECONNREFUSED


def test_ping(namespace: Namespace) -> None:
    """Every size up to what fills the MTU; an odd one too."""
    sizes = (0, 3, 56, 1023, 1452)
    with Driver(Stack(namespace.add_tun(BOTH), (STACK,))) as driver:
        for size in sizes:
            command = ["ping", "-6", "-c", "3", "-i", "0.02", "-W", "2", "-s", str(size), STACK]
            answer = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
            assert answer.returncode == 0 and "3 received" in answer.stdout, answer.stdout + answer.stderr
        assert driver.stack.counters.Icmp6OutEchoReplies == 3 * len(sizes)


@pytest.mark.parametrize("mtu", [1280, 1400])
def test_the_kernel_says_what_it_takes(namespace: Namespace, mtu: int) -> None:
    """Packet Too Big, from a router whose next link takes less."""
    sysctl("net.ipv6.conf.all.forwarding", 1)
    near = Stack(namespace.add_tun("2001:2:0:1::1/64", "near"), ("2001:2:0:1::2",))
    far = Stack(namespace.add_tun("2001:2:0:2::1/64", "far"), ("2001:2:0:2::2",))
    subprocess.run(["ip", "link", "set", "far", "mtu", str(mtu)], check=True, timeout=10)
    turns = Turns(near, far)
    listener = far.listen("::", 80)
    client = near.connect("2001:2:0:2::2", 80)
    turns.until(lambda: listener.accept_queue)
    server = listener.accept()
    assert server is not None and client.send_mss() == 1428
    sent = received = 0

    def step() -> bool:
        nonlocal sent, received
        sent += client.send(bytes(min(200_000 - sent, 50_000)))
        received += len(server.receive(1 << 20))
        return received == 200_000

    turns.until(step)
    assert client.send_mss() == mtu - 72 and client.path_mtu() == mtu
    assert near.counters.Icmp6InPktTooBigs > 0 and near.counters.TCPTimeouts == 0


def test_what_the_kernel_says_unasked(namespace: Namespace) -> None:
    """A device of IPv4 alone has no IPv6; one with an address of IPv6 has no link-local one, so the kernel looks for no router."""
    stack = Stack(namespace.add_tun(BOTH), (STACK, STACK_4))
    deadline = time.monotonic() + 0.3
    while time.monotonic() < deadline:
        stack.wait(10_000_000)
        stack.poll(stack.clock())
    assert stack.counters.Ip6InReceives == stack.counters.Ip6InDiscards
    assert "fe80" not in subprocess.run(["ip", "-6", "addr"], capture_output=True, text=True, check=True, timeout=10).stdout
    quiet = namespace.add_tun("198.18.1.1/24", "quiet")
    answer = subprocess.run(["ip", "-6", "addr", "show", quiet.name], capture_output=True, text=True, check=True, timeout=10)
    assert answer.stdout == ""


def test_routes_and_addresses(namespace: Namespace) -> None:
    """A network that the stack answers for, behind the device; one more address of the kernel's; one that is taken."""
    tun = namespace.add_tun(BOTH)
    namespace.route("2001:2:0:9::/64", tun)
    add_gateway("2001:2:0:a::/64", STACK)
    namespace.add_address("2001:2:0:5::5")
    with Driver(Stack(tun, (STACK, "2001:2:0:9::/64", "2001:2:0:a::1"))) as driver, create_server(
        driver, ("::", 80), family=socket.AF_INET6
    ) as listener:
        listener.settimeout(10)
        for host in ("2001:2:0:9::77", "2001:2:0:a::1"):
            with socket.create_connection((host, 80), 10, ("2001:2:0:5::5", 0)):
                accepted, peer = listener.accept()
                assert accepted.getsockname()[0] == host and peer[0] == "2001:2:0:5::5"
                accepted.close()
    other = namespace.add_tun("198.18.1.1/24", "other")
    for taken in (f"{KERNEL}/64", "2001:2::9/64", "2001:2:0:5::5/128", ("198.18.7.1/24", f"{KERNEL}/64"), "198.18.0.9/24"):
        with pytest.raises(OSError, match="already: choose others") as caught:
            check_free(taken, other)
        assert caught.value.errno == errno.EADDRINUSE
    check_free(("198.18.7.1/24", "2001:2:0:7::1/64"), other)
    check_free(BOTH, tun)
