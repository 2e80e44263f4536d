"""The kernel's own clients against fastnet over a real TUN device: what they see, and what the wire carries."""

import hashlib
import socket
import struct
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import dpkt
import pytest

from fastnet.driver import Driver
from fastnet.netns import Namespace
from fastnet.socket import Socket
from tests.wire.conftest import STACK

KERNEL = "198.18.0.1"


def listening(driver: Driver, port: int = 8080, backlog: int = 128) -> Socket:
    listener = Socket(driver)
    listener.bind(("0.0.0.0", port))
    listener.listen(backlog)
    listener.settimeout(10)
    return listener


def connect(port: int = 8080) -> socket.socket:
    return socket.create_connection((STACK, port), timeout=10)


def test_ping(driver: Driver) -> None:
    """Also with a payload that has an odd length, and one that fills the MTU."""
    for size in ("56", "3", "1472"):
        command = ["ping", "-c", "3", "-i", "0.02", "-W", "2", "-s", size, STACK]
        answer = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
        assert answer.returncode == 0 and "3 received" in answer.stdout, answer.stdout
    assert driver.stack.counters.IcmpOutEchoReps == 9


def test_ten_clients_echo_at_once(driver: Driver) -> None:
    listener = listening(driver)

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            while data := connection.recv(65536):
                connection.sendall(data)

    def client(n: int) -> bool:
        data = bytes([n]) * 200_000
        with connect() as sock:
            sender = threading.Thread(target=lambda: (sock.sendall(data), sock.shutdown(socket.SHUT_WR)))
            sender.start()
            received = b"".join(iter(lambda: sock.recv(65536), b""))
            sender.join()
        return received == data

    with ThreadPoolExecutor(20) as pool:
        servers = [pool.submit(serve) for _ in range(10)]
        assert all(pool.map(client, range(10)))
        for server in servers:
            server.result(10)


def test_bulk_both_ways(driver: Driver) -> None:
    """A few MiB each way, compared by hash; windows close and open on the way."""
    listener = listening(driver)
    data = bytes(range(256)) * 16384
    digests = {}

    def serve() -> None:
        connection, _ = listener.accept()
        connection.settimeout(20)
        with connection:
            digest = hashlib.sha256()
            while chunk := connection.recv(100_000):
                digest.update(chunk)
            digests["server"] = digest.hexdigest()
            connection.sendall(data)

    server = threading.Thread(target=serve)
    server.start()
    with connect() as sock:
        sock.settimeout(20)
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        digest = hashlib.sha256()
        while chunk := sock.recv(100_000):
            digest.update(chunk)
    server.join(20)
    assert digests["server"] == digest.hexdigest() == hashlib.sha256(data).hexdigest()


def test_refused(driver: Driver) -> None:
    started = time.monotonic()
    with pytest.raises(ConnectionRefusedError):
        connect(81)
    assert time.monotonic() - started < 2


def test_the_kernel_sees_a_reset_and_so_do_we(driver: Driver) -> None:
    listener = listening(driver)
    with connect() as sock:
        connection, peer = listener.accept()
        assert peer == sock.getsockname() and connection.getpeername() == peer
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
        with pytest.raises(ConnectionResetError):
            sock.recv(1)
    sock = connect()
    connection, _ = listener.accept()
    connection.settimeout(10)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
    with pytest.raises(ConnectionResetError):
        connection.recv(1)
    assert connection.recv(1) == b"", "an error is told once, as by SO_ERROR"


def test_full_accept_queue(driver: Driver) -> None:
    """backlog + 1 connections; the kernel's next connect waits, and comes through once somebody accepts."""
    listener = listening(driver, backlog=1)
    first, second = connect(), connect()
    with ThreadPoolExecutor(1) as pool:
        third = pool.submit(connect)
        time.sleep(0.2)
        assert not third.done()
        assert driver.stack.counters.ListenDrops > 0
        for _ in range(2):
            listener.accept()[0].close()
        # The kernel sends its SYN again after a second.
        third.result(5).close()
    first.close()
    second.close()


