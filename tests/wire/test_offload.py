"""Checksums and segmentation left to the kernel (IFF_VNET_HDR, TSO): what arrives is what was sent, in packets of up to 64 KiB."""

import hashlib
import random
import socket
import threading
import time
from pathlib import Path

import pytest

from fastnet.driver import Driver
from fastnet.netns import Namespace, sysctl
from fastnet.socket import Socket
from fastnet.stack import Stack
from fastnet.tcp.states import State
from tests.wire.conftest import STACK

SIZE = 20_000_000


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def packets_of(name: str) -> int:
    """Packets that the stack has sent to a device, as the kernel counts them."""
    lines = Path("/proc/thread-self/net/dev").read_text().splitlines()
    return next(int(line.split()[2]) for line in lines if line.split()[0] == f"{name}:")


@pytest.mark.parametrize("mtu", [1500, 576, 9000])
def test_bulk_both_ways_with_the_kernel(namespace: Namespace, mtu: int) -> None:
    data = random.Random(mtu).randbytes(SIZE)
    tun = namespace.add_tun(mtu=mtu, offload=True)
    with Driver(Stack(tun, (STACK,))) as driver:
        listener = Socket(driver)
        listener.bind(("0.0.0.0", 80))
        listener.listen()
        listener.settimeout(10)
        with socket.create_connection((STACK, 80), timeout=20) as client:
            connection, _ = listener.accept()
            connection.settimeout(20)
            sender = threading.Thread(target=lambda: (client.sendall(data), client.shutdown(socket.SHUT_WR)))
            sender.start()
            received = b"".join(iter(lambda: connection.recv(1 << 18), b""))
            sender.join()
            assert digest(received) == digest(data)
            packets, acks = driver.stack.counters.IpInReceives, packets_of(tun.name)
            sender = threading.Thread(target=lambda: (connection.sendall(data), connection.close()))
            sender.start()
            received = b"".join(iter(lambda: client.recv(1 << 18), b""))
            sender.join()
            assert digest(received) == digest(data)
        counters = driver.stack.counters
        assert packets < SIZE / mtu / 2 and packets_of(tun.name) - acks < SIZE / mtu / 2, "packets are larger than the MTU"
        assert counters.TCPOrigDataSent >= SIZE / mtu, "but count as the segments that they become"
        assert counters.TcpInCsumErrors == 0


def test_the_kernel_cuts_what_it_forwards(namespace: Namespace) -> None:
    """A second stack, without offload, sits behind the kernel's forwarding: it gets segments of the MTU, with good checksums."""
    sysctl("net.ipv4.ip_forward", 1)
    large = Stack(namespace.add_tun("198.18.1.1/24", "large", offload=True), ("198.18.1.2",))
    small = Stack(namespace.add_tun("198.18.0.1/24", "small"), ("198.18.0.2",))
    data = random.Random(1).randbytes(3_000_000)
    listener = large.listen("0.0.0.0", 80)
    client = small.connect("198.18.1.2", 80)
    server = None
    sent = 0
    received = bytearray()
    deadline = time.monotonic() + 20
    while len(received) < len(data) and time.monotonic() < deadline:
        for stack in (large, small):
            stack.poll(stack.clock())
        if server is None:
            server = listener.accept()
            continue
        sent += server.send(data[sent : sent + 200_000])
        received += client.receive(1 << 20)
    assert digest(bytes(received)) == digest(data)
    assert small.counters.TcpInCsumErrors == 0
    assert packets_of("large") < len(data) / 1448 / 2 and large.counters.TCPOrigDataSent >= len(data) / 1448
    client.close(small.clock())
    assert client.state == State.FIN_WAIT_1


def test_small_segments_and_pings_pass(namespace: Namespace) -> None:
    """What the kernel leaves a partial checksum in is not refused, and what we complete ourselves is right."""
    with Driver(Stack(namespace.add_tun(offload=True), (STACK,))) as driver:
        listener = Socket(driver)
        listener.bind(("0.0.0.0", 80))
        listener.listen()
        listener.settimeout(10)
        with socket.create_connection((STACK, 80), timeout=10) as client:
            connection, _ = listener.accept()
            for i in range(1, 40):
                client.sendall(bytes([i]) * i)
                assert connection.recv(100) == bytes([i]) * i
                connection.sendall(bytes([i]) * i)
                assert client.recv(100) == bytes([i]) * i
            connection.close()
            assert client.recv(1) == b""
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((STACK, 81), timeout=10)
        assert driver.stack.counters.TcpInCsumErrors == 0


def test_acks_do_not_wait_for_more_than_two_of_the_peers_segments(namespace: Namespace) -> None:
    """The kernel's segments are of 1,000 bytes, its packets of up to 64 KiB, ours of 9,000: gso_size counts (RFC 9293 MUST-58)."""
    with Driver(Stack(namespace.add_tun(mtu=9000, offload=True), (STACK,))) as driver:
        listener = Socket(driver)
        listener.bind(("0.0.0.0", 80))
        listener.listen()
        listener.settimeout(10)
        with socket.socket() as client:
            client.settimeout(20)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1000)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client.connect((STACK, 80))
            connection, _ = listener.accept()
            connection.settimeout(20)
            size = client.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)
            assert size <= 1000
            sender = threading.Thread(target=lambda: client.sendall(bytes(5_000_000)))
            sender.start()
            left = 5_000_000
            while left:
                left -= len(connection.recv(left))
            sender.join()
            while unacknowledged(client):
                time.sleep(0.01)
            counters = driver.stack.counters
            before = counters.DelayedACKs + counters.TCPDSACKOldSent
            for _ in range(20):
                client.sendall(bytes(2 * size))
                while unacknowledged(client):
                    time.sleep(0.001)
            # What is not acknowledged soon the kernel sends again, as a tail loss probe. On a slow machine that happens now and then.
            assert counters.DelayedACKs + counters.TCPDSACKOldSent - before < 10
        connection.close()
        listener.close()


def unacknowledged(sock: socket.socket) -> int:
    """Segments on their way, as the kernel has it (tcpi_unacked)."""
    return int.from_bytes(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 28)[24:28], "little")
