"""ECN with the kernel at the other end, in both roles: agreed, marked, and both slow down for a mark."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from fastnet.devices import ImpairedDevice, Impairment
from fastnet.driver import Driver
from fastnet.netns import Namespace, sysctl
from fastnet.socket import Socket, create_connection, create_server
from fastnet.stack import Stack
from tests.wire.conftest import STACK

KERNEL = "198.18.0.1"
SIZE = 3_000_000
TCPI_OPTIONS, TCPI_SSTHRESH = 5, 76
"""Offsets in struct tcp_info (linux/tcp.h), bytes."""
OPT_ECN, OPT_ECN_SEEN = 8, 16


def tcp_info(sock: socket.socket | Socket) -> tuple[int, int]:
    """ECN's options; the slow start threshold, segments."""
    raw = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 192)
    assert isinstance(raw, bytes)
    return raw[TCPI_OPTIONS] & (OPT_ECN | OPT_ECN_SEEN), struct.unpack_from("I", raw, TCPI_SSTHRESH)[0]


def kernel_counter(name: str) -> int:
    lines = Path("/proc/thread-self/net/netstat").read_text().splitlines()
    for names, values in zip(lines[::2], lines[1::2], strict=True):
        found = dict(zip(names.split(), values.split(), strict=True))
        if name in found:
            return int(found[name])
    raise KeyError(name)


def exchange(client: socket.socket | Socket, accept: Callable[[], socket.socket | Socket], down: bool) -> tuple[Socket, socket.socket]:
    """Send ``SIZE`` bytes one way and read them; the stack's end and the kernel's, which stay open.

    :param down: from the server to the client
    """
    server = accept()
    sender, receiver = (server, client) if down else (client, server)
    data = bytes(range(256)) * (SIZE // 256)
    thread = threading.Thread(target=sender.sendall, args=(data,))
    thread.start()
    got = bytearray()
    while len(got) < len(data):
        piece = receiver.recv(1 << 16)
        assert piece
        got += piece
    thread.join()
    assert got == data
    ends = (client, server) if isinstance(client, Socket) else (server, client)
    assert isinstance(ends[0], Socket) and isinstance(ends[1], socket.socket)
    return ends


def connected(driver: Driver, active: bool) -> tuple[socket.socket | Socket, Callable[[], socket.socket | Socket]]:
    """A client, and how its server accepts it; ``active``: the stack is the client. The kernel has Reno: BBR does not care about marks."""
    if active:
        listener = socket.create_server((KERNEL, 7))
        listener.settimeout(10)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"reno")
        return create_connection(driver, (KERNEL, 7), timeout=10), lambda: (listener.accept()[0], listener.close())[0]
    server = create_server(driver, (STACK, 7))
    server.settimeout(10)
    client = socket.create_connection((STACK, 7), timeout=30)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"reno")
    return client, lambda: server.accept()[0]


@pytest.mark.parametrize("sends", [False, True], ids=["kernel sends", "stack sends"])
@pytest.mark.parametrize("active", [False, True], ids=["kernel asks", "stack asks"])
def test_agreed_with_the_kernel_and_marks_slow_both_down(namespace: Namespace, active: bool, sends: bool) -> None:
    device = ImpairedDevice(namespace.add_tun(), Impairment(mark=0.05), seed=1)
    sysctl("net.ipv4.tcp_ecn", 1)
    with Driver(Stack(device, (STACK,), {"tcp_ecn": 1 if active else 2})) as driver:
        stack_end, kernel_end = exchange(*connected(driver, active), down=active != sends)
        with stack_end, kernel_end:
            (ours, our_threshold), (theirs, their_threshold) = tcp_info(stack_end), tcp_info(kernel_end)
        assert ours & theirs & OPT_ECN
        counters = driver.stack.counters
        way = device.outgoing if sends else device.incoming
        assert way.tally.marked > 0 and way.tally.lost == 0
        if sends:
            assert theirs & OPT_ECN_SEEN and kernel_counter("InCEPkts") > 0 and our_threshold < 1000
        else:
            assert ours & OPT_ECN_SEEN and counters.InCEPkts == device.incoming.tally.marked and their_threshold < 1000
            assert counters.InECT0Pkts > 0
        # A machine that is busy for long lets timers fire, here and in the kernel; but no mark is taken for a loss.
        assert counters.TCPSackRecovery == counters.TCPRenoRecovery == 0, "for nothing was lost"
        assert kernel_counter("TCPSackRecovery") == kernel_counter("TCPRenoRecovery") == 0


@pytest.mark.parametrize(("kernel", "setting", "active"), [(0, 1, True), (2, 2, True), (1, 0, False), (2, 2, False)])
def test_who_does_not_want_it_has_none(namespace: Namespace, kernel: int, setting: int, active: bool) -> None:
    tun = namespace.add_tun()
    sysctl("net.ipv4.tcp_ecn", kernel)
    with Driver(Stack(tun, (STACK,), {"tcp_ecn": setting})) as driver:
        stack_end, kernel_end = exchange(*connected(driver, active), down=True)
        with stack_end, kernel_end:
            assert tcp_info(stack_end)[0] == tcp_info(kernel_end)[0] == 0
        assert driver.stack.counters.InECT0Pkts == driver.stack.counters.InCEPkts == 0


