"""Sockets: what they raise and when, against what the standard library's do over loopback."""

import errno
import socket
import struct
import threading
import time
from collections.abc import Callable

import pytest

from fastnet.devices import MemoryDevice
from fastnet.driver import Driver
from fastnet.netns import Namespace
from fastnet.socket import SHUT_RD, SHUT_RDWR, SHUT_WR, Socket
from fastnet.stack import Stack
from fastnet.tcp.states import State
from tests.wire.conftest import STACK


def outcome(call: Callable[[], object]) -> object:
    """What a call returned, or the errno or type of what it raised."""
    try:
        return call()
    except OSError as error:
        return type(error), error.errno
    except (TypeError, ValueError, OverflowError) as error:
        return type(error)


@pytest.fixture
def quiet() -> Driver:
    """A stack on which nothing ever arrives."""
    return Driver(Stack(MemoryDevice(), (STACK,)))


@pytest.mark.parametrize(
    "call",
    [
        lambda s: s.accept(),
        lambda s: s.recv(1),
        lambda s: s.recv(-1),
        lambda s: s.send(b"x"),
        lambda s: s.getpeername(),
        lambda s: s.shutdown(SHUT_WR),
        lambda s: s.getsockname(),
        lambda s: s.bind(("198.51.100.1", 80)),
        lambda s: s.bind(("0.0.0.0", 65536)),
        lambda s: s.bind(("0.0.0.0", -1)),
        lambda s: s.bind("0.0.0.0"),
        lambda s: s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"short"),
        lambda s: s.setsockopt(socket.SOL_SOCKET, 9999, 1),
        lambda s: s.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE),
        lambda s: s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR),
        lambda s: s.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN),
        lambda s: s.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY),
        lambda s: s.settimeout(-1),
        lambda s: s.gettimeout(),
        lambda s: s.getblocking(),
        lambda s: (s.setblocking(False), s.gettimeout())[1],
        lambda s: (s.close(), s.getsockname())[1],
        lambda s: (s.close(), s.recv(1))[1],
        lambda s: (s.close(), s.close())[1],
        lambda s: (s.listen(), s.bind(("0.0.0.0", 0)))[1],
        lambda s: (s.listen(), s.recv(1))[1],
        lambda s: (s.listen(), s.setblocking(False), s.accept())[2],
        lambda s: (s.listen(), s.settimeout(0.01), s.accept())[2],
        lambda s: (s.listen(), s.listen(), s.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))[2],
    ],
)
def test_misuse_is_as_the_standard_librarys(quiet: Driver, call: Callable[[object], object]) -> None:
    with socket.socket() as theirs:
        expected = outcome(lambda: call(theirs))
    assert outcome(lambda: call(Socket(quiet))) == expected


def test_port_0_draws_a_port_nobody_has(quiet: Driver) -> None:
    ports = set()
    for _ in range(50):
        sock = Socket(quiet)
        sock.bind(("", 0))
        ports.add(sock.getsockname()[1])
    assert len(ports) == 50 and all(32768 <= port <= 60999 for port in ports)


def test_a_port_can_be_bound_once(quiet: Driver) -> None:
    first = Socket(quiet)
    first.bind(("0.0.0.0", 80))
    second = Socket(quiet)
    for address in ("0.0.0.0", STACK):
        with pytest.raises(OSError, match="in use") as failure:
            second.bind((address, 80))
        assert failure.value.errno == errno.EADDRINUSE
    first.close()
    second.bind((STACK, 80))
    with pytest.raises(OSError, match="Invalid") as failure:
        second.bind((STACK, 81))
    assert failure.value.errno == errno.EINVAL


def test_names_that_are_none(quiet: Driver) -> None:
    with pytest.raises(socket.gaierror):
        Socket(quiet).bind(("no.such.host", 80))


@pytest.fixture
def pair(driver: Driver) -> tuple[Socket, socket.socket]:
    """A connection: our end, and the kernel's."""
    listener = Socket(driver)
    listener.bind((STACK, 8080))
    listener.listen()
    listener.settimeout(5)
    theirs = socket.create_connection((STACK, 8080), timeout=5)
    ours, _ = listener.accept()
    ours.settimeout(5)
    return ours, theirs


