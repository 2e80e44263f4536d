"""What a descriptor shows to epoll, step by step beside the kernel's own; and that selectors and threads can wait on it."""

import errno
import os
import select
import selectors
import socket
import struct
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from fastnet.descriptor import ENDED, ERROR, FOUND, HANG_UP, READ_HANG_UP, READABLE, WRITABLE, Descriptor, find
from fastnet.driver import Driver
from fastnet.netns import Namespace
from fastnet.socket import Socket
from fastnet.stack import Stack
from tests.wire.conftest import STACK

KERNEL = "198.18.0.1"
NAMES = {READABLE: "IN", WRITABLE: "OUT", READ_HANG_UP: "RDHUP", HANG_UP: "HUP", ERROR: "ERR"}


def words(events: int) -> str:
    return " ".join(name for event, name in NAMES.items() if events & event)


def shown(number: int) -> int:
    with select.epoll() as epoll:
        epoll.register(number, READABLE | WRITABLE | READ_HANG_UP)
        found = epoll.poll(0)
    return found[0][1] if found else 0


def becomes(sock: Any, expected: str) -> str:
    """What is shown, once it is what is expected, or after a while."""
    deadline = time.monotonic() + 5
    while words(shown(sock.fileno())) != expected and time.monotonic() < deadline:
        time.sleep(0.01)
    return words(shown(sock.fileno()))


OPEN = [0, READABLE, WRITABLE, READABLE | WRITABLE]
HALF = [READABLE | READ_HANG_UP, READABLE | READ_HANG_UP | WRITABLE]


@pytest.mark.parametrize("before", [*OPEN, *HALF, ENDED, ENDED | ERROR], ids=words)
@pytest.mark.parametrize("after", [*OPEN, *HALF, ENDED, ENDED | ERROR], ids=words)
def test_every_state_from_every_other(before: int, after: int) -> None:
    descriptor = Descriptor("somebody")
    numbers = [descriptor.add(), descriptor.add(), descriptor.add(os.dup(0))]
    for events in (before, after, after, before, after):
        descriptor.show(events)
        assert [words(shown(number)) for number in numbers] == [words(events)] * 3
    for number in numbers:
        assert words(shown(number)) == words(after), "also when others are gone"
        assert find(number) == "somebody"
        descriptor.remove(number)
        os.close(number)
    assert not FOUND and find(0) is None and find(-1) is None


def test_as_the_kernels_step_by_step(driver: Driver) -> None:
    """The same calls on both ends of a connection, once with the kernel's socket and once with ours; the peer is the kernel's."""
    told: list[list[str]] = []
    for make, host in ((socket.socket, KERNEL), (lambda: Socket(driver), STACK)):
        steps: list[str] = []
        told.append(steps)

        def look(sock: Any, expected: str, steps: list[str] = steps) -> None:
            steps.append(becomes(sock, expected))

        listener = make()
        listener.bind((host, 7000))
        listener.listen()
        look(listener, "")
        theirs = socket.create_connection((host, 7000), timeout=5)
        look(listener, "IN")
        ours, _ = listener.accept()
        look(listener, "")
        look(ours, "OUT")
        theirs.send(b"hello")
        look(ours, "IN OUT")
        ours.recv(2)
        look(ours, "IN OUT")
        ours.recv(10)
        look(ours, "OUT")
        ours.setblocking(False)
        # Full, and still so when what was on its way has arrived.
        refused = 0
        while refused < 4:
            try:
                ours.send(bytes(1 << 20))
                refused = 0
            except BlockingIOError:
                refused += 1
                time.sleep(0.05)
        look(ours, "")
        theirs.shutdown(socket.SHUT_WR)
        look(ours, "IN RDHUP")
        while becomes(ours, "IN OUT RDHUP") != "IN OUT RDHUP":
            theirs.recv(1 << 20)
        look(ours, "IN OUT RDHUP")
        ours.shutdown(socket.SHUT_WR)
        look(ours, "IN OUT RDHUP HUP")
        ours.close()
        theirs.close()
        # The peer gives up.
        theirs = socket.create_connection((host, 7000), timeout=5)
        ours, _ = listener.accept()
        ours.settimeout(5)
        look(ours, "OUT")
        ours.shutdown(socket.SHUT_WR)
        look(ours, "OUT")
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        theirs.close()
        look(ours, "IN OUT RDHUP HUP ERR")
        with pytest.raises(ConnectionResetError):
            ours.recv(1)
        look(ours, "IN OUT RDHUP HUP")
        ours.close()
        theirs = socket.create_connection((host, 7000), timeout=5)
        ours, _ = listener.accept()
        ours.shutdown(socket.SHUT_RD)
        look(ours, "IN OUT RDHUP")
        assert ours.fileno() >= 0
        for sock in (ours, theirs, listener):
            sock.close()
        assert ours.fileno() == -1
        # Connecting: nobody answers, somebody refuses, somebody listens.
        client = make()
        client.setblocking(False)
        assert client.connect_ex(("198.18.0.9", 80)) in (errno.EINPROGRESS, errno.EHOSTUNREACH)
        client.close()
        client = make()
        client.setblocking(False)
        client.fileno()
        peer = STACK if make is socket.socket else KERNEL
        assert client.connect_ex((peer, 7999)) == errno.EINPROGRESS
        look(client, "IN OUT RDHUP HUP ERR")
        assert client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNREFUSED
        look(client, "IN OUT RDHUP HUP")
        client.close()
    kernel, ours = told
    assert ours == kernel