def test_a_cookie_remembers_what_the_kernel_asked_for(namespace: Namespace) -> None:
    tun = namespace.add_tun()
    sysctl("net.ipv4.tcp_ecn", 1)
    with Driver(Stack(tun, (STACK,), {"tcp_syncookies": 2})) as driver:
        stack_end, kernel_end = exchange(*connected(driver, False), down=True)
        with stack_end, kernel_end:
            assert tcp_info(stack_end)[0] & tcp_info(kernel_end)[0] & OPT_ECN
        assert driver.stack.counters.SyncookiesRecv == 1


@pytest.mark.parametrize("down", [False, True])
def test_with_offload_too(namespace: Namespace, down: bool) -> None:
    """Large packets that the kernel cuts, or has put together, may be marked like others."""
    tun = namespace.add_tun(offload=True)
    sysctl("net.ipv4.tcp_ecn", 1)
    with Driver(Stack(tun, (STACK,))) as driver:
        stack_end, kernel_end = exchange(*connected(driver, False), down=down)
        with stack_end, kernel_end:
            assert tcp_info(stack_end)[0] & tcp_info(kernel_end)[0] & OPT_ECN
        assert (kernel_counter("InECT0Pkts") if down else driver.stack.counters.InECT0Pkts) > 10


@pytest.mark.parametrize("sends", [False, True], ids=["kernel sends", "stack sends"])
def test_dctcp_and_a_kernel_without(namespace: Namespace, sends: bool) -> None:
    """The kernel asks for RFC 3168's ECN: marks slow both down, whoever echoes them how (RFC 8257 section 3.3, last paragraph)."""
    device = ImpairedDevice(namespace.add_tun(), Impairment(mark=0.05), seed=1)
    sysctl("net.ipv4.tcp_ecn", 1)
    with Driver(Stack(device, (STACK,), {"tcp_congestion_control": "dctcp"})) as driver:
        stack_end, kernel_end = exchange(*connected(driver, False), down=sends)
        with stack_end, kernel_end:
            (ours, our_threshold), (theirs, their_threshold) = tcp_info(stack_end), tcp_info(kernel_end)
        assert ours & theirs & OPT_ECN
        assert our_threshold < 1000 if sends else their_threshold < 1000
        assert driver.stack.counters.TCPSackRecovery == 0 == kernel_counter("TCPSackRecovery"), "for nothing was lost"


def test_dctcp_asks_a_kernel_without(namespace: Namespace) -> None:
    """Its SYN may be marked, so that only a listener that has DCTCP agrees (tcp_ecn_create_request()): NewReno is left."""
    tun = namespace.add_tun()
    sysctl("net.ipv4.tcp_ecn", 1)
    with Driver(Stack(tun, (STACK,), {"tcp_congestion_control": "dctcp"})) as driver:
        stack_end, kernel_end = exchange(*connected(driver, True), down=False)
        with stack_end, kernel_end:
            assert tcp_info(stack_end)[0] == tcp_info(kernel_end)[0] == 0
        assert driver.stack.counters.TCPSackRecovery == 0


@pytest.mark.parametrize("sends", [False, True], ids=["kernel sends", "stack sends"])
@pytest.mark.parametrize("active", [False, True], ids=["kernel asks", "stack asks"])
def test_dctcp_at_both_ends(namespace: Namespace, active: bool, sends: bool) -> None:
    """Where the kernel has it: agreed, exact, and little is lost of CWND for few marks."""
    if "dctcp" not in Path("/proc/sys/net/ipv4/tcp_available_congestion_control").read_text().split():
        pytest.skip("this kernel has no dctcp")
    device = ImpairedDevice(namespace.add_tun(), Impairment(mark=0.02), seed=1)
    sysctl("net.ipv4.tcp_congestion_control", "dctcp")
    with Driver(Stack(device, (STACK,), {"tcp_congestion_control": "dctcp"})) as driver:
        if active:
            listener = socket.create_server((KERNEL, 7))
            listener.settimeout(10)
            pair = create_connection(driver, (KERNEL, 7), timeout=10), lambda: listener.accept()[0]
        else:
            server = create_server(driver, (STACK, 7))
            server.settimeout(10)
            pair = socket.create_connection((STACK, 7), timeout=30), lambda: server.accept()[0]
        stack_end, kernel_end = exchange(*pair, down=active != sends)
        with stack_end, kernel_end:
            assert tcp_info(stack_end)[0] & tcp_info(kernel_end)[0] & OPT_ECN
        assert driver.stack.counters.TCPSackRecovery == 0 == kernel_counter("TCPSackRecovery")