def test_recv_and_its_flags(pair: tuple[Socket, socket.socket]) -> None:
    ours, theirs = pair
    theirs.sendall(b"0123456789")
    assert ours.recv(4, socket.MSG_PEEK) == b"0123"
    assert ours.recv(4) == b"0123"
    buffer = bytearray(b"________")
    assert ours.recv_into(buffer, 3) == 3 and buffer == b"456_____"
    assert ours.recv(0) == b""
    assert ours.recv(100) == b"789"
    with pytest.raises(BlockingIOError):
        ours.recv(1, socket.MSG_DONTWAIT)
    theirs.close()
    assert ours.recv(1) == b"" == ours.recv(1)
    ours.close()


def test_shutdown(pair: tuple[Socket, socket.socket]) -> None:
    ours, theirs = pair
    ours.shutdown(SHUT_WR)
    assert theirs.recv(1) == b""
    with pytest.raises(BrokenPipeError):
        ours.send(b"x")
    theirs.sendall(b"still")
    assert ours.recv(10) == b"still"
    ours.shutdown(SHUT_RD)
    assert ours.recv(10) == b""
    with pytest.raises(OSError, match="Invalid"):
        ours.shutdown(7)
    theirs.close()
    ours.shutdown(SHUT_RDWR)
    ours.close()


def test_send_waits_for_room_and_times_out(pair: tuple[Socket, socket.socket]) -> None:
    ours, theirs = pair
    ours.settimeout(0.2)
    with pytest.raises(TimeoutError):
        ours.sendall(bytes(50_000_000))
    ours.setblocking(False)
    with pytest.raises(BlockingIOError):
        while True:
            ours.send(bytes(100_000))
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    theirs.close()
    deadline = time.monotonic() + 5
    while ours.state != State.CLOSED and time.monotonic() < deadline:
        time.sleep(0.01)
    with pytest.raises(ConnectionResetError):
        ours.send(b"x")
    with pytest.raises(BrokenPipeError):
        ours.send(b"x")
    with pytest.raises(OSError, match="not connected"):
        ours.getpeername()


def test_close_lingers(pair: tuple[Socket, socket.socket]) -> None:
    """SO_LINGER: close returns when the peer has acknowledged everything."""
    ours, theirs = pair
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 5))
    assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8) == struct.pack("ii", 1, 5)
    ours.sendall(b"x" * 1000)
    started = time.monotonic()
    ours.close()
    assert time.monotonic() - started < 2, "and does not wait any longer"
    assert ours.state in (State.FIN_WAIT_2, State.TIME_WAIT)
    assert len(theirs.recv(2000)) == 1000
    theirs.close()


def test_closing_ends_a_wait_in_another_thread(driver: Driver) -> None:
    listener = Socket(driver)
    listener.listen()
    failures: list[OSError] = []

    def accept() -> None:
        try:
            listener.accept()
        except OSError as error:
            failures.append(error)

    thread = threading.Thread(target=accept)
    thread.start()
    time.sleep(0.1)
    listener.close()
    thread.join(5)
    assert [failure.errno for failure in failures] == [errno.EBADF]


def test_nodelay(pair: tuple[Socket, socket.socket]) -> None:
    ours, theirs = pair
    ours.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    assert ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
    for i in range(20):
        ours.send(bytes([i]))
    theirs.settimeout(5)
    received = b""
    while len(received) < 20:
        received += theirs.recv(100)
    assert received == bytes(range(20))
    ours.close()
    theirs.close()


def test_driven_by_hand(namespace: Namespace) -> None:
    """Without a thread: whoever waits, polls."""
    driver = Driver(Stack(namespace.add_tun(), (STACK,)))
    listener = Socket(driver)
    listener.bind((STACK, 80))
    listener.listen()
    with socket.socket() as theirs:
        theirs.setblocking(False)
        assert theirs.connect_ex((STACK, 80)) == errno.EINPROGRESS
        listener.settimeout(5)
        ours, _ = listener.accept()
        theirs.send(b"hello")
        ours.settimeout(5)
        assert ours.recv(10) == b"hello"
        ours.send(b"world")
        theirs.setblocking(True)
        assert theirs.recv(10) == b"world"
        # A socket that does not wait still moves the stack on.
        ours.setblocking(False)
        theirs.send(b"again")
        deadline = time.monotonic() + 5
        while True:
            try:
                assert ours.recv(10) == b"again"
                break
            except BlockingIOError:
                assert time.monotonic() < deadline
    assert not driver.threaded


