"""fastnet and PyTCP, another TCP in user space, talk to each other through the kernel's forwarding.

    fastnet 198.18.0.2 -- fastnet0 -- 198.18.0.1 kernel 198.18.1.1 -- peer0 -- 198.18.1.2 PyTCP

All of it is in one private network namespace. PyTCP is under the GPL: it is installed for the tests only and runs in a process of
its own, see peer.py.

Two things that PyTCP 0.3.8 does, which a trace of these tests shows: one segment in tens of thousands has a wrong checksum (a carry
is folded once too few), is dropped, and comes again; and a window that was shut opens only when it is probed.
"""

import random
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from fastnet.driver import Driver
from fastnet.netns import Namespace, sysctl
from fastnet.socket import Socket
from fastnet.stack import Stack

FASTNET = "198.18.0.2"
PYTCP = "198.18.1.2"
PEER = [sys.executable, str(Path(__file__).with_name("peer.py")), "peer0", f"{PYTCP}/24", "198.18.1.1"]
PORT = 8080
TIMEOUT = 30
DATA = random.Random(9293).randbytes(1 << 20)


@pytest.fixture
def driver() -> Iterator[Driver]:
    """fastnet, with the other stack's device beside its own."""
    with Namespace() as namespace, Driver(Stack(namespace.add_tun("198.18.0.1/24"), (FASTNET,))) as running:
        # With the protocol word before each packet, as PyTCP wants it.
        for command in ("tuntap add dev peer0 mode tun pi", "address add 198.18.1.1/24 dev peer0", "link set peer0 up"):
            subprocess.run(["ip", *command.split()], check=True, timeout=TIMEOUT)
        sysctl("net.ipv4.ip_forward", 1)
        yield running


@pytest.fixture
def listener(driver: Driver) -> Iterator[Socket]:
    with Socket(driver) as listening:
        listening.bind((FASTNET, PORT))
        listening.listen()
        listening.settimeout(TIMEOUT)
        yield listening


def connect_pytcp(port: int, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """A connection from PyTCP to fastnet: what came back is its standard output."""
    command = [*PEER, "connect", FASTNET, str(port)]
    return subprocess.run(command, input=data, capture_output=True, timeout=TIMEOUT, check=False)


@contextmanager
def pytcp_server(port: int) -> Iterator[None]:
    """An echo server on PyTCP."""
    with subprocess.Popen([*PEER, "serve", str(port)], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == b"ready\n"
            yield
        finally:
            process.kill()


def send_and_receive(sock: socket.socket | Socket, data: bytes) -> bytes:
    """All the data there and, while it goes, all that comes back."""

    def send() -> None:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)

    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(send)
        received = b"".join(iter(lambda: sock.recv(65536), b""))
        sending.result(TIMEOUT)
    return received


def soon(driver: Driver, condition: Callable[[Stack], bool]) -> bool:
    """Does it come true, once the last segments have arrived?"""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        with driver.lock:
            if condition(driver.stack):
                return True
        time.sleep(0.01)
    return False


def test_pytcp_connects_to_fastnet(driver: Driver, listener: Socket) -> None:
    """A MiB to fastnet's echo server and back. PyTCP closes first, and has the TIME-WAIT."""

    def serve() -> str:
        connection, (host, _) = listener.accept()
        connection.settimeout(TIMEOUT)
        with connection:
            while data := connection.recv(65536):
                connection.sendall(data)
        return host

    with ThreadPoolExecutor(1) as pool:
        serving = pool.submit(serve)
        client = connect_pytcp(PORT, DATA)
        assert client.returncode == 0, client.stderr.decode()
        assert serving.result(TIMEOUT) == PYTCP
    assert client.stdout == DATA
    assert soon(driver, lambda stack: not stack.has_connection(FASTNET, PORT))
    assert driver.stack.counters.TcpPassiveOpens == 1 and driver.stack.counters.TcpEstabResets == 0


def test_fastnet_refuses_pytcp(driver: Driver) -> None:
    """PyTCP takes fastnet's RST for what it is."""
    client = connect_pytcp(81)
    assert client.returncode == 1 and b"ConnectionRefusedError" in client.stderr, client.stderr.decode()
    assert driver.stack.counters.TcpOutRsts == 1


def test_fastnet_connects_to_pytcp(driver: Driver) -> None:
    """A MiB to PyTCP's echo server and back. fastnet closes first, and has the TIME-WAIT."""
    with pytcp_server(PORT):
        with Socket(driver) as sock:
            sock.settimeout(TIMEOUT)
            sock.connect((PYTCP, PORT))
            assert sock.getpeername() == (PYTCP, PORT) and sock.getsockname()[0] == FASTNET
            assert send_and_receive(sock, DATA) == DATA
        assert soon(driver, lambda stack: stack.context.time_wait_count == 1)
    assert driver.stack.counters.TcpEstabResets == 0


def test_pytcp_refuses_fastnet(driver: Driver) -> None:
    with pytcp_server(PORT), Socket(driver) as sock:
        sock.settimeout(TIMEOUT)
        with pytest.raises(ConnectionRefusedError):
            sock.connect((PYTCP, 81))


@pytest.mark.usefixtures("driver")
def test_the_kernel_connects_to_pytcp() -> None:
    """The same without fastnet: when this fails too, the other stack or the forwarding is to blame."""
    with pytcp_server(PORT):
        with socket.create_connection((PYTCP, PORT), timeout=TIMEOUT) as sock:
            assert send_and_receive(sock, DATA) == DATA
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((PYTCP, 81), timeout=TIMEOUT)