def test_wildcard_and_specific_addresses(driver: Driver) -> None:
    """The doors refuse the two of them on one port, as Linux does; a stack does not, and the specific one gets its SYNs."""
    anywhere = listening(driver, 9000)
    with driver.lock:
        here = driver.stack.listen("198.18.0.3", 9000)
    with socket.create_connection(("198.18.0.3", 9000), timeout=10):
        accepted, deadline = None, time.monotonic() + 10
        while accepted is None and time.monotonic() < deadline:  # connect() returns before its ACK has come here.
            with driver.lock:
                accepted = here.accept()
        assert accepted is not None and accepted.handshake.flow.local_address == "198.18.0.3"
    with connect(9000):
        connection, _ = anywhere.accept()
        assert connection.getsockname() == (STACK, 9000)


def test_bytes_on_the_wire(namespace: Namespace, driver: Driver) -> None:
    """What the kernel's packet socket saw of a SYN-ACK, a FIN exchange and a RST, read by dpkt."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3)) as capture:
        capture.bind(("fastnet0", 3))  # ETH_P_ALL: both directions
        capture.settimeout(2)
        listener = listening(driver)
        sock = connect()
        connection, _ = listener.accept()
        connection.close()
        assert sock.recv(1) == b""
        time.sleep(0.2)  # The kernel's ACK of the FIN goes alone, not with its own FIN.
        sock.close()
        time.sleep(0.2)  # And ours of its FIN goes before the next SYN.
        with pytest.raises(ConnectionRefusedError):
            connect(81)
        packets: list[bytes] = []
        while len(packets) < 9:
            packets.append(capture.recv(2000))
    segments = [dpkt.ip.IP(packet) for packet in packets]
    for raw, ip in zip(packets, segments, strict=True):
        if ip.src == socket.inet_aton(STACK):
            assert dpkt.in_cksum(raw[:20]) == 0
            assert dpkt.in_cksum(raw[12:20] + b"\0\x06" + (len(raw) - 20).to_bytes(2, "big") + raw[20:]) == 0
            assert ip.df and ip.ttl == 64
    kernel = socket.inet_aton(KERNEL)
    seen = [("kernel" if ip.src == kernel else "fastnet", ip.data.flags) for ip in segments]
    syn, ack, fin, rst = 2, 16, 1, 4
    assert seen == [
        ("kernel", syn), ("fastnet", syn | ack), ("kernel", ack),
        ("fastnet", fin | ack), ("kernel", ack), ("kernel", fin | ack), ("fastnet", ack),
        ("kernel", syn), ("fastnet", rst | ack),
    ]  # fmt: skip
    first, synack = segments[0].data, segments[1].data
    assert synack.ack == first.seq + 1 & 0xFFFFFFFF
    options = dict(dpkt.tcp.parse_opts(synack.opts))
    assert options[dpkt.tcp.TCP_OPT_MSS] == (1460).to_bytes(2, "big")
    assert options[dpkt.tcp.TCP_OPT_TIMESTAMP][4:] == dict(dpkt.tcp.parse_opts(first.opts))[dpkt.tcp.TCP_OPT_TIMESTAMP][:4]
    assert segments[6].data.ack == segments[5].data.seq + 1 & 0xFFFFFFFF
    assert segments[8].data.ack == segments[7].data.seq + 1 & 0xFFFFFFFF and segments[8].data.seq == 0


@pytest.mark.parametrize("setting", ["tcp_timestamps", "tcp_sack", "tcp_window_scaling"])
def test_a_kernel_without_an_option(namespace: Namespace, driver: Driver, setting: str) -> None:
    from fastnet.netns import sysctl

    sysctl(f"net.ipv4.{setting}", 0)
    test_bulk_both_ways(driver)


def test_ss_sees_time_wait_on_one_side_only(driver: Driver) -> None:
    """Who closes first has the TIME-WAIT: here the stack, so that the kernel's table is clean."""
    listener = listening(driver)
    sock = connect()
    connection, _ = listener.accept()
    connection.close()
    assert sock.recv(1) == b""
    sock.close()
    deadline = time.monotonic() + 5
    while driver.stack.context.time_wait_count == 0 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert driver.stack.context.time_wait_count == 1
    with open("/proc/thread-self/net/tcp") as table:
        assert not [line for line in table.readlines()[1:] if line.split()[3] == "06"]