def test_a_failed_socket_that_connects_again(driver: Driver) -> None:
    """The kernel's socket shows EPOLLHUP between the two; ours cannot. The number stays, and epoll need not be told of it again."""
    with socket.create_server((KERNEL, 7000)), Socket(driver) as sock, select.epoll() as epoll:
        number = sock.fileno()
        epoll.register(number, select.EPOLLOUT)
        with pytest.raises(ConnectionRefusedError):
            sock.connect((KERNEL, 7001))
        assert becomes(sock, "OUT") == "OUT"
        sock.setblocking(False)
        assert sock.connect_ex((KERNEL, 7000)) == errno.EINPROGRESS
        assert becomes(sock, "OUT") == "OUT" and sock.fileno() == number
        assert epoll.poll(10) == [(number, select.EPOLLOUT)]
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0


def test_while_nobody_answers_nothing_is_shown(driver: Driver) -> None:
    with Socket(driver) as sock:
        sock.setblocking(False)
        assert sock.connect_ex(("198.18.0.9", 80)) == errno.EINPROGRESS
        assert words(shown(sock.fileno())) == ""


@pytest.mark.parametrize("kind", [selectors.SelectSelector, selectors.PollSelector, selectors.EpollSelector])
def test_a_selector_serves_many(driver: Driver, kind: Callable[[], selectors.BaseSelector]) -> None:
    """An echo server over a selector, in its thread; the clients are the kernel's, at once."""
    listener = Socket(driver)
    listener.bind((STACK, 7000))
    listener.listen()
    listener.setblocking(False)
    served = 20

    def serve() -> None:
        open_ones = 0
        ended = 0
        with kind() as selector:
            selector.register(listener, selectors.EVENT_READ)
            while ended < served:
                for key, _ in selector.select(10):
                    if key.fileobj is listener:
                        accepted, _ = listener.accept()
                        accepted.setblocking(False)
                        selector.register(accepted, selectors.EVENT_READ)
                        open_ones += 1
                        continue
                    sock = key.fileobj
                    assert isinstance(sock, Socket)
                    data = sock.recv(1000)
                    if data:
                        sock.send(data)
                    else:
                        selector.unregister(sock)
                        sock.close()
                        ended += 1

    thread = threading.Thread(target=serve)
    thread.start()
    clients = [socket.create_connection((STACK, 7000), timeout=10) for _ in range(served)]
    for round_ in range(3):
        for client in clients:
            client.sendall(b"%d" % round_)
        assert [client.recv(100) for client in clients] == [b"%d" % round_] * served
    for client in clients:
        client.close()
    thread.join(10)
    assert not thread.is_alive()
    listener.close()


def test_numbers_that_a_program_closes_behind_our_back(driver: Driver) -> None:
    """They may be another file's by then, which stays open; and whoever polls for all goes on."""
    with Socket(driver) as listener:
        listener.bind((STACK, 7000))
        listener.listen()
        theirs = socket.create_connection((STACK, 7000), timeout=10)
        ours, _ = listener.accept()
        number = ours.fileno()
        os.close(number)
        os.dup2(0, number)
        theirs.sendall(b"hello")
        ours.settimeout(10)
        assert ours.recv(10) == b"hello"
        with pytest.raises(OSError, match="Bad file"):
            ours.close()
        assert os.fstat(number).st_ino == os.fstat(0).st_ino
        os.close(number)
        assert theirs.recv(1) == b""
        theirs.close()
        # Now what only fastnet knows of.
        theirs = socket.create_connection((STACK, 7000), timeout=10)
        ours, _ = listener.accept()
        ours.settimeout(10)
        ours.fileno()
        descriptor = ours._open._descriptor
        assert descriptor is not None
        os.close(descriptor._other.fileno())
        theirs.sendall(b"hello")
        assert ours.recv(10) == b"hello"
        theirs.close()
        ours.close()
        listener.settimeout(10)
        theirs = socket.create_connection((STACK, 7000), timeout=10)
        listener.accept()[0].close()
        theirs.close()


def test_by_hand_selecting_works_if_somebody_polls(namespace: Namespace) -> None:
    driver = Driver(Stack(namespace.add_tun(), (STACK,)))
    with Socket(driver) as listener, socket.socket() as theirs:
        listener.bind((STACK, 7000))
        listener.listen()
        theirs.setblocking(False)
        theirs.connect_ex((STACK, 7000))
        deadline = time.monotonic() + 5
        while not select.select([listener], [], [], 0)[0] and time.monotonic() < deadline:
            driver.step(0.01)
        assert words(shown(listener.fileno())) == "IN"


def test_a_smaller_send_buffer_is_no_trap(driver: Driver) -> None:
    """SO_SNDBUF below what is queued already: not writable, and told when it is again."""
    with Socket(driver) as listener:
        listener.bind((STACK, 7000))
        listener.listen()
        with socket.socket() as theirs:
            theirs.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            theirs.connect((STACK, 7000))
            ours, _ = listener.accept()
            ours.fileno()
            ours.send(bytes(60_000))
            assert becomes(ours, "OUT") == "OUT"
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4608)
            assert becomes(ours, "") == ""
            theirs.settimeout(10)
            rest = 60_000
            while rest:
                rest -= len(theirs.recv(rest))
            assert becomes(ours, "OUT") == "OUT"
            ours.close()
